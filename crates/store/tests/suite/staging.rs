//! Staging: pages that wait for their codec, by workers, by callers, and at the limit.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use pagefold_codec::{Codec, CodecError};
use pagefold_store::{
    GetError, Page, PutError, SpaceConfig, SpaceKind, Store, StoreBuildError, StoreBuilder,
};
use pagefold_testkit::seed::Seed;
use rand::RngExt as _;

/// A page that compresses, of its own content.
fn page(number: u64) -> Page {
    let bytes = number.to_le_bytes();
    std::array::from_fn(|at| if at < 64 { bytes[at % 8] } else { (at / 64).to_le_bytes()[0] })
}

/// A store whose staged pages wait until a caller ends their turns.
fn idle(pages: usize) -> StoreBuilder {
    Store::builder().limit(32 << 20).staging(pages * 4096).workers(0).shrinker(false)
}

fn get(space: &pagefold_store::Space, key: u64) -> Result<Page, GetError> {
    let mut page = [0; 4096];
    space.get(key, &mut page).map(|()| page)
}

#[test]
fn a_page_waits_raw_and_is_compressed_in_its_turn() {
    let store = idle(64).build().expect("room");
    let space = store.space(SpaceConfig::persistent(100)).expect("room");
    (0..10).for_each(|key| space.put(key, &page(key)).expect("room"));
    let stats = store.stats();
    assert_eq!((stats.spaces[0].fresh, stats.spaces[0].compressed), (10, 0));
    assert_eq!((stats.staging.staged, stats.staging.bytes), (10, 10 * 4096));
    assert_eq!(stats.spaces[0].object_bytes, 10 * 4096, "charged in full");
    store.validate().expect("valid");
    (0..10).for_each(|key| assert_eq!(get(&space, key), Ok(page(key))));

    let report = store.maintain(3 * 4096);
    assert_eq!((report.pages, report.more), (3, true));
    assert_eq!(store.stats().spaces[0].compressed, 3, "in order of arrival");
    store.flush();
    let stats = store.stats();
    assert_eq!((stats.spaces[0].fresh, stats.spaces[0].compressed), (0, 10));
    assert_eq!((stats.staging.compressed, stats.staging.saved, stats.staging.pages), (10, 0, 0));
    assert!(stats.spaces[0].object_bytes < 10 * 1024);
    (0..10).for_each(|key| assert_eq!(get(&space, key), Ok(page(key))));
    assert_eq!(store.maintain(usize::MAX).pages, 0);
    store.validate().expect("valid");
}

#[test]
fn what_is_overwritten_or_removed_before_its_turn_costs_no_codec() {
    let store = idle(64).build().expect("room");
    let space = store.space(SpaceConfig::persistent(100)).expect("room");
    for number in 0..50 {
        space.put(1, &page(number)).expect("room");
    }
    for key in 2..12 {
        space.put(key, &page(key)).expect("room");
    }
    (2..6).for_each(|key| assert_eq!(space.remove(key), Ok(true)));
    (6..8).for_each(|key| {
        let mut taken = [0; 4096];
        space.take(key, &mut taken).expect("there");
        assert_eq!(taken, page(key));
    });
    // A value over a fresh page, and a same-filled one.
    space.put_bytes(8, b"value").expect("room");
    space.put(9, &[0; 4096]).expect("room");
    store.validate().expect("valid");
    store.flush();
    let staging = store.stats().staging;
    assert_eq!((staging.staged, staging.compressed, staging.saved), (60, 3, 57));
    assert_eq!(get(&space, 1), Ok(page(49)));
    assert_eq!(get(&space, 2), Err(GetError::Absent));
    assert_eq!(space.get_bytes(8).expect("there"), b"value");
    store.validate().expect("valid");
}

#[test]
fn a_put_that_finds_staging_full_compresses_some() {
    let store = idle(8).build().expect("room");
    let space = store.space(SpaceConfig::persistent(1000)).expect("room");
    (0..1000).for_each(|key| space.put(key, &page(key)).expect("room"));
    let stats = store.stats();
    assert_eq!(stats.staging.staged, 1000);
    assert!(stats.staging.pages <= 8, "{:?}", stats.staging);
    assert!(stats.staging.compressed >= 992);
    assert_eq!(stats.staging.by_callers, stats.staging.compressed);
    (0..1000).for_each(|key| assert_eq!(get(&space, key), Ok(page(key))));
    store.validate().expect("valid");
}

#[test]
fn off_means_that_a_put_compresses_its_page() {
    let store = Store::builder().limit(32 << 20).staging(0).build().expect("room");
    let space = store.space(SpaceConfig::persistent(10)).expect("room");
    space.put(1, &page(1)).expect("room");
    let stats = store.stats();
    assert_eq!((stats.spaces[0].compressed, stats.staging.staged), (1, 0));
    store.flush();
    assert_eq!(store.maintain(usize::MAX).pages, 0);
    store.validate().expect("valid");
}

#[test]
fn a_worker_compresses_by_itself_and_can_be_paused() {
    let store = Store::builder().limit(32 << 20).build().expect("room");
    let space = store.space(SpaceConfig::persistent(1000)).expect("room");
    let wait_until = |what: &str, done: &dyn Fn() -> bool| {
        let began = Instant::now();
        while !done() {
            assert!(began.elapsed() < Duration::from_secs(60), "{what}: {:?}", store.stats());
            thread::sleep(Duration::from_millis(1));
        }
    };
    wait_until("a worker", &|| store.stats().staging.workers == 1);
    (0..50).for_each(|key| space.put(key, &page(key)).expect("room"));
    wait_until("compressed", &|| store.stats().spaces[0].compressed == 50);

    store.pause_workers();
    assert!(store.stats().staging.paused);
    // A page that the worker had at hand ends its turn.
    thread::sleep(Duration::from_millis(20));
    (50..60).for_each(|key| space.put(key, &page(key)).expect("room"));
    thread::sleep(Duration::from_millis(20));
    assert_eq!(store.stats().spaces[0].fresh, 10);
    store.resume_workers();
    wait_until("resumed", &|| store.stats().spaces[0].compressed == 60);
    let stats = store.stats();
    assert!(stats.staging.worker_ns > 0);
    assert_eq!(stats.staging.by_callers, 0);
    store.validate().expect("valid");
}

#[test]
fn at_the_limit_nothing_is_dropped_or_refused_while_pages_wait() {
    for kind in [SpaceKind::Persistent, SpaceKind::Ephemeral] {
        // As many pages as the limit has frames: raw they would not fit.
        let store = idle(4096).limit(16 << 20).build().expect("room");
        let space = store.space(match kind {
            SpaceKind::Persistent => SpaceConfig::persistent(10_000),
            SpaceKind::Ephemeral => SpaceConfig::ephemeral(10_000),
        });
        let space = space.expect("room");
        for key in 0..8000 {
            space.put(key, &page(key)).expect("compressed they fit");
            assert!(store.resident() <= 16 << 20);
        }
        assert_eq!((space.len(), store.stats().spaces[0].evicted), (8000, 0));
        (0..8000).for_each(|key| assert_eq!(get(&space, key), Ok(page(key))));
        store.validate().expect("valid");
    }
}

#[test]
fn at_the_limit_of_a_space_nothing_is_dropped_while_pages_wait() {
    let store = idle(64).build().expect("room");
    let space = store.space(SpaceConfig::ephemeral(100).limit(10 * 4096)).expect("room");
    for key in 0..40 {
        space.put(key, &page(key)).expect("compressed they fit");
        assert!(store.stats().spaces[0].object_bytes <= 10 * 4096);
    }
    assert_eq!(store.stats().spaces[0].evicted, 0);
    store.validate().expect("valid");
}

#[test]
fn shrinking_compresses_what_waits_before_it_drops() {
    let store = idle(1000).build().expect("room");
    let space = store.space(SpaceConfig::ephemeral(1000)).expect("room");
    (0..1000).for_each(|key| space.put(key, &page(key)).expect("room"));
    let report = store.shrink(1 << 20);
    assert_eq!(report.evicted, 0);
    assert!(report.frames >= 256, "{report:?}");
    assert_eq!(space.len(), 1000);
    store.validate().expect("valid");
}

#[test]
fn a_space_that_is_dropped_takes_its_staged_pages_along() {
    let store = idle(64).build().expect("room");
    let (one, two) = (
        store.space(SpaceConfig::persistent(100)).expect("room"),
        store.space(SpaceConfig::persistent(100)).expect("room"),
    );
    for key in 0..20 {
        one.put(key, &page(key)).expect("room");
        two.put(key, &page(key)).expect("room");
    }
    store.drop_space(&one);
    assert_eq!(store.stats().staging.pages, 20);
    store.validate().expect("valid");
    let report = store.maintain(usize::MAX);
    assert_eq!(report.pages, 20, "entries of the dropped space are gone");
    (0..20).for_each(|key| assert_eq!(get(&two, key), Ok(page(key))));
}

#[test]
fn a_page_that_does_not_shrink_stays_raw() {
    let store = idle(64).build().expect("room");
    let space = store.space(SpaceConfig::persistent(100)).expect("room");
    let mut rng = Seed::for_test(0x57).rng(0);
    let random: Page = std::array::from_fn(|_| rng.random());
    space.put(1, &random).expect("room");
    store.flush();
    let stats = store.stats();
    assert_eq!((stats.spaces[0].raw, stats.spaces[0].fresh, stats.staging.kept_raw), (1, 0, 1));
    assert_eq!(get(&space, 1), Ok(random));
    store.validate().expect("valid");
}

#[test]
fn senseless_settings_are_errors_and_small_ones_work() {
    let built = Store::builder().limit(16 << 20).staging((16 << 20) + 1).build();
    let error = built.expect_err("more than the limit");
    assert!(matches!(error, StoreBuildError::Staging { .. }), "{error}");
    assert!(error.to_string().contains("16777217"), "{error}");
    // The last values that are taken: as much as the limit, and the most workers.
    let store = idle(1).staging(32 << 20).workers(u8::MAX).build().expect("room");
    let space = store.space(SpaceConfig::persistent(u64::MAX)).expect("room");
    space.put(u64::MAX - 1, &page(7)).expect("room");
    store.flush();
    assert_eq!((get(&space, u64::MAX - 1), store.stats().staging.pages), (Ok(page(7)), 0));
    let store = idle(1).staging(1).build().expect("one page");
    assert_eq!(store.stats().staging.capacity_pages, 1);
    let space = store.space(SpaceConfig::persistent(100)).expect("room");
    (0..100).for_each(|key| space.put(key, &page(key)).expect("room"));
    (0..100).for_each(|key| assert_eq!(get(&space, key), Ok(page(key))));
    store.validate().expect("valid");
}

/// Panics over pages that begin with this byte.
struct Panics;
const BAD: u8 = 0xbd;

impl Codec for Panics {
    fn name(&self) -> &str {
        "panics"
    }
    fn compress(&self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        assert_ne!(src[0], BAD, "the codec is asked for a page that it fails on");
        dst.get_mut(..8)?.copy_from_slice(&src[..8]);
        Some(8)
    }
    fn decompress(&self, src: &[u8], dst: &mut [u8]) -> Result<usize, CodecError> {
        let number = u64::from_le_bytes(src.try_into().expect("8 bytes"));
        dst.copy_from_slice(&page(number));
        Ok(dst.len())
    }
    fn metadata_bytes(&self) -> usize {
        0
    }
}

#[test]
fn a_codec_that_panics_leaves_the_page_raw_and_the_worker_at_work() {
    for workers in [0, 1] {
        let builder = idle(64).codec_with(Box::new(Panics)).workers(workers);
        let store = builder.build().expect("room");
        let space = store.space(SpaceConfig::persistent(100)).expect("room");
        let bad = page(u64::from(BAD));
        space.put(1, &bad).expect("staged");
        space.put(2, &page(7)).expect("staged");
        let began = Instant::now();
        while store.stats().staging.pages > 0 && began.elapsed() < Duration::from_secs(60) {
            match workers {
                0 => store.flush(),
                _ => thread::sleep(Duration::from_millis(1)),
            }
        }
        let stats = store.stats();
        assert_eq!((stats.staging.failures, stats.staging.compressed), (1, 1), "{workers}");
        assert_eq!((stats.spaces[0].raw, stats.staging.workers), (1, u64::from(workers)));
        assert_eq!((get(&space, 1), get(&space, 2)), (Ok(bad), Ok(page(7))));
        store.validate().expect("valid");
    }
}

#[test]
fn a_store_ends_while_its_workers_are_at_work() {
    for round in 0..20 {
        let store = Store::builder().limit(32 << 20).workers(3).build().expect("room");
        let space = store.space(SpaceConfig::persistent(1000)).expect("room");
        (0..100 + round).for_each(|key| space.put(key, &page(key)).expect("room"));
        // The handle of the space goes last.
        drop(store);
        drop(space);
    }
}

/// Every key has a writer; readers, removals, flushes and `maintain` of two threads beside it. A page never goes back.
#[test]
fn beside_everything_else_a_get_finds_the_last_page_or_nothing() {
    let store =
        Store::builder().limit(8 << 20).staging(64 * 4096).workers(2).build().expect("room");
    let space = store.space(SpaceConfig::persistent(64)).expect("room");
    let at = |key: u64| usize::try_from(key).expect("small");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    store.maintain(16 * 4096);
                    store.flush();
                }
            });
        }
        scope.spawn(|| {
            let mut last = vec![0_u64; 64];
            while !done.load(Ordering::Relaxed) {
                for key in 0..64 {
                    let Ok(found) = get(&space, key) else { continue };
                    let number = u64::from_le_bytes(found[..8].try_into().expect("8 bytes"));
                    assert_eq!(found, page(number), "torn");
                    assert!(number >= last[at(key)], "key {key} went back");
                    last[at(key)] = number;
                }
            }
        });
        let mut rng = Seed::for_test(0x58).rng(0);
        let mut seen = [None; 64];
        for number in 1..20_000_u64 {
            let key = rng.random_range(0..64);
            match rng.random_range(0..8) {
                0 => {
                    assert_eq!(space.remove(key), Ok(seen[at(key)].is_some()));
                    seen[at(key)] = None;
                }
                1 => {
                    let found = space.update(key, |page| *page = self::page(number)).expect("room");
                    assert_eq!(found, seen[at(key)].is_some());
                    seen[at(key)] = found.then_some(number);
                }
                _ => match space.put(key, &page(number)) {
                    Ok(()) => seen[at(key)] = Some(number),
                    Err(error) => assert!(matches!(error, PutError::Full { .. }), "{error}"),
                },
            }
            let there = get(&space, key).ok();
            assert_eq!(there, seen[at(key)].map(page), "key {key}");
        }
        done.store(true, Ordering::Relaxed);
    });
    store.flush();
    assert_eq!(store.stats().staging.pages, 0);
    store.validate().expect("valid");
}
