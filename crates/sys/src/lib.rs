//! The system calls of pagefold: no other crate makes any.
//!
//! | module | contents |
//! |---|---|
//! | [`memory`] | address space |
//! | [`sync`] | atomics, cells, locks, waiting; loom's under `--cfg loom` |
//! | [`quiesce`] | [`Gate`](quiesce::Gate): when no operation runs; fork |
//! | [`heap`] | a global allocator for commands |
//! | [`clock`] | processor time |
//! | [`cgroup`] | memory and pressure of a cgroup |
//! | [`signals`] | signals ignored at the start |
//! | [`mod@file`] | reads from the page cache, holes |
//! | [`secret`] | memory for keys, random bytes |
//! | [`userfault`], [`pages`], [`faults`] | page faults served by their owner |
//! | [`probe`] | what a filter may kill for, tried in a child |

pub mod cgroup;
pub mod clock;
#[cfg(target_os = "linux")]
pub mod faults;
#[cfg(target_os = "linux")]
pub mod file;
#[cfg(unix)]
pub mod heap;
pub mod memory;
#[cfg(target_os = "linux")]
pub mod pages;
#[cfg(target_os = "linux")]
pub mod probe;
pub mod quiesce;
#[cfg(target_os = "linux")]
pub mod secret;
#[cfg(unix)]
pub mod signals;
pub mod sync;
#[cfg(target_os = "linux")]
pub mod userfault;
