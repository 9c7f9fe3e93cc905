//! The progress bar, shown on stderr if that is a terminal.

use std::io::{IsTerminal as _, stderr, stdout};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::console::Output;

#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// No bar without a terminal, with `--quiet`, or when JSON goes into a pipe.
    pub(crate) fn new(output: Output) -> Self {
        let json_in_pipe = output.json && !stdout().is_terminal();
        let visible = stderr().is_terminal() && !output.quiet && !json_in_pipe;
        let target =
            if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { bar: ProgressBar::with_draw_target(None, target) }
    }

    #[cfg(test)]
    pub(crate) fn hidden() -> Self {
        Self { bar: ProgressBar::hidden() }
    }

    /// Begins a stage of `total` units; 0 if unknown.
    pub(crate) fn begin(&self, stage: String, total: u64) {
        let template = if total == 0 {
            "{spinner} {msg}  {human_pos}"
        } else {
            "{msg:<32!} {wide_bar} {percent:>3}%"
        };
        // The templates are constants; a wrong one only affects the looks.
        self.bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        self.bar.set_length(total);
        self.bar.set_position(0);
        self.bar.set_message(stage);
    }

    pub(crate) fn line(&self, text: String) {
        self.bar.set_style(
            ProgressStyle::with_template("{spinner} {wide_msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        self.bar.set_message(text);
        self.bar.tick();
    }

    pub(crate) fn add(&self, units: u64) {
        self.bar.inc(units);
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
