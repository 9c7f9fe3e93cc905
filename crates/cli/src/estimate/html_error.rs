//! Why there is no page with charts.

use std::{io, path::PathBuf};

use thiserror::Error;

#[derive(Debug, Error)]
pub(crate) enum HtmlError {
    #[error("--html {}: it is not a regular file; name a new file or one that may be replaced", .0.display())]
    NotAFile(PathBuf),
    #[error("--html {}: it is one of the inputs, and the page would replace it; name another file", .0.display())]
    IsAnInput(PathBuf),
    #[error("--html {}: no file can be written there: {error}; choose a directory that exists and that you may write to", path.display())]
    Unwritable { path: PathBuf, error: io::Error },
    /// The page could be written before the measurement, but not after it.
    #[error("--html {}: the page could not be written: {error}; what it would show was printed", path.display())]
    Failed { path: PathBuf, error: io::Error },
}

impl HtmlError {
    /// Whether the error came before the measurement.
    pub(crate) fn is_early(&self) -> bool {
        !matches!(self, Self::Failed { .. })
    }
}
