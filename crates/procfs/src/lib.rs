//! Typed readers of a process's memory in Linux's `/proc`, for the command and for tests.
//!
//! | reader | file | answers |
//! |---|---|---|
//! | [`processes`] | `/proc` | process numbers |
//! | [`rss_anon`] | `status` | private anonymous memory: cheap, approximate |
//! | [`status`] | `status` | name, state, memory: cheap, approximate |
//! | [`stack_pointers`] | `task/*/syscall` | stacks of waiting threads |
//! | [`compressed_swap`] | `/proc/meminfo`, `/proc/swaps` | zswap and zram |
//! | [`smaps_rollup()`], [`smaps()`] | `smaps_rollup`, `smaps` | memory, exact |
//! | [`maps()`] | `maps` | mapped ranges |
//! | [`Pagemap`] | `pagemap` | the state of each page |
//! | [`ProcessMemory`] | `mem` | bytes |
//!
//! Text of an undocumented form is a [`ProcfsError::Parse`], never a panic. On systems without this `/proc` every
//! reader returns [`ProcfsError::Unsupported`]. Formats: `proc_pid_maps(5)`, `proc_pid_smaps(5)`, `proc_pid_status(5)`.

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
