//! Tests of whole spills: a backing that fails in every way, forks, deadlines, secrecy.

#![cfg(not(loom))]

mod faults;
mod fork;
mod model;
mod secrecy;
