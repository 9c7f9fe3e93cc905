//! What is measured of a trace.

use std::path::PathBuf;

use pagefold_pool::Allocator;

use crate::console::Output;

#[derive(Debug)]
pub(crate) struct TraceConfig {
    pub path: PathBuf,
    /// At least one.
    pub allocators: Vec<Allocator>,
    /// Replaces the trace's own.
    pub limit: Option<usize>,
    pub output: Output,
}
