//! The space of a backing: sparse extents are cleaned, and a full one drops ephemeral pages.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use pagefold_store::{
    GetError, Page, PutError, Space, SpaceConfig, Store,
    spill::{EXTENT_BYTES_MIN, FileBacking, Spill, SpillStats},
};
use pagefold_testkit::seed::Seed;
use rand::{Rng as _, RngExt as _};

const EXTENT: u64 = EXTENT_BYTES_MIN as u64;

fn file(extents: u64) -> Spill {
    let directory = std::env::temp_dir();
    let backing = FileBacking::new(&directory, EXTENT_BYTES_MIN).expect("a file");
    let spill = Spill::builder(backing).extent_bytes(EXTENT_BYTES_MIN).limit(extents * EXTENT);
    spill.build().expect("sensible")
}

/// Incompressible.
fn page(key: u64, version: u64) -> Page {
    let mut page = [0; 4096];
    Seed::for_test(0x77).rng(key << 24 | version).fill_bytes(&mut page);
    page
}

fn backing(store: &Store) -> SpillStats {
    store.stats().spill.expect("a backing").backing
}

fn get(space: &Space, key: u64) -> Result<Page, GetError> {
    let mut page = [0; 4096];
    space.get(key, &mut page).map(|()| page)
}

/// With a backing that is nearly full of live pages, each overwrite finds a slot by cleaning.
#[test]
fn a_nearly_full_backing_takes_overwrites_for_ever() {
    let extents = 100;
    let store = Store::builder().limit(4 << 20).spill(file(extents)).build().expect("room");
    let space = store.space(SpaceConfig::persistent(10_000)).expect("room");
    // Some 85 % of the backing, besides what memory has.
    let count = 2050_u64;
    (0..count).for_each(|key| space.put(key, &page(key, 0)).expect("room in the backing"));
    let mut versions = vec![0_u64; usize::try_from(count).expect("small")];
    let mut rng = Seed::for_test(0x79).rng(0);
    for step in 1..30_000 {
        let key = rng.random_range(0..count);
        space.put(key, &page(key, step)).expect("room after cleaning");
        versions[usize::try_from(key).expect("small")] = step;
    }
    let stats = backing(&store);
    assert!(stats.live_bytes > extents * EXTENT * 3 / 4 && stats.moved_bytes > 0, "{stats:?}");
    store.validate().expect("valid");
    for (key, version) in (0..).zip(&versions) {
        assert!(get(&space, key) == Ok(page(key, *version)), "page {key}");
    }
}

#[test]
fn a_full_backing_refuses_persistent_pages_and_loses_none() {
    let store = Store::builder().limit(4 << 20).spill(file(20)).build().expect("room");
    let space = store.space(SpaceConfig::persistent(10_000)).expect("room");
    let full = (0..10_000).find(|&key| space.put(key, &page(key, 0)).is_err()).expect("20 extents");
    assert!(matches!(space.put(full, &page(full, 0)), Err(PutError::Full { .. })));
    assert!(full > 1000, "{full} pages are more than memory has");
    store.validate().expect("valid");
    (0..full).for_each(|key| assert!(get(&space, key) == Ok(page(key, 0)), "page {key}"));
    // Room comes back with removals.
    (0..full).step_by(2).for_each(|key| assert_eq!(space.remove(key), Ok(true)));
    let again = (0..full).step_by(2).take(200);
    again.clone().for_each(|key| space.put(key, &page(key, 1)).expect("room again"));
    again.for_each(|key| assert!(get(&space, key) == Ok(page(key, 1)), "page {key}"));
    store.validate().expect("valid");
}

#[test]
fn a_full_backing_drops_the_oldest_pages_of_a_cache() {
    let evicted = Arc::new(AtomicU64::new(0));
    let store = Store::builder().limit(4 << 20).spill(file(40)).build().expect("room");
    let kept = store.space(SpaceConfig::persistent(1000).name("kept")).expect("room");
    (0..60).for_each(|key| kept.put(key, &page(1 << 30 | key, 0)).expect("room"));
    let count = Arc::clone(&evicted);
    let config = SpaceConfig::ephemeral(100_000).name("cache");
    let config = config.on_evict(move |_| _ = count.fetch_add(1, Ordering::Relaxed));
    let cache = store.space(config).expect("room");
    // Three times what memory and backing have.
    let total = 5000;
    for key in 0..total {
        cache.put(key, &page(key, 0)).expect("a cache always has room");
        if key >= 2 {
            assert!(get(&cache, key - 2) == Ok(page(key - 2, 0)), "the newest stay: {key}");
        }
    }
    let is_there = |key: &u64| match get(&cache, *key) {
        Ok(found) => {
            assert!(found == page(*key, 0), "page {key}");
            true
        }
        Err(error) => {
            assert_eq!(error, GetError::Absent, "page {key}");
            false
        }
    };
    // The spiller may be at its last extent.
    let until = Instant::now() + Duration::from_secs(20);
    let there = loop {
        let there: Vec<u64> = (0..total).filter(is_there).collect();
        let gone = evicted.load(Ordering::Relaxed);
        if gone == total - there.len() as u64 {
            break there;
        }
        assert!(Instant::now() < until, "{gone} were dropped, and {} are there", there.len());
    };
    assert!(there.len() > 1100, "memory and backing are in use: {}", there.len());
    let old = there.iter().filter(|&&key| key < total / 2).count();
    assert!(old < there.len() / 10, "{old} old ones of {}", there.len());
    (0..60).for_each(|key| assert!(get(&kept, key) == Ok(page(1 << 30 | key, 0)), "page {key}"));
    store.validate().expect("valid");
}

/// Second chance takes all marks in its first round, and names few pages.
#[test]
fn pages_that_were_all_read_leave_in_whole_extents() {
    let builder = Store::builder().limit(8 << 20).spill(file(1 << 20)).without_spiller();
    let store = builder.build().expect("room");
    let space = store.space(SpaceConfig::persistent(1500)).expect("room");
    (0..1500).for_each(|key| space.put(key, &page(key, 0)).expect("room"));
    store.flush();
    for extents in 1..4 {
        (0..1500).for_each(|key| assert!(get(&space, key) == Ok(page(key, 0)), "page {key}"));
        assert!(store.spill_extent());
        assert_eq!(store.stats().spill.expect("a backing").spilled, 15 * extents);
    }
    store.validate().expect("valid");
}

#[test]
fn a_lower_limit_spills_what_memory_has_too_much() {
    let store = Store::builder().limit(24 << 20).spill(file(1 << 20)).build().expect("room");
    let space = store.space(SpaceConfig::persistent(10_000)).expect("room");
    (0..4000).for_each(|key| space.put(key, &page(key, 0)).expect("room"));
    assert_eq!(space.stats().spilled, 0, "16 of 24 MiB");
    store.set_limit(10 << 20).expect("the backing has room");
    assert!(store.resident() <= 10 << 20 && store.limit() == 10 << 20);
    assert!(space.stats().spilled > 1000, "{:?}", space.stats());
    store.validate().expect("valid");
    (0..4000).for_each(|key| assert!(get(&space, key) == Ok(page(key, 0)), "page {key}"));
    (4000..6000).for_each(|key| space.put(key, &page(key, 0)).expect("room in the backing"));
    assert!(store.resident() <= 10 << 20);
    store.set_limit(24 << 20).expect("more");
    store.validate().expect("valid");
}
