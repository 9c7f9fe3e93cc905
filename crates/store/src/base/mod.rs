//! Bases: pages that never change, which spaces keep differences from.
//!
//! ```text
//!  Space --- Mapping: keys to base pages --- BaseState: hashes, holes --- BasePages: a file, or a frozen space
//!                                               '--- Resident: decoded pages
//! ```
//! A reader of a base page copies it; no reference leaves this module. A page from its source is checked against its
//! hash before any use. See `docs/BASES.md`.
//!
//! # Invariants (I-BASE)
//! - The bytes of a base page are those of opening, or there is an error.
//! - The number of a resident page lies under the same lock as its bytes.
//! - The mapping of a space never changes.

mod error;
mod fault;
mod file;
mod handle;
mod mapping;
mod pages;
mod resident;
mod source;
mod state;
mod stats;

pub use error::BaseError;
pub use fault::{BaseFault, MappingError};
pub use handle::Base;
pub use source::BaseSource;
pub use stats::BaseStats;

pub(crate) use file::FilePages;
pub(crate) use mapping::Mapping;
pub(crate) use pages::{AtHand, BasePages, Found};
pub(crate) use resident::{Locked, Resident};
pub(crate) use source::Kind;
pub(crate) use state::{BaseState, Hashing};
