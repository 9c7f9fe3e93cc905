//! What is measured of a trace.

use std::path::PathBuf;

use pagefold_pool::Allocator;

use crate::console::Output;

/// What is to be measured.
#[derive(Debug)]
pub(crate) struct TraceConfig {
    pub path: PathBuf,
    /// In order; at least one.
    pub allocators: Vec<Allocator>,
    /// In place of the trace's own.
    pub limit: Option<usize>,
    pub output: Output,
}
