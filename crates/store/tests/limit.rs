//! The limit, sampled while two threads put ten times more than fits: persistent, ephemeral, overwriting and compacting
//! when full, and after it was lowered to a quarter.
#![cfg(not(loom))]

use std::{
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use pagefold_pool::{Allocator, LimitError};
use pagefold_store::{Page, PutError, Space, SpaceConfig, Store, StoreBuildError};
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
fn a_limit_of_zero_is_too_small() {
    let error = Store::builder().limit(0).build().expect_err("nothing fits");
    assert!(matches!(error, StoreBuildError::Pool(_)), "{error}");
    // The least limit that an error names is one that works, or names one that does.
    let mut limit = 1 << 20;
    for _ in 0..20 {
        match Store::builder().limit(limit).build() {
            Ok(store) => {
                let space = store.space(SpaceConfig::persistent(10)).expect("room");
                space.put(0, &std::array::from_fn(|at| (at / 7).to_le_bytes()[0])).expect("room");
                return;
            }
            Err(StoreBuildError::LimitTooSmall { min, .. }) => {
                assert!(min > limit);
                limit = min;
            }
            Err(StoreBuildError::Pool(pagefold_pool::BuildError::LimitTooSmall {
                min, ..
            })) => {
                assert!(min > limit);
                limit = min;
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("no limit was large enough");
}
