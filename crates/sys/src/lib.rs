//! The system calls of pagefold, behind one platform facade, and the only crate that makes any.
//!
//! | module | holds | replaced by |
//! |---|---|---|
//! | [`memory`] | [`Platform`](memory::Platform): reserve, commit, decommit; the [`Host`](memory::Host) | a test's own platform |
//! | [`sync`] | atomics, cells, locks, waiting, the shard hint | loom's, under `--cfg loom` |
//! | [`quiesce`] | [`Gate`](quiesce::Gate): when no operation runs; what a fork waits for | - |
//! | [`heap`] | a global allocator for commands, whose failures are an exit code | - |
//! | [`cgroup`] | what a cgroup says of its memory, and the pressure on it | - |
//! | [`signals`] | which signals were ignored when the program began | - |
//! | [`procfs`] | what the kernel says is resident: smaps, pagemap, maps | - |

pub mod cgroup;
#[cfg(unix)]
pub mod heap;
pub mod memory;
pub mod procfs;
pub mod quiesce;
#[cfg(unix)]
pub mod signals;
pub mod sync;
