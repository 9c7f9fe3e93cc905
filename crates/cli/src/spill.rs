//! `pagefold spill`: a program of its own, because what reaches services would double what everyone builds.

use std::{
    convert::Infallible,
    ffi::{OsStr, OsString},
    io,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::Command,
};

use thiserror::Error;

use crate::exit::Exit;

const PROGRAM: &str = "pagefold-spill";

#[derive(Debug, Error)]
pub(crate) enum SpillError {
    #[error(
        "`{PROGRAM}` is neither beside this program nor in PATH; to install it: \
         cargo install pagefold-spill-opendal --features command"
    )]
    Missing,
    #[error("{} cannot be run: {source}", .program.display())]
    Run { program: OsString, source: io::Error },
}

impl From<&SpillError> for Exit {
    fn from(_: &SpillError) -> Self {
        Self::Failed
    }
}

/// Becomes that program: its output, signals and exit code are those of this one.
///
/// # Errors
/// When it is missing, or cannot be run.
pub(crate) fn run(args: &[OsString]) -> Result<Infallible, SpillError> {
    let program = beside_this().unwrap_or_else(|| PROGRAM.into());
    let source = Command::new(&program).args(args).exec();
    Err(match source.kind() {
        io::ErrorKind::NotFound if program == OsStr::new(PROGRAM) => SpillError::Missing,
        _ => SpillError::Run { program, source },
    })
}

fn beside_this() -> Option<OsString> {
    let program: PathBuf = std::env::current_exe().ok()?.with_file_name(PROGRAM);
    program.is_file().then(|| program.into_os_string())
}
