//! The system calls of pagefold: no other crate makes any.
//!
//! | module | holds | in a test |
//! |---|---|---|
//! | [`memory`] | address space: reserve, commit, decommit, release | a `FrameSource` of the test |
//! | [`sync`] | atomics, cells, locks, waiting, the shard hint | loom's, under `--cfg loom` |
//! | [`quiesce`] | [`Gate`](quiesce::Gate): when no operation runs; what a fork waits for | - |
//! | [`heap`] | a global allocator for commands, whose failures are an exit code | - |
//! | [`cgroup`] | what a cgroup says of its memory, and the pressure on it | - |
//! | [`signals`] | which signals were ignored when the program began | - |

pub mod cgroup;
#[cfg(unix)]
pub mod heap;
pub mod memory;

pub mod quiesce;
#[cfg(unix)]
pub mod signals;
pub mod sync;
