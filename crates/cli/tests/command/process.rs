//! `pagefold estimate` on core files and on processes that the tests start.
//!
//! | module | holds |
//! |---|---|
//! | [`live`] | Python, Node and Redis, undisturbed |
//! | [`groups`] | processes by name and control group; shared and locked memory |
//! | [`refused`] | refusals, and processes that end during the read |
//! | [`memory`] | the command's own memory |
//! | [`core`] | core files by hand and by gdb |
//! | [`base`] | workers and core files against their template |
//! | [`children`] | starting processes and asking them |
//!
//! Tests skip missing programs and rights, and print `SKIPPED` on stderr.

mod base;
mod children;
mod core;
mod core_builder;
mod groups;
mod live;
mod memory;
mod refused;
