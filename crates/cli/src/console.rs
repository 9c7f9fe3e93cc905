//! Output of the command: one text on stdout, single lines on stderr.

use std::io::{self, Write as _};

use thiserror::Error;

use crate::{exit::Exit, printable::printable};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub json: bool,
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
pub(crate) fn print(text: &[u8]) -> Result<(), OutputError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Writes one line without control characters to stderr. Ignores a failure: it can be reported nowhere.
pub(crate) fn complain(message: &str) {
    let line: String = message.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let _ = writeln!(io::stderr(), "pagefold: {}", printable(&line));
}
