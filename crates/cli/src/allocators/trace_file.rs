//! Reading a trace, for `torture --replay` and `estimate --trace`.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use pagefold_testkit::trace::{Trace, TraceError};
use thiserror::Error;

use crate::exit::Exit;

#[derive(Debug, Error)]
#[error("{}: {source}", path.display())]
pub(crate) struct TraceFileError {
    path: PathBuf,
    source: TraceError,
}

impl From<&TraceFileError> for Exit {
    fn from(_: &TraceFileError) -> Self {
        Self::Usage
    }
}

pub(crate) fn read(path: &Path) -> Result<Trace, TraceFileError> {
    let wrong = |source| TraceFileError { path: path.to_owned(), source };
    let file = File::open(path).map_err(|source| wrong(TraceError::Io { line: 1, source }))?;
    Trace::read(&mut BufReader::new(file)).map_err(wrong)
}
