//! Regions, in each mode that this machine allows.
#![cfg(all(target_os = "linux", not(loom)))]

mod basics;
mod common;
mod stress;
