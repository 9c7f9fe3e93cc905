//! Spilled pages in what [Apache OpenDAL](https://opendal.apache.org) reaches: Redis or Valkey, S3-compatible stores, and others.
//!
//! ```text
//!  PREFIX/ID/slot-7      an extent; it tells nothing, see pagefold_spill
//!  PREFIX/ID/again-0     an extent whose first name had a call that failed, and may still be done
//!  PREFIX/ID/lease       when this store was last alive, in seconds of the Unix epoch, and numbers above all slot-N and again-N
//!  PREFIX/stores-00 ..   the IDs, for services that cannot list
//! ```
//! `ID` is random, so stores share a service and a prefix without knowing each other. Dropping an [`OpendalBacking`] removes what is under its
//! ID; [`collect`] removes what stores left behind that died.
//!
//! Each call goes through OpenDAL's layers for retries, timeouts and concurrency, see [`Options`]. A call that is out of time is
//! `TimedOut`; what the service has lost is `NotFound`. An answer that is lost does no harm: a name is not used again after a call on it failed.
//!
//! The register of services that cannot list has no lock: stores that begin at once, or beside a collector, may lose an entry. Each store looks one
//! second after its beginning and then each 30 s, and enters itself again. What a store left that died before that is not found.
//!
//! ```
//! use pagefold_spill::{Owner, Label, Spill};
//! use pagefold_spill_opendal::{OpendalBacking, Options, connect};
//!
//! let operator = connect("memory://")?;
//! let backing = OpendalBacking::new(operator, "pagefold", Options::default())?;
//! let spill = Spill::builder(backing).build()?;
//! let mut batch = spill.batch()?;
//! batch.push(Owner(0, 7), Label::NONE, b"cold").expect("an extent is longer");
//! let place = spill.write(&mut batch)?.keep(0);
//! assert_eq!(spill.read_object(place)?.1, b"cold");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod backing;
mod collect;
mod connect;
mod error;
mod home;
mod lease;
mod names;
mod options;
mod prefix;
mod register;

pub use opendal;

pub use backing::OpendalBacking;
pub use collect::{CollectOptions, Collected, Fate, FoundStore, collect};
pub use connect::connect;
pub use error::OpendalError;
pub use options::Options;

/// The example of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
