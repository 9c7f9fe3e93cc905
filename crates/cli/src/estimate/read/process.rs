//! A process to measure, and why one is not measured to its end.

use std::io;

use pagefold_procfs::ProcfsError;
use thiserror::Error;

use crate::estimate::error::EstimateError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) process_id: u32,
    pub(crate) name: String,
    /// Then the user wants to know its outcome.
    pub(crate) named: bool,
    /// Resident anonymous memory, roughly.
    pub(crate) expected_bytes: u64,
}

impl Candidate {
    pub(crate) fn label(&self) -> String {
        label(self.process_id, &self.name)
    }
}

#[derive(Debug, Error)]
pub(crate) enum Refusal {
    #[error("a kernel thread, which has no memory of its own")]
    KernelThread,
    #[error("it has ended, and only waits for its parent to take note")]
    Ended,
    #[error("it is this very command, whose memory is the measurement")]
    Itself,
    #[error("no process has this number, or it has just ended")]
    Missing,
    #[error(
        "no process has this name; the kernel keeps 15 bytes of it, or give the name of the program's file"
    )]
    NoneOfName,
    #[error("{0}")]
    Cgroup(String),
    #[error(
        "reading its memory is not permitted; run as the user that owns the process or as root, and see the sysctl kernel.yama.ptrace_scope"
    )]
    NotPermitted,
    #[error(transparent)]
    Procfs(ProcfsError),
}

impl From<ProcfsError> for Refusal {
    fn from(error: ProcfsError) -> Self {
        match error {
            ProcfsError::NoSuchProcess { .. } => Self::Missing,
            ProcfsError::Permission { .. } => Self::NotPermitted,
            other => Self::Procfs(other),
        }
    }
}

#[derive(Debug)]
pub(crate) enum Stopped {
    /// Reading continues with the next source.
    InputSource(String),
    All(EstimateError),
}

impl From<ProcfsError> for Stopped {
    fn from(error: ProcfsError) -> Self {
        Self::InputSource(match error {
            ProcfsError::NoSuchProcess { .. } => {
                "it ended, or executed another program, while it was being read".to_owned()
            }
            other => other.to_string(),
        })
    }
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::InputSource(match error.kind() {
            io::ErrorKind::UnexpectedEof => "it became shorter while it was being read".to_owned(),
            _ => error.to_string(),
        })
    }
}

impl From<EstimateError> for Stopped {
    fn from(failure: EstimateError) -> Self {
        Self::All(failure)
    }
}

pub(crate) fn label(process_id: u32, name: &str) -> String {
    if name.is_empty() {
        format!("process {process_id}")
    } else {
        format!("process {process_id} ({name})")
    }
}
