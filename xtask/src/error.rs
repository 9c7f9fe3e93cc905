//! Failures of a developer command.

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
    /// A program ended with an error.
    #[error("`{command}` failed: {status}")]
    Failed { command: String, status: ExitStatus },
    /// Ctrl-C, or a request to end.
    #[error("interrupted")]
    Interrupted,
    /// A file or directory could not be used.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// A program wrote something else than the documented form.
    #[error("the output of `{command}` has not the documented form: {source}")]
    Output { command: String, source: serde_json::Error },
    /// A public API could not be read from rustdoc's JSON.
    #[error("{}: {source}", file.display())]
    Api { file: PathBuf, source: Box<public_api::Error> },
    /// A name that nothing here has.
    #[error("no {what} is called `{name}`; there are: {known}")]
    Unknown { what: &'static str, name: String, known: String },
    /// A command has nothing to work on.
    #[error("there is no {what} in this workspace")]
    Nothing { what: &'static str },
}

impl XtaskError {
    /// For `map_err` on what was done with this file.
    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Io { path, source }
    }
}
