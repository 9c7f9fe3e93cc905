//! What `pagefold classes` prints.

use std::{ops::RangeInclusive, path::PathBuf};

use pagefold_pool::classes::ClassTable;

/// What `pagefold classes` prints.
#[derive(Debug)]
pub(crate) struct ClassesConfig {
    pub table: ClassTable,
    /// What it is held against.
    pub lengths: Lengths,
    /// JSON instead of a table.
    pub json: bool,
}

/// Lengths of objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lengths {
    /// As many of each; `None`: from the smallest size to a frame.
    Uniform(Option<RangeInclusive<usize>>),
    /// As many as the file says.
    File(PathBuf),
}
