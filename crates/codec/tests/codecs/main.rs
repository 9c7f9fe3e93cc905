//! The contract of a codec, run through every codec that is in the build.
#![cfg(not(loom))]

mod clusters;
mod common;
mod damage;
mod lies;
mod round_trip;
mod threads;
#[cfg(feature = "c-codecs")]
mod trained;
