//! Arbitrary operations on every allocator, beside the model: what is stored, read, written, freed, compacted, migrated,
//! claimed and reclaimed must come to what a map of byte strings would, while grants of memory are refused, descriptors
//! found isolated, and evictors refuse and panic wherever the input says so.
//!
//! Run with `RUSTC_BOOTSTRAP=1 cargo fuzz run pool_ops` inside `fuzz/`, where `.cargo/config.toml` is found. The first
//! byte of an input chooses the allocator and how much is checked after each operation, the rest is operations.
//! `PAGEFOLD_FUZZ_ALLOCATOR` names the one allocator to use.
#![no_main]

use std::{env, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use pagefold_pool::Allocator;
use pagefold_testkit::{
    model::{Checked, Depth, operations},
    torture::{self, FaultPlan},
};

/// Small, so that a short input meets the limit; above the least that any allocator needs.
const LIMIT: usize = 4 << 20;
/// More would be slow, and say nothing new.
const OPS_MAX: usize = 400;

static ALLOCATORS: LazyLock<Vec<Allocator>> =
    LazyLock::new(|| match env::var("PAGEFOLD_FUZZ_ALLOCATOR") {
        Ok(name) => vec![name.parse().expect("PAGEFOLD_FUZZ_ALLOCATOR")],
        Err(_) => Allocator::ALL.to_vec(),
    });

fuzz_target!(|input: &[u8]| {
    let Some((&choice, rest)) = input.split_first() else { return };
    let allocator = ALLOCATORS[usize::from(choice) % ALLOCATORS.len()];
    let depth = if choice < 128 { Depth::Stats } else { Depth::Validate };
    let faults = FaultPlan::new();
    let pool = torture::build(allocator, LIMIT, &faults).expect("enough for a pool");
    let mut on = Checked::new(&*pool, depth).faulty(faults.clone());
    for (step, op) in operations(rest).take(OPS_MAX).enumerate() {
        if let Err(mismatch) = op.apply(&mut on) {
            panic!("{allocator}, operation {step}, {op:?}: {mismatch}");
        }
    }
    faults.heal();
    let end = on.check_all(16).and_then(|()| on.free_all()).and_then(|()| on.trim());
    let stats = end.and_then(|_| on.stats()).and_then(|stats| on.validate().map(|()| stats));
    let stats = stats.unwrap_or_else(|mismatch| panic!("{allocator}, at the end: {mismatch}"));
    assert_eq!(stats.frame_bytes, 0, "{allocator}: something is left: {stats:?}");
});
