//! Extents that an enemy changed, with forged tags too: every object comes back with its own length and label, or is an error.
//!
//! Run with `RUSTC_BOOTSTRAP=1 cargo fuzz run spill_open` inside `fuzz/`, where `.cargo/config.toml` is found. The first bytes of an input
//! say what is written, the rest what is done to it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pagefold_testkit::hostile::open_hostile;

fuzz_target!(|input: &[u8]| {
    open_hostile(input);
});
