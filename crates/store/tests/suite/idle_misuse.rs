//! Clusters and what a caller, a codec or a full store does to them that is not the common case.

use std::{
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use pagefold_codec::{Codec, CodecError, CodecSpec};
use pagefold_store::{
    GetError, KeyError, Page, PreviousValue, PutError, PutIfError, Space, SpaceConfig, Store,
    StoreBuilder,
};
use pagefold_testkit::{corpus::PageKind, seed::Seed};
use rand::RngExt as _;

/// Like its neighbours: three of four bytes are those of the group of eight.
fn page(key: u64, number: u64) -> Page {
    let word = |at: u64| {
        let seed = if at.is_multiple_of(8) { number * 1000 + key } else { key / 8 };
        (seed * 512 + at).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40
    };
    let mut page = [0; 4096];
    for (at, bytes) in (0..).zip(page.chunks_exact_mut(8)) {
        bytes.copy_from_slice(&word(at).to_le_bytes());
    }
    page[..8].copy_from_slice(&number.to_le_bytes());
    page
}

fn number_of(page: &Page) -> u64 {
    u64::from_le_bytes(*page.first_chunk().expect("8 bytes"))
}

/// A store in which only calls make passes.
fn quiet() -> StoreBuilder {
    Store::builder().limit(32 << 20).staging(0).workers(0).shrinker(false).self_training(false)
}

fn clustered(store: &Store, config: SpaceConfig, keys: u64) -> Space {
    let space = store.space(config).expect("room");
    (0..keys).for_each(|key| space.put(key, &page(key, 0)).expect("room"));
    store.idle_pass();
    assert!(store.idle_pass().joined >= keys / 8 * 7);
    space
}

fn get(space: &Space, key: u64) -> Result<Page, GetError> {
    let mut page = [0; 4096];
    space.get(key, &mut page).map(|()| page)
}

fn check(space: &Space, keys: impl Iterator<Item = u64>) {
    keys.for_each(|key| assert!(get(space, key) == Ok(page(key, 0)), "page {key}"));
}

fn until(store: &Store, what: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !what() {
        assert!(Instant::now() < end, "{:?}", store.stats());
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn passes_and_maintenance_of_four_threads_share_the_work() {
    let store = quiet().idle_interval(Duration::ZERO).build().expect("room");
    let space = store.space(SpaceConfig::persistent(2048)).expect("room");
    (0..2048).for_each(|key| space.put(key, &page(key, 0)).expect("room"));
    thread::scope(|scope| {
        for number in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for _ in 0..30 {
                    match number {
                        0 | 1 => _ = store.idle_pass(),
                        _ => _ = store.maintain(1 << 20),
                    }
                }
            });
        }
    });
    store.idle_pass();
    store.idle_pass();
    assert!(store.stats().idle.pages > 1900, "{:?}", store.stats().idle);
    store.validate().expect("valid");
    check(&space, 0..2048);
}

#[test]
fn a_store_dropped_while_a_worker_is_in_a_pass_ends() {
    for wait in 0..20 {
        let builder = Store::builder().limit(32 << 20).idle_share(100).staging(0);
        let store = builder.idle_interval(Duration::from_millis(1)).build().expect("room");
        let space = store.space(SpaceConfig::persistent(1024)).expect("room");
        (0..1024).for_each(|key| space.put(key, &page(key, 0)).expect("room"));
        until(&store, || store.stats().idle.joined + store.stats().idle.refused > 0);
        thread::sleep(Duration::from_micros(200 * wait));
        // The handle of the space is the last one.
        drop(store);
        check(&space, 0..8);
        drop(space);
    }
}

/// Panics where it is told to, without a message.
struct Panics {
    inner: Box<dyn Codec>,
    restoring: Arc<AtomicBool>,
}

impl Codec for Panics {
    fn name(&self) -> &str {
        "panics"
    }

    fn compress(&self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        self.inner.compress(src, dst)
    }

    fn decompress(&self, src: &[u8], dst: &mut [u8]) -> Result<usize, CodecError> {
        if self.restoring.load(Ordering::Relaxed) {
            resume_unwind(Box::new("asked for"));
        }
        self.inner.decompress(src, dst)
    }

    fn metadata_bytes(&self) -> usize {
        self.inner.metadata_bytes()
    }
}

fn panics(inner: Box<dyn Codec>) -> (Box<dyn Codec>, Arc<AtomicBool>) {
    let restoring = Arc::new(AtomicBool::new(false));
    (Box::new(Panics { inner, restoring: Arc::clone(&restoring) }), restoring)
}

fn worker_store(pages: Option<Box<dyn Codec>>, clusters: Option<Box<dyn Codec>>) -> Store {
    let builder = Store::builder().limit(32 << 20).idle_share(100).staging(0).self_training(false);
    let builder = builder.idle_interval(Duration::from_millis(5));
    let builder = match pages {
        Some(codec) => builder.codec_with(codec),
        None => builder,
    };
    match clusters {
        Some(codec) => builder.idle_codec_with(codec).build().expect("room"),
        None => builder.build().expect("room"),
    }
}

#[test]
fn a_worker_whose_codec_of_pages_panics_goes_on_and_says_so() {
    let (codec, restoring) = panics(CodecSpec::Lz4.build().expect("in the build"));
    let store = worker_store(Some(codec), None);
    let space = store.space(SpaceConfig::persistent(256)).expect("room");
    restoring.store(true, Ordering::Relaxed);
    (0..256).for_each(|key| space.put(key, &page(key, 0)).expect("room"));
    until(&store, || store.stats().idle.failures > 2);
    // A pass of a caller is not ended by it either.
    (0..2).for_each(|_| _ = store.idle_pass());
    let stats = store.stats();
    assert_eq!((stats.idle.clusters, stats.staging.workers), (0, 1), "it lives");
    assert_eq!(stats.staging.worker_panics, 0, "caught where it ran");
    restoring.store(false, Ordering::Relaxed);
    (0..256).for_each(|key| space.put(key, &page(key, 0)).expect("room"));
    until(&store, || store.stats().idle.pages > 200);
    store.pause_workers();
    check(&space, 0..256);
    store.validate().expect("valid");
}

#[test]
fn a_worker_whose_codec_of_clusters_panics_goes_on_and_says_so() {
    let inner = CodecSpec::for_idle_pages().build_for_clusters().expect("in the build");
    let (codec, restoring) = panics(inner);
    let store = worker_store(None, Some(codec));
    let space = store.space(SpaceConfig::persistent(256)).expect("room");
    restoring.store(true, Ordering::Relaxed);
    (0..256).for_each(|key| space.put(key, &page(key, 0)).expect("room"));
    until(&store, || store.stats().idle.failures > 8);
    let stats = store.stats();
    assert_eq!((stats.idle.clusters, stats.staging.worker_panics), (0, 0), "caught where it ran");
    restoring.store(false, Ordering::Relaxed);
    (0..256).for_each(|key| space.put(key, &page(key, 0)).expect("room"));
    until(&store, || store.stats().idle.pages > 200);

    // And when it panics while a sparse cluster is read, to be split.
    restoring.store(true, Ordering::Relaxed);
    let before = store.stats().idle.failures;
    (0..256).filter(|key| key % 4 != 0).for_each(|key| assert_eq!(space.remove(key), Ok(true)));
    until(&store, || store.stats().idle.failures > before);
    restoring.store(false, Ordering::Relaxed);
    store.pause_workers();
    let staging = store.stats().staging;
    assert_eq!((staging.workers, staging.worker_panics), (1, 0));
    check(&space, (0..256).step_by(4));
    store.validate().expect("valid");
}

#[test]
fn pages_that_have_a_leaf_each_stay_single() {
    let store = quiet().build().expect("room");
    let space = store.space(SpaceConfig::persistent(u64::MAX)).expect("room");
    let keys: Vec<u64> =
        (0..100).map(|at| u64::MAX - 2 - at * 64).chain((1..50).map(|at| at << 40)).collect();
    keys.iter().for_each(|&key| space.put(key, &page(key % 1000, 0)).expect("room"));
    for _ in 0..3 {
        let report = store.idle_pass();
        assert_eq!((report.joined, report.split, report.refused), (0, 0, 0));
    }
    keys.iter().for_each(|&key| assert!(get(&space, key) == Ok(page(key % 1000, 0))));
    // The last leaf, whose first key plus 64 is beyond u64, has a cluster.
    (0..4).for_each(|at| space.put(u64::MAX - 2 - at, &page(at, 0)).expect("room"));
    store.idle_pass();
    assert_eq!(store.idle_pass().joined, 4);
    (0..4).for_each(|at| assert!(get(&space, u64::MAX - 2 - at) == Ok(page(at, 0))));
    store.validate().expect("valid");
    assert_eq!(store.stats().idle.passes, 5);
}

#[test]
fn fewer_keys_cut_a_cluster_and_the_end_of_a_space_frees_all() {
    let store = quiet().build().expect("room");
    let (space, other) = (
        clustered(&store, SpaceConfig::persistent(256), 256),
        clustered(&store, SpaceConfig::ephemeral(64), 64),
    );
    // In the middle of a cluster.
    assert_eq!(space.resize(130), Ok(126));
    store.validate().expect("valid");
    check(&space, 0..130);
    assert_eq!(get(&space, 130), Err(KeyError::Beyond { key: 130, pages: 130 }.into()));
    store.idle_pass();
    store.idle_pass();
    store.idle_pass();
    check(&space, 0..130);
    assert_eq!(space.resize(256), Ok(0));
    assert_eq!(get(&space, 131), Err(GetError::Absent));
    store.validate().expect("valid");
    store.drop_space(&other);
    store.drop_space(&space);
    let stats = store.stats();
    assert_eq!((stats.idle.clusters, stats.idle.bytes, stats.payload_bytes), (0, 0, 0));
    store.validate().expect("valid");
}

#[test]
fn spaces_dropped_and_resized_beside_passes_leave_nothing() {
    let store = quiet().build().expect("room");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    store.idle_pass();
                }
            });
        }
        for round in 0..60 {
            let space = store.space(SpaceConfig::persistent(256)).expect("room");
            (0..256).for_each(|key| space.put(key, &page(key, 0)).expect("room"));
            let before = store.stats().idle.passes;
            until(&store, || store.stats().idle.passes > before + round % 4);
            if round % 2 == 0 {
                let removed = space.resize(130 + round).expect("alive");
                assert_eq!(removed, 256 - (130 + round));
                check(&space, 0..130);
            }
            store.drop_space(&space);
            assert_eq!(get(&space, 1), Err(KeyError::Dropped.into()));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let stats = store.stats();
    assert!(stats.idle.joined > 0, "{:?}", stats.idle);
    assert_eq!((stats.idle.clusters, stats.idle.bytes, stats.payload_bytes), (0, 0, 0));
    store.validate().expect("valid");
}

#[test]
fn of_several_puts_by_one_version_at_most_one_is_accepted_while_passes_run() {
    const KEYS: u64 = 64;
    let store = quiet().build().expect("room");
    let space = clustered(&store, SpaceConfig::persistent(KEYS), KEYS);
    let stop = AtomicBool::new(false);
    // Each accepted put or update adds one to the page's number, and to this.
    let accepted: Vec<AtomicU64> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                store.idle_pass();
                store.maintain(1 << 20);
            }
        });
        let writers: Vec<_> = (0..3_u64)
            .map(|writer| {
                let (space, accepted) = (&space, &accepted);
                scope.spawn(move || {
                    let mut rng = Seed::for_test(0xcc).rng(writer);
                    let mut read = [0; 4096];
                    for _ in 0..2000 {
                        let key = rng.random_range(0..KEYS);
                        let count = &accepted[usize::try_from(key).expect("small")];
                        if rng.random_ratio(1, 4) {
                            let next = |read: &mut Page| *read = page(key, number_of(read) + 1);
                            assert_eq!(space.update(key, next), Ok(true));
                            count.fetch_add(1, Ordering::Relaxed);
                            continue;
                        }
                        let version = space.get_versioned(key, &mut read).expect("there");
                        let next = page(key, number_of(&read) + 1);
                        // The second one has an old version, whatever became of the first one.
                        for outcome in [0, 1].map(|_| space.put_if(key, &next, version)) {
                            match outcome {
                                Ok(_) => _ = count.fetch_add(1, Ordering::Relaxed),
                                Err(error) => assert_eq!(error, PutIfError::Conflict),
                            }
                        }
                        if rng.random_ratio(1, 50) {
                            thread::sleep(Duration::from_millis(2));
                        }
                    }
                })
            })
            .collect();
        let ended: Vec<_> = writers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        stop.store(true, Ordering::Relaxed);
        ended.into_iter().for_each(|end| end.expect("as expected"));
    });
    for (key, count) in (0..).zip(&accepted) {
        let number = count.load(Ordering::Relaxed);
        assert!(get(&space, key) == Ok(page(key, number)), "key {key}: {number} were accepted");
    }
    assert!(store.stats().idle.joined > KEYS, "{:?}", store.stats().idle);
    store.validate().expect("valid");
}

#[test]
fn a_lower_limit_and_a_full_ephemeral_space_drop_pages_of_clusters() {
    let store = quiet().limit(40 << 20).shrinker(true).build().expect("room");
    let space = clustered(&store, SpaceConfig::ephemeral(1 << 20), 4096);
    let kept = clustered(&store, SpaceConfig::persistent(256), 256);
    while store.stats().spaces[0].evicted == 0 {
        assert_eq!(store.set_limit(store.resident() - (256 << 10)), Ok(()));
        assert!(store.resident() <= store.limit());
    }
    store.validate().expect("valid");
    let right = |keys: u64| {
        let found = (0..keys).filter(|&key| match get(&space, key) {
            Ok(found) => {
                assert!(found == page(key, 0), "page {key}");
                true
            }
            Err(error) => {
                assert_eq!(error, GetError::Absent);
                false
            }
        });
        found.count() as u64
    };
    let left = right(4096);
    assert!(left > 0 && left < 4096, "{left}");
    let stats = store.stats();
    // The limit is below that of stores with clusters: these stay, and are counted.
    assert_eq!(stats.idle.pages, stats.spaces.iter().map(|space| space.clustered).sum::<u64>());
    assert!(stats.idle.pages > 0 && stats.idle.codec.is_empty(), "{:?}", stats.idle);
    assert_eq!(store.set_limit(24 << 20), Ok(()));
    // Ten times more than fits, with passes in between.
    for key in 0..60_000 {
        match space.put(key, &page(key, 0)) {
            Ok(()) | Err(PutError::Full { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        if key % 10_000 == 0 {
            store.idle_pass();
        }
        assert!(store.resident() <= store.limit());
    }
    assert!(right(60_000) > 0);
    check(&kept, 0..256);
    // Where no cluster may be made any more, those that are there are read, and go.
    assert_eq!(store.set_limit(store.limit() / 4 * 3), Ok(()));
    store.idle_pass();
    check(&kept, 0..256);
    store.drop_space(&space);
    (0..256).for_each(|key| assert_eq!(kept.remove(key), Ok(true)));
    assert_eq!((store.stats().idle.clusters, store.stats().payload_bytes), (0, 0));
    store.validate().expect("valid");
}

/// A persistent store that is full to the last frame, with a space of clusters.
fn full_store() -> (Store, Space, Space) {
    let store = quiet().limit(20 << 20).accept_threshold(100).build().expect("room");
    let space = clustered(&store, SpaceConfig::persistent(512), 512);
    let filler = store.space(SpaceConfig::persistent(10_000)).expect("room");
    let mut rng = Seed::for_test(0xba).rng(0);
    let full =
        (0..10_000).find(|&key| filler.put_from(key, &PageKind::Random.page(&mut rng)).is_err());
    assert!(full.is_some(), "it is full");
    (store, space, filler)
}

#[test]
fn overwrites_of_clusters_in_a_full_store_are_accepted_or_leave_the_old_page() {
    let (store, space, filler) = full_store();
    let mut rng = Seed::for_test(0xbb).rng(0);
    let mut expected: Vec<Page> = (0..512).map(|key| page(key, 0)).collect();
    let (mut accepted, mut refused) = (0, 0);
    for round in 1..4 {
        for key in 0..512 {
            // Raw, and so longer than what it replaces; or of the same length.
            let new = match (key + round) % 2 {
                0 => PageKind::Random.page(&mut rng)[..].try_into().expect("a page"),
                _ => page(key, round),
            };
            match space.put(key, &new) {
                Ok(()) => {
                    accepted += 1;
                    expected[usize::try_from(key).expect("small")] = new;
                }
                Err(PutError::Full { previous, .. }) => {
                    assert_eq!(previous, PreviousValue::Kept);
                    refused += 1;
                }
                Err(error) => panic!("{error}"),
            }
            assert!(store.resident() <= store.limit());
        }
        store.idle_pass();
        store.validate().expect("valid");
    }
    eprintln!("{accepted} overwrites accepted, {refused} refused; {:?}", store.stats().idle);
    assert!(refused > 0, "the store is full");
    for (key, expected) in (0..).zip(&expected) {
        assert!(get(&space, key) == Ok(*expected), "page {key}");
    }
    // With room again, each is accepted.
    store.drop_space(&filler);
    (0..512).for_each(|key| space.put(key, &page(key, 9)).expect("room"));
    store.validate().expect("valid");
}

#[test]
fn a_put_that_removes_leaves_no_stale_page_of_a_cluster() {
    let (store, space, _filler) = full_store();
    let mut rng = Seed::for_test(0xbc).rng(0);
    let mut removed = 0;
    for key in 0..512 {
        let new: Page = PageKind::Random.page(&mut rng)[..].try_into().expect("a page");
        match space.put_or_remove(key, &new) {
            Ok(()) => assert!(get(&space, key) == Ok(new)),
            Err(PutError::Full { previous, .. }) => {
                assert_eq!(previous, PreviousValue::Dropped);
                assert_eq!(get(&space, key), Err(GetError::Absent));
                removed += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(removed > 0, "the store is full");
    store.validate().expect("valid");
}
