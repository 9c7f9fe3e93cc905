//! Extents of sealed objects in a file or another backing: where pages go that are too cold for memory.
//!
//! ```text
//!  Batch --push, push, ..--> one extent --Spill::write--> Backing, in one slot
//!                                              |
//!            index of the caller <--Place-- Written::keep
//!                    |
//!                    '--Spill::read, release--> the last release frees the slot
//! ```
//! - Each object is encrypted and bound to its place and its write (AES-256-GCM): what comes from another place or an earlier write, or is short, torn or
//!   flipped, is [`ReadError::Corrupt`] for this object and no other.
//! - Memory keeps 4 bytes an object and a few words an extent.
//! - No lock is held while the backing works. A read ends by its deadline; a write that fails leaves its objects with the caller.
//!
//! ```
//! use pagefold_spill::{FileBacking, Label, Owner, Spill};
//!
//! let directory = std::env::temp_dir();
//! let spill = Spill::builder(FileBacking::new(&directory, 1 << 20)?).build()?;
//! let mut batch = spill.batch()?;
//! let number = batch.push(Owner(0, 7), Label::NONE, b"cold").expect("an extent is longer");
//! let written = spill.write(&mut batch)?;
//! let place = written.keep(number);
//! drop(written);
//!
//! let mut back = [0; 64];
//! let len = spill.read(place, &mut back)?;
//! assert_eq!(&back[..len], b"cold");
//! assert!(spill.release(place).is_some());
//! assert!(spill.read(place, &mut back).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Modules: `spill` the operations, `slots` which slot has what, `batch` the layout of an extent, `seal` encryption, `threads` that call the
//! backing for others, `pace` budget and rests, `file` the backing of one machine.

#![forbid(unsafe_code)]

mod backing;
mod batch;
mod builder;
mod end;
mod error;
mod file;
mod heap;
mod pace;
mod place;
mod seal;
mod slots;
mod spill;
mod stats;
mod threads;

pub use backing::Backing;
pub use batch::{Batch, BatchFull, Owner};
pub use builder::{EXTENT_BYTES, EXTENT_BYTES_MAX, EXTENT_BYTES_MIN, SpillBuilder};
pub use end::Label;
pub use error::{BuildError, ReadError, WriteError};
pub use file::{FileBacking, FileError};
#[doc(hidden)]
pub use heap::HeapBacking;
pub use place::{OBJECTS_MAX, Place, SLOTS_MAX};
pub use seal::KeyMakingError;
pub use slots::Released;
pub use spill::{LiveObject, Reading, Run, Spill, Writing, Written};
pub use stats::SpillStats;
