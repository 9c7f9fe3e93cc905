//! Parsing ended without a command.

use std::{io::Write as _, process::ExitCode};

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::{console, exit::Exit};

/// The input's name in usage and messages.
pub(super) const PATH: &str = "PATH";

/// The user asked for help, or the arguments are wrong.
#[derive(Debug)]
pub(crate) struct Stop(pub(super) clap::Error);

impl Stop {
    /// Help to stdout, a mistake as one line to stderr.
    pub(crate) fn print(self) -> ExitCode {
        if self.0.use_stderr() {
            console::complain(&one_line(&self.0));
            return Exit::Usage.into();
        }
        // A closed pipe is no error.
        let _ = self.0.print();
        let _ = std::io::stdout().flush();
        Exit::Success.into()
    }
}

/// The first of clap's paragraphs is the mistake.
pub(super) fn one_line(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "a command is missing; try `pagefold estimate PATH..` or `pagefold --help`"
            .to_owned();
    }
    if error.kind() == ErrorKind::MissingRequiredArgument && lacks(error, PATH) {
        return "no input; give a file, a directory, - for standard input, or a process, for example \
            `pagefold estimate /usr/lib` or `pagefold estimate --pid firefox`; see --help"
            .to_owned();
    }
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let words = first.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{}; see --help", words.strip_prefix("error: ").unwrap_or(&words))
}

fn lacks(error: &clap::Error, name: &str) -> bool {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(missing)) => missing.iter().any(|text| text.contains(name)),
        _ => false,
    }
}

pub(super) fn wrong(text: String) -> Stop {
    Stop(clap::Error::raw(ErrorKind::ValueValidation, text))
}
