//! Typed readers of a process's memory in Linux's `/proc`.
//!
//! The command reads other processes with it, and tests compare a pool's accounts with the kernel's. The library does
//! not depend on it.
//!
//! | reader | file | answers |
//! |---|---|---|
//! | [`processes`] | `/proc` itself | which processes there are |
//! | [`rss_anon`] | `status` | how much private anonymous memory is resident: cheap, approximate |
//! | [`status`] | `status` | whose it is, what it is called, how much is resident and swapped: cheap, approximate |
//! | [`stack_pointers`] | `task/*/syscall` | where the stacks of its waiting threads are |
//! | [`compressed_swap`] | `/proc/meminfo`, `/proc/swaps` | whether the system's swap is compressed memory already |
//! | [`smaps_rollup()`], [`smaps()`] | `smaps_rollup`, `smaps` | the same and more, exact, by walking the page tables |
//! | [`maps()`] | `maps` | which address ranges are mapped, how, and from what |
//! | [`Pagemap`] | `pagemap` | for each page: present, swapped, shared, written |
//! | [`ProcessMemory`] | `mem` | the bytes themselves |
//!
//! The kernel's text is untrusted input: a truncated line, a missing field or a number out of range is a
//! [`ProcfsError::Parse`] that names the file and the line, never a panic. Every file is a snapshot, old once read
//! unless the process is stopped.
//!
//! Formats: *The /proc Filesystem* (`proc_pid_maps(5)`, `proc_pid_smaps(5)`, `proc_pid_status(5)`) and *Examining
//! Process Page Tables* in the kernel's administration guide. No unsafe code; on systems without this `/proc` every
//! reader returns [`ProcfsError::Unsupported`].

#![forbid(unsafe_code)]

mod error;
mod list;
mod maps;
mod memory;
mod pagemap;
mod smaps;
mod source;
mod status;
mod swap;
mod threads;

pub use error::ProcfsError;
pub use list::processes;
pub use maps::{Mapping, Permissions, maps};
pub use memory::ProcessMemory;
pub use pagemap::{Pagemap, PagemapEntry};
pub use smaps::{MappingUsage, MemoryUsage, smaps, smaps_rollup};
pub use source::Process;
pub use status::{ProcessStatus, rss_anon, status};
pub use swap::{CompressedSwap, compressed_swap};
pub use threads::stack_pointers;
