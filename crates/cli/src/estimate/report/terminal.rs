//! Bold type and the line width of stdout.

use std::io::{self, IsTerminal as _};

use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

const PIPE_WIDTH: usize = 80;

/// A space at which no line breaks, written as an ordinary one.
pub(super) const TIE: char = '\u{a0}';

#[derive(Debug, Clone, Copy)]
pub(super) struct Terminal {
    bold: bool,
    width: usize,
}

impl Terminal {
    pub(super) fn of_stdout() -> Self {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        if io::stdout().is_terminal() {
            Self { bold: colour_wanted(is_set), width: textwrap::termwidth() }
        } else {
            Self { bold: false, width: PIPE_WIDTH }
        }
    }

    /// If the terminal and the user allow it.
    pub(super) fn bold(self, text: &str) -> String {
        if self.bold { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// Breaks lines between words; a longer word, such as a path, stays whole.
    pub(super) fn wrap(self, text: &str) -> String {
        let options = Options::new(self.width)
            .break_words(false)
            .word_separator(WordSeparator::AsciiSpace)
            .word_splitter(WordSplitter::NoHyphenation)
            .wrap_algorithm(WrapAlgorithm::FirstFit);
        textwrap::fill(text, options).replace(TIE, " ")
    }
}

/// Source: <https://no-color.org>; some terminals have no escape sequences.
fn colour_wanted(is_set: impl Fn(&str) -> bool) -> bool {
    !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_wins() {
        assert!(!colour_wanted(|name| name == "NO_COLOR"));
        let terminal = |bold| Terminal { bold, width: 80 };
        assert_eq!(terminal(true).bold("x"), "\u{1b}[1mx\u{1b}[0m");
        assert_eq!(terminal(false).bold("x"), "x");
    }

    #[test]
    fn lines_end_between_words_and_words_stay_whole() {
        let terminal = Terminal { bold: false, width: 20 };
        for (text, wrapped) in [
            ("what fits is left", "what fits is left"),
            ("a line that is too long for it", "a line that is too\nlong for it"),
            ("two\nlines, of which one is long", "two\nlines, of which one\nis long"),
            ("see /a/path/that/is/longer/than/it now", "see\n/a/path/that/is/longer/than/it\nnow"),
            ("ratios: lz4\u{a0}1.20\u{a0}to\u{a0}1.30", "ratios:\nlz4 1.20 to 1.30"),
            ("eighteen letters, same-filled", "eighteen letters,\nsame-filled"),
        ] {
            assert_eq!(terminal.wrap(text), wrapped);
        }
    }
}
