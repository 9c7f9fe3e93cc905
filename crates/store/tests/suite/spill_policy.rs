//! Which objects leave memory, and what a read brings back with it.

use std::time::{Duration, Instant};

use pagefold_store::{
    Page, PutError, Space, SpaceConfig, SpillPolicy, Store, StoreBuildError, StoreBuilder,
    spill::{EXTENT_BYTES_MIN, FileBacking, Spill},
};
use pagefold_testkit::{corpus::Mix, seed::Seed};
use rand::Rng as _;

fn file() -> Spill {
    let directory = std::env::temp_dir();
    let backing = FileBacking::new(&directory, EXTENT_BYTES_MIN).expect("a file");
    Spill::builder(backing).extent_bytes(EXTENT_BYTES_MIN).build().expect("sensible")
}

/// The test makes the passes.
fn builder() -> StoreBuilder {
    let store = Store::builder().limit(24 << 20).workers(0).self_training(false).spill(file());
    store.idle_interval(Duration::from_secs(3600))
}

fn compressible(count: usize) -> Vec<Page> {
    let pages = Mix::PROCESS.pages(&mut Seed::for_test(0x75).rng(0), count);
    pages.iter().map(|page| page.as_slice().try_into().expect("a page")).collect()
}

fn random(key: u64) -> Page {
    let mut page = [0; 4096];
    Seed::for_test(0x76).rng(key).fill_bytes(&mut page);
    page
}

fn check(space: &Space, key: u64, expected: &Page) {
    let mut page = [0; 4096];
    assert_eq!(space.get(key, &mut page), Ok(()), "page {key}");
    assert!(page == *expected, "page {key}");
}

fn spilled(space: &Space, keys: std::ops::Range<u64>) -> Vec<u64> {
    keys.filter(|&key| space.form_of(key) == Some("spilled")).collect()
}

#[test]
fn with_idle_only_what_is_in_use_stays() {
    let store = builder().spill_policy(SpillPolicy::coldest().idle_only());
    let store = store.build().expect("room");
    let space = store.space(SpaceConfig::persistent(100_000)).expect("room");
    // Without a pass nothing is idle: the store fills up, and nothing goes.
    let full = (0..10_000).find(|&key| space.put(key, &random(key)).is_err()).expect("24 MiB");
    assert!(matches!(space.put(full, &random(full)), Err(PutError::Full { .. })));
    assert!(spilled(&space, 0..full).is_empty());
    // Two passes, and reads between them of the first hundred.
    store.idle_pass();
    (0..100).for_each(|key| check(&space, key, &random(key)));
    store.idle_pass();
    for key in full..full + 200 {
        space.put(key, &random(key)).expect("idle pages go");
    }
    let gone = spilled(&space, 0..full);
    assert!(gone.len() > 100 && gone.iter().all(|&key| key >= 100), "{gone:?}");
    store.validate().expect("valid");
    (0..full + 200).for_each(|key| check(&space, key, &random(key)));
}

#[test]
fn idle_only_without_passes_is_refused() {
    let store = builder().spill_policy(SpillPolicy::coldest().idle_only()).idle_share(0);
    let error = store.build().expect_err("nothing would ever go");
    assert!(matches!(error, StoreBuildError::IdleOnlyWithoutPasses { .. }), "{error}");
    let small = Store::builder().limit(4 << 20).spill(file());
    let error =
        small.spill_policy(SpillPolicy::coldest().idle_only()).build().expect_err("as above");
    let StoreBuildError::IdleOnlyWithoutPasses { min } = error else { panic!("{error}") };
    let least = Store::builder().limit(min).spill(file());
    assert!(least.spill_policy(SpillPolicy::coldest().idle_only()).build().is_ok());
}

#[test]
fn with_incompressible_first_these_go_before_colder_pages() {
    let text = |key: u64| -> Page {
        let words = format!("page {key} of text that every codec makes shorter; ");
        std::array::from_fn(|at| words.as_bytes()[at % words.len()])
    };
    for first in [false, true] {
        let policy = SpillPolicy::coldest();
        let policy = if first { policy.incompressible_first() } else { policy };
        let store = builder().spill_policy(policy).build().expect("room");
        let space = store.space(SpaceConfig::persistent(100_000)).expect("room");
        let page = |key: u64| match key {
            // The coldest are compressible.
            0..500 => text(key),
            _ => random(key),
        };
        (0..6500).for_each(|key| space.put(key, &page(key)).expect("room in the backing"));
        let gone = spilled(&space, 0..500);
        assert!(!spilled(&space, 500..6500).is_empty());
        assert_eq!(gone.is_empty(), first, "{gone:?}");
        (0..6500).for_each(|key| check(&space, key, &page(key)));
        store.validate().expect("valid");
    }
}

/// Puts pages until half of them are in the backing, and removes others so that there is room.
fn with_room(store: &Store, space: &Space, count: u64, page: impl Fn(u64) -> Page) -> Vec<u64> {
    (0..count).for_each(|key| space.put(key, &page(key)).expect("room in the backing"));
    store.flush();
    let gone = spilled(space, 0..count);
    (0..count).filter(|key| !gone.contains(key)).for_each(|key| _ = space.remove(key));
    give_back(store);
    gone
}

/// Objects come back below the high watermark, which counts frames that are free too; and the spiller may be at its last extent.
fn give_back(store: &Store) {
    let until = Instant::now() + Duration::from_secs(20);
    while store.resident() > store.limit() / 2 {
        store.shrink(1 << 20);
        assert!(Instant::now() < until, "{:?}", store.stats());
    }
}

#[test]
fn a_read_brings_the_keys_that_follow() {
    for prefetch in [0, 8] {
        let store = builder().idle_share(0).spill_prefetch(prefetch).build().expect("room");
        let space = store.space(SpaceConfig::persistent(100_000)).expect("room");
        let gone = with_room(&store, &space, 8000, random);
        assert!(gone.len() > 500, "{}", gone.len());
        let before = store.stats().spill.expect("a backing").fetches;
        let read = &gone[..90];
        read.iter().for_each(|&key| check(&space, key, &random(key)));
        let stats = store.stats().spill.expect("a backing");
        let fetches = stats.fetches - before;
        if prefetch == 0 {
            assert_eq!((fetches, stats.prefetched), (90, 0));
        } else {
            // One in nine, and one more at the end of each extent.
            assert!((10..25).contains(&fetches), "{stats:?}");
            assert!(stats.prefetched >= 90 - fetches, "{stats:?}");
        }
        store.validate().expect("valid");
        gone.iter().for_each(|&key| check(&space, key, &random(key)));
        store.validate().expect("valid");
    }
}

#[test]
fn a_cluster_comes_back_whole() {
    let pages = compressible(4000);
    let page = |key: u64| pages[usize::try_from(key).expect("small")];
    let store = Store::builder().limit(24 << 20).workers(0).self_training(false).spill(file());
    let store = store.idle_interval(Duration::from_secs(3600)).spill_prefetch(16);
    let store = store.build().expect("room");
    let space = store.space(SpaceConfig::persistent(100_000)).expect("room");
    (0..4000).for_each(|key| space.put(key, &page(key)).expect("room"));
    store.flush();
    store.idle_pass();
    store.idle_pass();
    let clusters = store.stats().idle.clusters;
    assert!(clusters > 100, "{:?}", store.stats().idle);
    (4000..11_000).for_each(|key| space.put(key, &random(key)).expect("room in the backing"));
    let gone = spilled(&space, 0..4000);
    assert!(store.stats().idle.clusters < clusters && gone.len() > 400, "{}", gone.len());
    (4000..11_000).for_each(|key| _ = space.remove(key));
    give_back(&store);
    store.validate().expect("valid");
    let before = store.stats().spill.expect("a backing").fetches;
    gone.iter().take(300).for_each(|&key| check(&space, key, &page(key)));
    let stats = store.stats().spill.expect("a backing");
    assert!(stats.fetches - before < 100, "{stats:?}");
    store.validate().expect("valid");
    (0..4000).for_each(|key| check(&space, key, &page(key)));
    store.validate().expect("valid");
    (0..4000).for_each(|key| assert_eq!(space.remove(key), Ok(true)));
    assert_eq!(store.stats().idle.clusters, 0);
    store.validate().expect("valid");
}
