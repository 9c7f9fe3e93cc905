//! Commands about allocators.

pub(crate) mod classes;
pub(crate) mod torture;
pub(crate) mod trace;
pub(crate) mod trace_file;
