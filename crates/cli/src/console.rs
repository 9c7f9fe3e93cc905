//! Output of the command: one text on stdout, single lines on stderr.

use std::io::{self, Write as _};

use thiserror::Error;

use crate::{exit::Exit, printable::printable};

/// The options of a report's output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// JSON instead of a table.
    pub json: bool,
    /// No progress bar and no notes.
    pub quiet: bool,
}

#[derive(Debug, Error)]
#[error("the report could not be written: {0}")]
pub(crate) struct OutputError(#[from] io::Error);

impl From<&OutputError> for Exit {
    fn from(_: &OutputError) -> Self {
        Self::Failed
    }
}

/// Writes a text to stdout in one piece. A pipe that the reader closed early is no error.
///
/// # Errors
/// [`OutputError`].
pub(crate) fn print(text: &[u8]) -> Result<(), OutputError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Writes one line to stderr without control characters, because a file's name or an argument may contain some. Ignores
/// a failure: there is no other place to report it.
pub(crate) fn complain(message: &str) {
    let line: String = message.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let _ = writeln!(io::stderr(), "pagefold: {}", printable(&line));
}
