//! Commands about the allocators themselves: their size classes, stress with model checks, and what they make of a trace.
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
