//! Why torture has no report.

use std::{io, path::PathBuf};

use pagefold_pool::BuildError;
use thiserror::Error;

use crate::{
    allocators::trace_file::TraceFileError, console::OutputError, exit::Exit,
    interrupt::InterruptError,
};

/// Torture ended without a verdict.
#[derive(Debug, Error)]
pub(crate) enum TortureError {
    #[error(transparent)]
    Trace(#[from] TraceFileError),
    /// For the trace.
    #[error("{}: {source}", path.display())]
    Record { path: PathBuf, source: io::Error },
    /// The recorded trace was not written.
    #[error("{}: {source}", path.display())]
    Recorded { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Limit(#[from] BuildError),
    #[error(transparent)]
    Interrupt(#[from] InterruptError),
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
