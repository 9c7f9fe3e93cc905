//! The contract of a codec, run through every codec that is in the build.
#![cfg(not(loom))]

mod common;
mod damage;
mod lies;
mod round_trip;
mod threads;
