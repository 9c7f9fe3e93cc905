//! Why a class of the corpus failed; the command continues with the other classes.

use std::{io, path::PathBuf, process::ExitStatus, time::Duration};

use pagefold_procfs::ProcfsError;
use thiserror::Error;

#[derive(Debug, Error)]
pub(crate) enum ClassError {
    #[error("{program} is not installed; {remedy}")]
    Missing { program: &'static str, remedy: &'static str },
    #[error("cannot start {program}: {source}")]
    Start { program: &'static str, source: io::Error },
    #[error("{program} ended before it was ready ({status}): {message}")]
    Ended { program: &'static str, status: ExitStatus, message: String },
    #[error("{program} was not ready after {} seconds", limit.as_secs())]
    Timeout { program: &'static str, limit: Duration },
    #[error("{program} answered {answer:?}; expected {expected}")]
    Protocol { program: &'static str, answer: String, expected: &'static str },
    #[error(transparent)]
    Procfs(#[from] ProcfsError),
    #[error("cannot stop or resume process {pid}: {source}")]
    Stop { pid: u32, source: io::Error },
    #[error("process {pid} runs on {} seconds after it was told to stop", limit.as_secs())]
    RunsOn { pid: u32, limit: Duration },
    #[error("no pages found in {place}")]
    Nothing { place: String },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}
