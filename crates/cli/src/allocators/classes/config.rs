//! What `pagefold classes` prints.

use std::{ops::RangeInclusive, path::PathBuf};

use pagefold_pool::classes::ClassTable;

#[derive(Debug)]
pub(crate) struct ClassesConfig {
    pub table: ClassTable,
    /// For the density.
    pub lengths: Lengths,
    pub json: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lengths {
    /// Equally often; `None`: smallest size to a frame.
    Uniform(Option<RangeInclusive<usize>>),
    /// As in the file.
    File(PathBuf),
}
