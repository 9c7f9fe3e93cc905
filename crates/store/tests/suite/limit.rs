//! The limit, sampled while two threads put ten times more than fits: persistent, ephemeral, overwriting and compacting
//! when full, and after it was lowered to a quarter.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use pagefold_codec::{Codec, CodecError};
use pagefold_pool::{Allocator, LimitError};
use pagefold_store::{LimitFn, Page, PutError, Space, SpaceConfig, Store, StoreBuildError};
use pagefold_testkit::{corpus::Mix, seed::Seed};

const LIMIT: usize = 4 << 20;

/// Looks at the store all the time while `f` runs, and returns how often, and the most it saw of the limit in percent.
fn sampled<R: Send>(store: &Store, limit: usize, f: impl FnOnce() -> R + Send) -> (R, u64, usize) {
    let (done, samples, most) = (AtomicBool::new(false), AtomicU64::new(0), AtomicUsize::new(0));
    let result = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let resident = store.resident();
                assert!(resident <= limit, "{resident} bytes of {limit}");
                most.fetch_max(resident, Ordering::Relaxed);
                samples.fetch_add(1, Ordering::Relaxed);
                // Every sample counts, but the threads on two processors have work to do.
                for _ in 0..200 {
                    std::hint::spin_loop();
                }
            }
        });
        let result = f();
        done.store(true, Ordering::Relaxed);
        result
    });
    (result, samples.into_inner(), most.into_inner() * 100 / limit)
}

fn page_of(bytes: &[u8]) -> Page {
    bytes.try_into().expect("a page")
}

/// Two threads put `count` pages each, over the keys from `first` on; how many were accepted.
fn put_from_two_threads(space: &Space, first: u64, count: u64, seed: Seed) -> u64 {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..2)
            .map(|number| {
                scope.spawn(move || {
                    let mut rng = seed.rng(number);
                    let pages = Mix::PROCESS.pages(&mut rng, 512);
                    let mut accepted = 0;
                    for (step, bytes) in (0..count).zip(pages.iter().cycle()) {
                        // A counter in each page, so that no two are the same.
                        let mut page = page_of(bytes);
                        page[..8].copy_from_slice(&step.to_ne_bytes());
                        let key = first + step * 2 + number;
                        match space.put(key % space.capacity(), &page) {
                            Ok(()) => accepted += 1,
                            Err(PutError::Full { .. }) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                    accepted
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    })
}

fn report(allocator: Allocator, what: &str, accepted: u64, samples: u64, most: usize) {
    eprintln!(
        "{allocator}, {what}: {accepted} accepted, {samples} samples, at most {most} % of the limit"
    );
    assert!(samples > 20, "{what}: too few samples");
}

/// Pages that are ten times the limit even compressed to a third.
const COUNT: u64 = (10 * 3 * LIMIT / 4096 / 2) as u64;

fn phases(allocator: Allocator) {
    let seed = *Seed::for_test(0x11a1);
    let store = Store::builder().allocator(allocator).limit(LIMIT).build().expect("room");
    let persistent = store.space(SpaceConfig::persistent(4 * COUNT)).expect("room");
    let put = |space: &Space, first| put_from_two_threads(space, first, COUNT, seed);

    let (accepted, samples, most) = sampled(&store, LIMIT, || put(&persistent, 0));
    report(allocator, "persistent", accepted, samples, most);
    assert!(accepted > 500 && accepted < COUNT, "{accepted}");
    assert_eq!(persistent.len(), accepted);
    assert!(persistent.stats().rejected.store_full > 0);

    // Over the same keys: those that are there are overwritten or stay.
    let (accepted, samples, most) = sampled(&store, LIMIT, || put(&persistent, 0));
    report(allocator, "overwriting when full", accepted, samples, most);
    assert!(accepted > 100, "{allocator}: pages are overwritten when everything is full");
    store.validate().expect("valid");

    let ((), samples, most) = sampled(&store, LIMIT, || {
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(300) {
            store.compact(1 << 20);
        }
    });
    report(allocator, "compaction when full", 0, samples, most);

    let refused = store.set_limit(LIMIT / 4);
    assert!(matches!(refused, Err(LimitError::InUse { .. })), "{refused:?}");
    assert_eq!(store.limit(), LIMIT);
    store.drop_space(&persistent);

    let ephemeral = store.space(SpaceConfig::ephemeral(4 * COUNT)).expect("room");
    let (accepted, samples, most) = sampled(&store, LIMIT, || put(&ephemeral, 0));
    report(allocator, "ephemeral", accepted, samples, most);
    let stats = ephemeral.stats();
    assert!(stats.evicted > 1000 && accepted == 2 * COUNT, "{accepted} {stats:?}");

    // Lowered beside traffic, and then the lower one holds.
    thread::scope(|scope| {
        let traffic = scope.spawn(|| put_from_two_threads(&ephemeral, 7, COUNT / 4, seed));
        store.set_limit(LIMIT / 4).expect("everything may be dropped");
        assert!(store.resident() <= LIMIT / 4);
        let ((), samples, most) =
            sampled(&store, LIMIT / 4, || _ = traffic.join().expect("no panic"));
        report(allocator, "a quarter", 0, samples, most);
    });
    store.validate().expect("valid");
}

#[test]
fn what_may_be_resident_never_exceeds_the_limit() {
    Allocator::ALL.iter().for_each(|&allocator| phases(allocator));
}

#[test]
fn the_least_limit_that_an_error_names_is_enough_and_least() {
    for &allocator in Allocator::ALL {
        for codec in ["raw", "lz4", "zstd:-1", "zstd:3", "balanced"] {
            let build = |limit| {
                let codec = codec.parse().expect("a codec");
                Store::builder().allocator(allocator).codec(codec).limit(limit).build()
            };
            for limit in [0, 4096, 200_000] {
                let error = build(limit).expect_err("nothing fits");
                let StoreBuildError::LimitTooSmall { min, .. } = error else { panic!("{error}") };
                assert!(min > limit, "{allocator}, {codec}: {min}");
                let store = build(min).expect("enough");
                let space = store.space(SpaceConfig::persistent(10)).expect("room");
                space.put(0, &std::array::from_fn(|at| (at / 7).to_le_bytes()[0])).expect("room");
                store.validate().expect("valid");
                build(min - 4096).expect_err("the least");
            }
        }
    }
}

#[test]
fn a_store_takes_address_space_by_its_limit() {
    let reserved = |limit| {
        let before = mapped_bytes();
        let _store = Store::builder().limit(limit).shrinker(false).build().expect("room");
        mapped_bytes().saturating_sub(before)
    };
    let (small, large) = (reserved(4 << 20), reserved(256 << 20));
    // Stacks of other tests' threads may come in between.
    assert!(small < 128 << 20, "{small} bytes for 4 MiB");
    assert!(large > 1 << 30, "{large} bytes, with room to raise 256 MiB");
}

/// The mappings of this process, in bytes.
fn mapped_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize =
        status.split(' ').next().and_then(|pages| pages.parse().ok()).expect("pages");
    pages * 4096
}

#[test]
fn a_limit_is_raised_as_far_as_the_builder_says() {
    let store = Store::builder().limit(8 << 20).max_limit(100 << 20).build().expect("room");
    assert_eq!(store.max_limit(), 100 << 20);
    assert_eq!(store.set_limit(100 << 20), Ok(()));
    let beyond = LimitError::TooLarge { limit: (100 << 20) + 1, max: 100 << 20 };
    assert_eq!(store.set_limit((100 << 20) + 1), Err(beyond));
    // And what it is raised to can be used.
    let space = store.space(SpaceConfig::persistent(100_000)).expect("room");
    let mut rng = Seed::for_test(0x11a2).rng(0);
    let mut page = [0; 4096];
    let accepted = (0..30_000)
        .filter(|&key| {
            rand::Rng::fill_bytes(&mut rng, &mut page);
            space.put(key, &page).is_ok()
        })
        .count();
    assert!(accepted > 23_000, "{accepted} raw pages in 100 MiB");
}

#[test]
fn what_a_limit_source_asks_for_beyond_the_maximum_is_clamped_and_counted() {
    let source = Box::new(LimitFn::new(|_| Some(usize::MAX)));
    let builder = Store::builder().limit(8 << 20).max_limit(20 << 20).limit_source(source);
    let store = builder.build().expect("room");
    wait_until(|| store.limit() == 20 << 20);
    assert!(store.stats().work.clamped_limits > 0);
}

#[test]
fn a_limit_source_that_panics_is_counted_and_asked_again() {
    let mut asked = 0;
    let source = LimitFn::new(move |_| {
        asked += 1;
        assert!(asked > 1, "the first time it panics");
        Some(6 << 20)
    });
    let builder = Store::builder().limit(8 << 20).limit_source(Box::new(source));
    let store = builder.build().expect("room");
    wait_until(|| store.limit() == 6 << 20);
    let work = store.stats().work;
    assert_eq!(work.limit_source_failures, 1);
    assert!(work.shrinker_runs);
}

/// Waits for another thread; a test that waits for ever is one that failed.
fn wait_until(done: impl Fn() -> bool) {
    while !done() {
        thread::yield_now();
    }
}

#[test]
fn an_empty_store_takes_little_whatever_the_processors() {
    for (codec, most) in
        [("raw", 124 << 10), ("lz4", 220 << 10), ("zstd:-1", 360 << 10), ("balanced", 500 << 10)]
    {
        let builder = Store::builder().codec(codec.parse().expect("a codec"));
        let store = builder.limit(64 << 20).shrinker(false).build().expect("room");
        let space = store.space(SpaceConfig::persistent(u64::MAX)).expect("room");
        let resident = store.resident();
        assert!(resident <= most, "{codec}: {resident} bytes are charged for an empty store");
        drop(space);
    }
}

/// A codec of one context, that wants more.
#[derive(Debug)]
struct Wants(AtomicUsize);

const CONTEXT_BYTES: usize = 1 << 20;

impl Codec for Wants {
    fn name(&self) -> &str {
        "wants"
    }

    fn compress(&self, _src: &[u8], _dst: &mut [u8]) -> Option<usize> {
        None
    }

    fn decompress(&self, _src: &[u8], dst: &mut [u8]) -> Result<usize, CodecError> {
        Err(CodecError::Invalid { codec: "wants", capacity: dst.len() })
    }

    fn metadata_bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed) * CONTEXT_BYTES
    }

    fn wants_context(&self) -> bool {
        self.0.load(Ordering::Relaxed) < 100
    }

    fn context_bytes_max(&self, _len: usize) -> usize {
        CONTEXT_BYTES
    }

    fn add_context(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed);
        true
    }
}

#[test]
fn contexts_are_added_as_calls_wait_for_them_and_within_the_limit() {
    let codec = Box::new(Wants(AtomicUsize::new(1)));
    let builder = Store::builder().codec_with(codec).limit(LIMIT).shrinker(false);
    let store = builder.build().expect("room");
    let space = store.space(SpaceConfig::persistent(1000)).expect("room");
    let before = store.resident();
    let mut rng = Seed::for_test(0x11a3).rng(0);
    let mut page = [0; 4096];
    for key in 0..20 {
        rand::Rng::fill_bytes(&mut rng, &mut page);
        space.put(key, &page).expect("room");
    }
    let more = store.resident() - before;
    assert!((2 * CONTEXT_BYTES..LIMIT).contains(&more), "{more} bytes, for as many as fit");
    store.validate().expect("valid");
}

#[test]
fn gets_of_pages_and_of_values_add_contexts_as_puts_do() {
    for by_value in [false, true] {
        let codec = Box::new(Wants(AtomicUsize::new(1)));
        let builder = Store::builder().codec_with(codec).limit(64 << 20).shrinker(false);
        let store = builder.build().expect("room");
        let space = store.space(SpaceConfig::persistent(10)).expect("room");
        let mut page = std::array::from_fn(|at| (at % 251).to_le_bytes()[0]);
        space.put(0, &page).expect("room");
        let before = store.resident();
        for _ in 0..5 {
            match by_value {
                true => assert_eq!(space.get_bytes(0).expect("there").len(), 4096),
                false => space.get(0, &mut page).expect("there"),
            }
        }
        assert_eq!(store.resident() - before, 5 * CONTEXT_BYTES, "by value: {by_value}");
    }
}
