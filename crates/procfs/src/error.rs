//! The one error of the `/proc` readers: who is missing, what is forbidden, which line made no sense.

use std::{io, path::PathBuf};

use thiserror::Error;

use super::Process;

/// Why something could not be read from `/proc`.
#[derive(Debug, Error)]
pub enum ProcfsError {
    /// The process does not exist, or ended while it was being read.
    #[error("{process} does not exist or has just ended")]
    NoSuchProcess {
        /// The process asked for.
        process: Process,
    },
    /// The kernel does not let this user read that file.
    #[error("reading {} is not permitted; run as the user that owns the process or as root, and see the sysctl kernel.yama.ptrace_scope", what.display())]
    Permission {
        /// The file that was refused.
        what: PathBuf,
    },
    /// A file does not have the form that the kernel documents.
    #[error("{} line {line}: expected {expected}", file.display())]
    Parse {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1; 0 when something is missing in the file as a whole.
        line: usize,
        /// What should have been there.
        expected: &'static str,
    },
    /// Any other failure of the operating system.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
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
