//! Finds the input and reads every page of the sample once, into memory.
//!
//! | module | contains |
//! |---|---|
//! | [`input`], [`read_full`] | reading each source to its end |
//! | [`discover`] | which files there are, and which are skipped |
//! | [`choose`], [`process`], [`mapping`] | which processes are measured, and the kinds of their mappings |
//! | [`process_read`], [`shared_read`], [`address_space`] | reading a running process: its own pages, and shared ones |
//! | [`cgroup`], [`identity`] | the processes of a control group; whether a file was met before |
//! | [`core_file`], [`core_notes`], [`core_read`], [`core_error`] | reading a process from a core file |
//! | [`sampler`], [`spool`] | which pages are kept, and where |
//! | [`extents`] | which parts of a file have data |
//! | [`plan`], [`headroom`] | how large the sample is, and how much memory there is |

mod address_space;
mod cgroup;
mod choose;
mod core_error;
mod core_file;
mod core_notes;
mod core_read;
mod discover;
mod extents;
mod headroom;
mod identity;
pub(crate) mod input;
mod mapping;
mod plan;
mod process;
mod process_read;
mod read_full;
pub(crate) mod sampler;
mod shared_read;
pub(crate) mod spool;
