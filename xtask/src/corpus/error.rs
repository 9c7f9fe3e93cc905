//! Why a class of the corpus failed. The command reports each failure and continues with the other classes.

use std::{io, path::PathBuf, process::ExitStatus, time::Duration};

use pagefold_procfs::ProcfsError;
use thiserror::Error;

#[derive(Debug, Error)]
pub(crate) enum ClassError {
    /// The program whose heap is wanted is not installed.
    #[error("{program} is not installed; {remedy}")]
    Missing { program: &'static str, remedy: &'static str },
    /// The program could not be started.
    #[error("cannot start {program}: {source}")]
    Start { program: &'static str, source: io::Error },
    /// The program ended before its heap was built.
    #[error("{program} ended before it was ready ({status}): {message}")]
    Ended { program: &'static str, status: ExitStatus, message: String },
    /// The program took too long.
    #[error("{program} was not ready after {} seconds", limit.as_secs())]
    Timeout { program: &'static str, limit: Duration },
    /// The program answered something else than its protocol says.
    #[error("{program} answered {answer:?}; expected {expected}")]
    Protocol { program: &'static str, answer: String, expected: &'static str },
    /// The process could not be looked at.
    #[error(transparent)]
    Procfs(#[from] ProcfsError),
    /// The process could not be stopped for the time of the reading.
    #[error("cannot stop process {pid}: {source}")]
    Stop { pid: u32, source: io::Error },
    /// There was nothing to take pages from.
    #[error("no pages found in {place}")]
    Nothing { place: String },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}
