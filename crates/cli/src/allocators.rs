//! Commands about the allocators: size classes, stress with model checks, and measurements on a trace.

pub(crate) mod classes;
pub(crate) mod torture;
pub(crate) mod trace;
pub(crate) mod trace_file;
