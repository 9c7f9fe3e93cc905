//! What a fault takes without its fault: gets of the same pages from a store, in random order.

use std::time::Instant;

use pagefold_store::{SpaceConfig, Store};

use super::{median, micros, shuffled, space::PAGE};

/// Microseconds a page: median, least, most.
pub(super) fn gets(codec: &str, source: &[u8], rounds: usize) -> (f64, f64, f64) {
    let pages = source.len() / PAGE;
    let store = Store::builder()
        .limit(2 * source.len())
        .codec(codec.parse().expect("a codec"))
        .staging(0)
        .build()
        .expect("room");
    let space = store.space(SpaceConfig::persistent(pages as u64)).expect("room");
    let page = |number: usize| -> &[u8; PAGE] {
        source[number * PAGE..][..PAGE].try_into().expect("a page")
    };
    let times = (0..rounds).map(|round| {
        // Again, because the store has trained meanwhile.
        (0..pages).for_each(|key| space.put(key as u64, page(key)).expect("room"));
        let mut read = [0; PAGE];
        let order = shuffled(pages, round as u64 + 1);
        let began = Instant::now();
        for &key in &order {
            space.get(key as u64, &mut read).expect("there");
        }
        let time = micros(began.elapsed(), pages);
        for &key in &order {
            space.get(key as u64, &mut read).expect("there");
            assert!(read == *page(key), "page {key}");
        }
        time
    });
    median(times.collect())
}
