//! Tests of whole spills: a backing that fails in every way, forks, deadlines, secrecy.

#![cfg(not(loom))]

mod beside;
mod faults;
mod fork;
mod hostile;
mod model;
mod secrecy;
