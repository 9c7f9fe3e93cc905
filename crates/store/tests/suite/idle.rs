//! Idle pages: into clusters, out of them, and everything that may happen to a page of one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use pagefold_codec::{Codec, CodecError, CodecSpec};
use pagefold_pool::Allocator;
use pagefold_store::{
    GetError, IdleReport, Page, Space, SpaceConfig, Store, StoreBuildError, StoreBuilder,
    TryGetError,
};
use pagefold_testkit::seed::Seed;
use rand::RngExt as _;

/// A page that is like its neighbours: most words are those of the group of eight.
fn page(number: u64) -> Page {
    let word = |at: u64| {
        let seed = if at.is_multiple_of(8) { number + 1 } else { number / 8 + 1000 };
        (seed * 512 + at).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40
    };
    let mut page = [0; 4096];
    for (at, bytes) in (0..).zip(page.chunks_exact_mut(8)) {
        bytes.copy_from_slice(&word(at).to_le_bytes());
    }
    page
}

fn index(key: u64) -> usize {
    usize::try_from(key).expect("a small key")
}

/// A store in which only calls make passes.
fn quiet() -> StoreBuilder {
    Store::builder().limit(64 << 20).staging(0).workers(0).shrinker(false)
}

fn filled(store: &Store, config: SpaceConfig, keys: u64) -> Space {
    let space = store.space(config).expect("room");
    (0..keys).for_each(|key| space.put(key, &page(key)).expect("room"));
    space
}

/// Two passes: what no call uses between them becomes dense.
fn pass_twice(store: &Store) -> u64 {
    store.idle_pass();
    store.idle_pass().joined
}

fn get(space: &Space, key: u64) -> Result<Page, GetError> {
    let mut page = [0; 4096];
    space.get(key, &mut page).map(|()| page)
}

fn check(space: &Space, keys: impl Iterator<Item = u64>) {
    for key in keys {
        assert!(get(space, key) == Ok(page(key)), "page {key}");
    }
}

#[test]
fn idle_pages_join_clusters_and_read_the_same() {
    for &allocator in Allocator::ALL {
        let store = quiet().allocator(allocator).build().expect("room");
        let space = filled(&store, SpaceConfig::persistent(1000), 1000);
        let before = store.stats();
        assert_eq!(store.idle_pass().joined, 0, "the first pass has only seen them");
        let report = store.idle_pass();
        let stats = store.stats();
        let idle = &stats.idle;
        assert_eq!((idle.pages, idle.joined, stats.spaces[0].clustered), {
            let joined = report.joined;
            (joined, joined, joined)
        });
        assert_eq!(idle.pages, 4 * idle.clusters);
        assert_eq!(idle.passes, 2);
        // zbud has room for less than a frame.
        let expected = if allocator == Allocator::zbud() { 0 } else { 900 };
        assert!(report.joined >= expected, "{allocator:?}: {report:?}");
        if expected > 0 {
            assert_eq!(
                before.payload_bytes - stats.payload_bytes,
                report.saved_bytes,
                "{allocator:?}"
            );
            assert!(stats.payload_bytes * 5 < before.payload_bytes * 4, "{allocator:?}: denser");
        }
        assert_eq!(stats.stored, 1000);
        store.validate().expect("valid");
        check(&space, 0..1000);
        let mut read = [0; 4096];
        (0..1000).for_each(|key| {
            space.try_get(key, &mut read).expect("no other thread is here");
            assert!(read == page(key));
        });
        store.validate().expect("valid");
        // Removed one by one, nothing stays.
        (0..1000).for_each(|key| assert_eq!(space.remove(key), Ok(true)));
        let stats = store.stats();
        assert_eq!((stats.idle.clusters, stats.idle.bytes, stats.payload_bytes), (0, 0, 0));
        store.validate().expect("valid");
    }
}

#[test]
fn a_store_at_rest_does_without_what_puts_and_passes_need() {
    let store = quiet().staging(1 << 20).build().expect("room");
    let space = filled(&store, SpaceConfig::persistent(4000), 4000);
    store.flush();
    let busy = store.stats();
    assert!(pass_twice(&store) > 0);
    let rests = store.stats();
    // Two contexts for pages, each with a table of 32 KiB; the dictionary's; the queue of 256 pages.
    let less = 3 * (32 << 10) + 256 * 16;
    let (before, now) = (busy.metadata_bytes, rests.metadata_bytes);
    assert!(rests.reserved_bytes > busy.reserved_bytes + less, "{busy:?}, then {rests:?}");
    assert_eq!(
        store.resident() as u64,
        rests.pool_bytes + rests.idle_bytes + now + rests.reserved_bytes,
        "what is not there stays charged: {before} bytes, then {now}"
    );
    check(&space, 0..4000);
    // It comes back.
    (0..4000).for_each(|key| space.put(key, &page(key + 1)).expect("room"));
    store.flush();
    let again = store.stats();
    assert!(again.reserved_bytes + less < rests.reserved_bytes, "{rests:?}, then {again:?}");
    assert!(pass_twice(&store) > 0);
    assert!((0..4000).all(|key| get(&space, key) == Ok(page(key + 1))));
    store.validate().expect("valid");
}

#[test]
fn what_a_call_used_between_two_passes_stays_single() {
    let store = quiet().build().expect("room");
    let space = filled(&store, SpaceConfig::persistent(64), 64);
    store.idle_pass();
    check(&space, (0..64).step_by(8));
    (4..64).step_by(8).for_each(|key| space.put(key, &page(key)).expect("room"));
    assert_eq!(store.idle_pass().joined, 48);
    let stats = store.stats();
    assert_eq!((stats.spaces[0].clustered, stats.spaces[0].compressed), (48, 16));
    // A generation later they are idle as well.
    assert_eq!(store.idle_pass().joined, 16);
    check(&space, 0..64);
    store.validate().expect("valid");
}

#[test]
fn a_page_that_is_read_twice_leaves_its_cluster() {
    let store = quiet().build().expect("room");
    let space = filled(&store, SpaceConfig::persistent(64), 64);
    assert_eq!(pass_twice(&store), 64);
    check(&space, 5..6);
    store.maintain(usize::MAX);
    assert_eq!(store.stats().idle.returned, 0, "read once");
    store.idle_pass();
    check(&space, 5..6);
    store.maintain(usize::MAX);
    assert_eq!(store.stats().idle.returned, 0, "once in each generation");
    check(&space, 5..6);
    store.maintain(usize::MAX);
    let stats = store.stats();
    assert_eq!((stats.idle.returned, stats.spaces[0].compressed), (1, 1));
    assert_eq!((stats.idle.pages, stats.idle.clusters), (63, 16));
    check(&space, 0..64);
    store.validate().expect("valid");
}

#[test]
fn a_cluster_with_two_pages_left_is_split_or_joins_again() {
    let store = quiet().build().expect("room");
    let space = filled(&store, SpaceConfig::persistent(64), 64);
    assert_eq!(pass_twice(&store), 64);
    // Two of each cluster of the first half; three of one in the second.
    (0..32).filter(|key| key % 4 < 2).for_each(|key| assert_eq!(space.remove(key), Ok(true)));
    assert_eq!(space.remove(32), Ok(true));
    let before = store.stats();
    store.validate().expect("valid");
    // Not read since: they join each other.
    assert_eq!(store.idle_pass(), IdleReport::default());
    let report = store.idle_pass();
    assert_eq!((report.joined, report.split), (16, 0));
    let stats = store.stats();
    assert_eq!(stats.idle.clusters, before.idle.clusters - 4);
    assert_eq!(before.payload_bytes - stats.payload_bytes, report.saved_bytes);
    store.validate().expect("valid");

    // Read, they do not join; with one left they are split.
    (2..32).filter(|key| key % 8 != 7).for_each(|key| _ = space.remove(key));
    (0..64).for_each(|key| _ = get(&space, key));
    let clusters = store.stats().idle.clusters;
    let report = store.idle_pass();
    assert_eq!(report.joined, 0);
    assert!(report.split > 0, "{report:?}");
    assert!(store.stats().idle.clusters < clusters);
    check(&space, (7..32).step_by(8).chain(33..64));
    store.validate().expect("valid");
}

#[test]
fn every_way_out_of_a_cluster_is_one_instant() {
    let store = quiet().build().expect("room");
    let space = filled(&store, SpaceConfig::persistent(100), 64);
    assert_eq!(pass_twice(&store), 64);
    // Overwritten by a page, a value, a same-filled page; removed, taken, updated, by version.
    space.put(0, &page(700)).expect("room");
    space.put_bytes(1, b"value").expect("room");
    space.put(2, &[7; 4096]).expect("room");
    assert_eq!(space.remove(3), Ok(true));
    assert_eq!(store.stats().idle.clusters, 15, "its four pages are gone");
    let mut taken = [0; 4096];
    space.take(4, &mut taken).expect("there");
    assert!(taken == page(4));
    assert_eq!(space.take(4, &mut taken), Err(GetError::Absent));
    assert_eq!(space.take_bytes(5).expect("there"), page(5));
    let changed = space.update(6, |page| page[0] ^= 1).expect("room");
    assert!(changed);
    let mut expected = page(6);
    expected[0] ^= 1;
    assert!(get(&space, 6) == Ok(expected));
    let version = space.get_versioned(8, &mut taken).expect("there");
    assert!(taken == page(8));
    space.put_if(8, &page(800), version).expect("no other put came");
    assert!(space.put_if(8, &page(801), version).is_err());
    assert!(get(&space, 0) == Ok(page(700)) && get(&space, 8) == Ok(page(800)));
    assert_eq!(space.get_bytes(1).expect("there"), b"value");
    assert_eq!(space.remove_range(20..30), Ok(10));
    store.validate().expect("valid");
    check(&space, [7, 9, 10, 11].into_iter().chain(12..20).chain(30..64));
    store.drop_space(&space);
    let stats = store.stats();
    assert_eq!((stats.idle.clusters, stats.payload_bytes), (0, 0));
    store.validate().expect("valid");
}

#[test]
fn an_ephemeral_space_drops_pages_of_clusters() {
    let store = quiet().build().expect("room");
    let space = filled(&store, SpaceConfig::ephemeral(1000), 1000);
    assert!(pass_twice(&store) > 900);
    let mut evicted = 0;
    while evicted == 0 {
        evicted = store.shrink(64 << 10).evicted;
    }
    assert!(evicted < 1000, "{evicted}");
    store.validate().expect("valid");
    let left = (0..1000).filter(|&key| match get(&space, key) {
        Ok(found) => {
            assert!(found == page(key));
            true
        }
        Err(error) => {
            assert_eq!(error, GetError::Absent);
            false
        }
    });
    assert_eq!(left.count() as u64, 1000 - evicted);
    store.shrink(usize::MAX);
    let stats = store.stats();
    assert_eq!((stats.stored, stats.idle.clusters, stats.payload_bytes), (0, 0, 0));
    store.validate().expect("valid");
}

#[test]
fn incompressible_pages_are_tried_once() {
    let store = quiet().build().expect("room");
    let space = store.space(SpaceConfig::persistent(64)).expect("room");
    let mut rng = Seed::for_test(0xc1).rng(0);
    let pages: Vec<Page> = (0..64).map(|_| std::array::from_fn(|_| rng.random())).collect();
    (0..64).for_each(|key: u64| space.put(key, &pages[index(key)]).expect("room"));
    store.idle_pass();
    assert_eq!(store.idle_pass().refused, 64);
    assert_eq!(store.idle_pass().refused, 0, "not again");
    space.put(3, &pages[4]).expect("room");
    store.idle_pass();
    assert_eq!(store.idle_pass().refused, 0, "one page makes no cluster");
    assert_eq!(store.stats().idle.clusters, 0);
    (0..64).filter(|key| *key != 3).for_each(|key: u64| {
        assert!(get(&space, key) == Ok(pages[index(key)]));
    });
    store.validate().expect("valid");
}

#[test]
fn workers_make_idle_pages_dense_and_bring_back_what_is_read() {
    let store = Store::builder()
        .limit(64 << 20)
        .idle_interval(Duration::from_millis(50))
        .idle_share(100)
        .build()
        .expect("room");
    let space = filled(&store, SpaceConfig::persistent(1000), 512);
    let until = |what: &dyn Fn() -> bool| {
        let end = Instant::now() + Duration::from_secs(60);
        while !what() {
            assert!(Instant::now() < end, "{:?}", store.stats().idle);
            thread::sleep(Duration::from_millis(5));
        }
    };
    until(&|| store.stats().idle.pages == 512);
    assert!(store.stats().idle.time_ns > 0);
    until(&|| {
        check(&space, 100..101);
        store.stats().idle.returned > 0
    });
    store.pause_workers();
    check(&space, 0..512);
    store.validate().expect("valid");
}

#[test]
fn off_and_senseless_settings() {
    let off = quiet().idle_share(0).build().expect("room");
    let space = filled(&off, SpaceConfig::persistent(64), 64);
    assert_eq!(pass_twice(&off), 0);
    assert_eq!(off.stats().idle.codec, "");
    check(&space, 0..64);
    // Never, except when a caller asks.
    let rare = quiet().idle_interval(Duration::MAX).build().expect("room");
    let space = filled(&rare, SpaceConfig::persistent(64), 64);
    rare.maintain(usize::MAX);
    assert_eq!(rare.stats().idle.passes, 0);
    assert!(pass_twice(&rare) > 0);
    check(&space, 0..64);
    let wrong = Store::builder().idle_share(101).build();
    assert!(matches!(wrong, Err(StoreBuildError::Share { percent: 101, .. })));
    // Without room for the working memory idle pages stay as they are.
    let small = quiet().limit(1 << 20).build().expect("room");
    let space = filled(&small, SpaceConfig::persistent(64), 64);
    assert_eq!(pass_twice(&small), 0);
    check(&space, 0..64);
    small.validate().expect("valid");
}

/// A codec of clusters that goes wrong.
struct Wrong {
    inner: Box<dyn Codec>,
    how: Arc<AtomicU64>,
}

const FAILS: u64 = 1;
const PANICS: u64 = 2;
const RESTORES_OTHER: u64 = 3;
const SAYS_LONG: u64 = 4;
const START_FAILS: u64 = 5;

impl Codec for Wrong {
    fn name(&self) -> &str {
        "wrong"
    }

    fn compress(&self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        match self.how.load(Ordering::Relaxed) {
            FAILS => None,
            PANICS => panic!("a codec that panics, as the test asks"),
            SAYS_LONG => Some(dst.len() + 1),
            _ => self.inner.compress(src, dst),
        }
    }

    fn decompress(&self, src: &[u8], dst: &mut [u8]) -> Result<usize, CodecError> {
        let len = self.inner.decompress(src, dst)?;
        if self.how.load(Ordering::Relaxed) == RESTORES_OTHER {
            dst[len - 1] ^= 1;
        }
        Ok(len)
    }

    fn decompress_start(
        &self,
        src: &[u8],
        dst: &mut [u8],
        wanted: usize,
    ) -> Result<usize, CodecError> {
        if self.how.load(Ordering::Relaxed) == START_FAILS {
            return Err(CodecError::Invalid { codec: "wrong", capacity: dst.len() });
        }
        self.inner.decompress_start(src, dst, wanted)
    }

    fn metadata_bytes(&self) -> usize {
        self.inner.metadata_bytes()
    }
}

#[test]
fn a_codec_of_clusters_that_goes_wrong_loses_nothing() {
    let how = Arc::new(AtomicU64::new(0));
    let inner = CodecSpec::Lz4.build_for_clusters().expect("in the build");
    let codec = Box::new(Wrong { inner, how: Arc::clone(&how) });
    let store = quiet().idle_codec_with(codec).build().expect("room");
    let space = filled(&store, SpaceConfig::persistent(64), 64);
    for (kind, failures) in [(FAILS, 0), (PANICS, 16), (RESTORES_OTHER, 16), (SAYS_LONG, 0)] {
        how.store(kind, Ordering::Relaxed);
        (0..64).for_each(|key| space.put(key, &page(key)).expect("room"));
        let before = store.stats().idle.failures;
        assert_eq!(pass_twice(&store), 0, "{kind}");
        let idle = store.stats().idle;
        assert_eq!((idle.failures - before, idle.clusters), (failures, 0), "{kind}");
        check(&space, 0..64);
        store.validate().expect("valid");
    }
    how.store(0, Ordering::Relaxed);
    (0..64).for_each(|key| space.put(key, &page(key)).expect("room"));
    assert!(pass_twice(&store) > 0);
    check(&space, 0..64);
    how.store(START_FAILS, Ordering::Relaxed);
    let damaged = (0..64).filter(|&key| get(&space, key) == Err(GetError::Corrupt)).count();
    assert_eq!(damaged as u64, store.stats().spaces[0].clustered, "for these keys and no other");
    how.store(0, Ordering::Relaxed);
    check(&space, 0..64);
}

#[test]
fn two_passes_at_once_and_every_call_beside_them() {
    let store = quiet().limit(32 << 20).build().expect("room");
    let space = store.space(SpaceConfig::persistent(512)).expect("room");
    let stop = AtomicBool::new(false);
    let latest: Vec<AtomicU64> = (0..512).map(|_| AtomicU64::new(0)).collect();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    store.idle_pass();
                    store.maintain(1 << 20);
                }
            });
        }
        let writers: Vec<_> = (0..2_u64)
            .map(|me| {
                let (space, latest) = (&space, &latest);
                scope.spawn(move || {
                    let mut rng = Seed::for_test(0xc2).rng(me);
                    for step in 1..4000_u64 {
                        let key = rng.random_range(0..256) * 2 + me;
                        let number = step * 1000 + key;
                        match rng.random_range(0..10) {
                            0..5 => {
                                space.put(key, &page(number)).expect("room");
                                latest[index(key)].store(number, Ordering::Relaxed);
                            }
                            5 => {
                                _ = space.remove(key);
                                latest[index(key)].store(0, Ordering::Relaxed);
                            }
                            _ => {
                                let expected = match latest[index(key)].load(Ordering::Relaxed) {
                                    0 => Err(GetError::Absent),
                                    number => Ok(page(number)),
                                };
                                assert!(get(space, key) == expected, "{key}");
                            }
                        }
                    }
                })
            })
            .collect();
        let done: Vec<_> = writers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        stop.store(true, Ordering::Relaxed);
        done.into_iter().for_each(|writer| writer.expect("the oracle agrees"));
    });
    for (key, number) in latest.iter().enumerate() {
        let expected = match number.load(Ordering::Relaxed) {
            0 => Err(GetError::Absent),
            number => Ok(page(number)),
        };
        assert!(get(&space, key as u64) == expected, "{key}");
    }
    assert!(store.stats().idle.joined > 0);
    store.validate().expect("valid");
}

#[test]
fn a_get_that_never_waits_finds_pages_of_clusters_or_says_why_not() {
    let store = quiet().build().expect("room");
    let space = filled(&store, SpaceConfig::persistent(64), 64);
    assert_eq!(pass_twice(&store), 64);
    thread::scope(|scope| {
        for reader in 0..4 {
            let space = &space;
            scope.spawn(move || {
                let mut read = [0; 4096];
                for step in 0..2000_u64 {
                    let key = (step * 7 + reader) % 64;
                    match space.try_get(key, &mut read) {
                        Ok(()) => assert!(read == page(key)),
                        Err(error) => assert_eq!(error, TryGetError::WouldBlock),
                    }
                }
            });
        }
    });
}
