//! The error of the `/proc` readers.

use std::{io, path::PathBuf};

use thiserror::Error;

use super::Process;

/// A failed read of `/proc`.
#[derive(Debug, Error)]
pub enum ProcfsError {
    /// The process does not exist or has ended.
    #[error("{process} does not exist or has just ended")]
    NoSuchProcess {
        /// The process.
        process: Process,
    },
    /// This user may not read the file.
    #[error("reading {} is not permitted; run as the user that owns the process or as root, and see the sysctl kernel.yama.ptrace_scope", what.display())]
    Permission {
        /// The file.
        what: PathBuf,
    },
    /// The file does not have the documented form.
    #[error("{} line {line}: expected {expected}", file.display())]
    Parse {
        /// The file.
        file: PathBuf,
        /// The line from 1; 0 for the whole file.
        line: usize,
        /// The expected form.
        expected: &'static str,
    },
    /// Another system error.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The file does not exist here.
    #[error("{} does not exist: this is not Linux, /proc is not mounted, or the kernel was built without it", file.display())]
    Unsupported {
        /// The file.
        file: PathBuf,
    },
}
