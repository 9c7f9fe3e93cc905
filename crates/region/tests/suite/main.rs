//! Regions, in each mode that this machine allows.
//!
//! Tests named `part_..` are ignored: others run them in processes of their own, most of which a signal ends.
#![cfg(all(target_os = "linux", not(loom)))]

mod basics;
mod common;
mod corrupt;
mod fork;
mod mistakes;
mod nested;
mod parts;
mod pins;
mod policies;
mod seccomp;
mod signals;
mod stack;
mod stress;
mod typed;
