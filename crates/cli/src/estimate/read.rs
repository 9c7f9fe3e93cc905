//! Finds the input ([`discover`], [`choose`], [`cgroup`]), decides how large the sample is ([`plan`], [`headroom`]),
//! and reads each page of the sample once ([`input`], [`sampler`]) into memory ([`spool`]).
//!
//! [`base`] reads what pages are compared with. [`process_read`] and [`shared_read`] read running processes, [`core_read`] core files.

mod address_space;
pub(crate) mod base;
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
