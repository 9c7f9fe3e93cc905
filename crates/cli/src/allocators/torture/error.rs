//! Why torture has no report.

use std::{io, path::PathBuf};

use pagefold_pool::BuildError;
use thiserror::Error;

use crate::{
    allocators::trace_file::TraceFileError, console::OutputError, exit::Exit,
    interrupt::InterruptError,
};

/// Why torture ended without a verdict.
#[derive(Debug, Error)]
pub(crate) enum TortureError {
    /// The trace to replay cannot be used.
    #[error(transparent)]
    Trace(#[from] TraceFileError),
    /// No trace can be written to this file.
    #[error("{}: {source}", path.display())]
    Record { path: PathBuf, source: io::Error },
    /// The trace was recorded and could not be written.
    #[error("{}: {source}", path.display())]
    Recorded { path: PathBuf, source: io::Error },
    /// No pool can be built with the limit that was given.
    #[error(transparent)]
    Limit(#[from] BuildError),
    /// Ctrl-C cannot be caught.
    #[error(transparent)]
    Interrupt(#[from] InterruptError),
    /// The report could not be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl From<&TortureError> for Exit {
    fn from(error: &TortureError) -> Self {
        match error {
            TortureError::Limit(_) | TortureError::Record { .. } => Self::Usage,
            TortureError::Trace(error) => error.into(),
            TortureError::Recorded { .. } => Self::Failed,
            TortureError::Interrupt(error) => error.into(),
            TortureError::Output(error) => error.into(),
        }
    }
}
