//! `pagefold estimate` on processes and core files, tested through the binary against processes that the tests start.
//!
//! | module | holds |
//! |---|---|
//! | [`live`] | what is found in Python, Node and Redis, and that they are left as they were |
//! | [`groups`] | processes by name and by control group, what several share, what is locked |
//! | [`refused`] | what is refused, and processes that end while they are read |
//! | [`memory`] | how much memory the command itself takes |
//! | [`core`] | core files, made by hand and by gdb |
//! | [`children`] | starting processes and asking them |
//!
//! What a machine lacks (Node, Redis, gdb, another user to become) is skipped, and said on stderr with `SKIPPED`.

mod children;
mod core;
mod core_builder;
mod groups;
mod live;
mod memory;
mod refused;
