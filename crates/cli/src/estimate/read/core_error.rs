//! The reasons why a core file is not measured.

use std::io;

use thiserror::Error;

use crate::bytes;

#[derive(Debug, Error)]
pub(crate) enum CoreError {
    #[error("a core file of a {0} process; only those of 64-bit little-endian processes are read")]
    Foreign(&'static str),
    #[error("a truncated core file: it should have {} at least and has {}; look for a full disk, or raise `ulimit -c`", bytes::show(*.needed), bytes::show(*.len))]
    Truncated { needed: u64, len: u64 },
    #[error("a damaged core file: {0}")]
    Damaged(String),
    #[error("a core file without program headers, so there is no telling what its bytes are")]
    NoSegments,
    #[error("a core file without private memory; left out are {} of files and {} that could not be written to", bytes::show(*.files), bytes::show(*.read_only))]
    NothingPrivate { files: u64, read_only: u64 },
    #[error(transparent)]
    Io(#[from] io::Error),
}
