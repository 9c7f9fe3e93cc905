//! The system calls of pagefold, behind one platform facade, and the only crate that makes any.
//!
//! | module | holds | replaced by |
//! |---|---|---|
//! | [`memory`] | [`Platform`](memory::Platform): reserve, commit, decommit; the [`Host`](memory::Host) | a test's own platform |
//! | [`sync`] | atomics, cells, locks, waiting, the shard hint | loom's, under `--cfg loom` |
//! | [`procfs`] | what the kernel says is resident: smaps, pagemap, maps | - |

pub mod memory;
pub mod procfs;
pub mod sync;
