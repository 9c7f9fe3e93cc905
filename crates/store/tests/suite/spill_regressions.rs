//! Faults of the spill that random tests found, each by itself.

use std::sync::Arc;

use pagefold_store::{
    Page, Space, SpaceConfig, Store,
    spill::{EXTENT_BYTES_MIN, Spill},
};
use pagefold_testkit::backing::FaultyBacking;

fn page(key: u64) -> Page {
    std::array::from_fn(|at| {
        let mixed = (key << 12 | at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        if at % 2 == 0 { (mixed >> 56).to_le_bytes()[0] } else { 0 }
    })
}

/// Spilled pages of so many keys, and room for all of them in memory.
fn spilled(count: u64) -> (Store, Space) {
    let backing = Arc::new(FaultyBacking::new(true));
    let spill = Spill::builder(backing).extent_bytes(EXTENT_BYTES_MIN).build().expect("sensible");
    let builder = Store::builder().limit(8 << 20).spill(spill).without_spiller().staging(0);
    let store = builder.workers(0).build().expect("room");
    let space = store.space(SpaceConfig::persistent(count)).expect("room");
    for key in 0..count {
        space.put(key, &page(key)).expect("room");
    }
    while store.spill_extent() {}
    assert_eq!(space.stats().spilled, count);
    (store, space)
}

/// The second read of it found the page in memory, and brought it back once more: an object without a key.
#[test]
fn a_page_that_one_call_reads_three_times_comes_back_once() {
    let (store, space) = spilled(10);
    let mut back = [[0; 4096]; 3];
    let results = space.get_many([7, 7, 7].into_iter().zip(&mut back));
    assert!(results.iter().all(Result::is_ok) && back == [page(7); 3]);
    assert_eq!(store.stats().spill.expect("a backing").returned, 1);
    store.validate().expect("valid");
}
