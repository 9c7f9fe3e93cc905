use std::{
    io,
    path::{Path, PathBuf},
    process::ExitStatus,
};

use thiserror::Error;

#[derive(Debug, Error)]
pub(crate) enum XtaskError {
    #[error("cannot start `{program}`: {source}")]
    Start { program: String, source: io::Error },
    #[error("`{command}` failed: {status}")]
    Failed { command: String, status: ExitStatus },
    /// Ctrl-C, or a request to end.
    #[error("interrupted")]
    Interrupted,
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("no trace was recorded: {source}")]
    Trace { source: Box<dyn std::error::Error> },
    #[error("the output of `{command}` has not the documented form: {source}")]
    Output { command: String, source: serde_json::Error },
    #[error("{}: {source}", file.display())]
    Api { file: PathBuf, source: Box<public_api::Error> },
    #[error("no {what} is called `{name}`; there are: {known}")]
    Unknown { what: &'static str, name: String, known: String },
    #[error("there is no {what} in this workspace")]
    Nothing { what: &'static str },
}

impl XtaskError {
    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Io { path, source }
    }
}
