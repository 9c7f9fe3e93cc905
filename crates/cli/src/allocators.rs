//! Commands about the allocators: size classes, stress with model checks, and measurements on a trace.
//!
//! | module | holds |
//! |---|---|
//! | [`classes`] | `pagefold classes`: the table of size classes |
//! | [`torture`] | `pagefold torture`: stress, checked against a model |
//! | [`trace`] | `pagefold estimate --trace`: memory and time on a recorded trace |
//! | [`trace_file`] | reading a trace |

pub(crate) mod classes;
pub(crate) mod torture;
pub(crate) mod trace;
pub(crate) mod trace_file;
