//! Faults of the spill that random tests found, each by itself.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use pagefold_store::{
    Page, Space, SpaceConfig, Store,
    spill::{Backing, EXTENT_BYTES_MIN, HeapBacking, Spill},
};
use pagefold_testkit::{backing::FaultyBacking, seed::Seed};
use rand::Rng as _;

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

/// The cleaner moved the sparsest extent alone, to another extent as sparse; and at the limit of the backing it had no slot.
#[test]
fn dead_space_in_a_full_backing_is_used_again() {
    let backing = Arc::new(FaultyBacking::new(true));
    let limit = 64 * EXTENT_BYTES_MIN as u64;
    let spill = Spill::builder(backing).extent_bytes(EXTENT_BYTES_MIN).limit(limit).build();
    let store = Store::builder().limit(6 << 20).spill(spill.expect("sensible"));
    let store = store.idle_share(0).self_training(false).build().expect("room");
    let mut bytes = vec![0; 1 << 20];
    Seed::new(0x7c).rng(0).fill_bytes(&mut bytes);
    // Incompressible: 15 of them in an extent.
    let page = |key: u64| -> Page {
        let at = usize::try_from(key * 7919).expect("small") % (bytes.len() - 4096);
        let mut page: Page = bytes[at..][..4096].try_into().expect("a page");
        page[..8].copy_from_slice(&key.to_le_bytes());
        page
    };
    let space = store.space(SpaceConfig::persistent(10_000)).expect("room");
    let full = (0..10_000).find(|&key| space.put(key, &page(key)).is_err()).expect("a limit");
    // A third of the backing is free then, and memory is full.
    let count = full - 64 * 15 / 3;
    space.remove_range(count..full).expect("alive");
    for round in 0..6 {
        // So that each extent has a dead object soon, and none has only dead ones.
        for key in (0..count).map(|at| at * 601 % count) {
            // Until the spiller has tried again, puts are refused at once.
            let began = Instant::now();
            while space.put(key, &page(key + round)).is_err() {
                let waits = began.elapsed() < Duration::from_secs(60);
                assert!(waits, "page {key} in round {round}: {:?}", store.stats().spill);
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
    let backing = store.stats().spill.expect("a backing").backing;
    assert!(backing.writes > 2 * backing.extents_max, "slots were used again: {backing:?}");
    for key in 0..count {
        let mut back = [0; 4096];
        space.get(key, &mut back).expect("there");
        assert!(back == page(key + 5), "page {key}");
    }
    store.validate().expect("valid");
}

/// Objects were live for a while in which no operation was under way and no word named them.
#[test]
fn a_validation_beside_the_spiller_finds_nothing_wrong() {
    let backing = Arc::new(FaultyBacking::new(true));
    let spill = Spill::builder(backing).extent_bytes(EXTENT_BYTES_MIN).build().expect("sensible");
    let builder = Store::builder().limit(6 << 20).spill(spill).idle_share(0).staging(0);
    let store = builder.self_training(false).build().expect("room");
    let space = store.space(SpaceConfig::persistent(20_000)).expect("room");
    let mut random = vec![0; 1 << 20];
    Seed::new(0x7d).rng(0).fill_bytes(&mut random);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for key in 0..5000_u64 {
                let at = usize::try_from(key * 7919).expect("small") % (random.len() - 4096);
                space.put_from(key, &random[at..][..4096]).expect("room in the backing");
            }
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) {
            store.validate().expect("valid");
            // Puts wait meanwhile.
            thread::sleep(Duration::from_millis(5));
        }
    });
    assert!(space.stats().spilled > 3000);
}

/// A backing whose first write ends when the test says so.
#[derive(Debug, Default)]
struct Stalls {
    may_write: AtomicBool,
    kept: HeapBacking,
}

impl Backing for Stalls {
    fn write(&self, slot: u32, bytes: &[u8]) -> io::Result<()> {
        while !self.may_write.load(Ordering::Acquire) {
            thread::sleep(Duration::from_millis(1));
        }
        self.kept.write(slot, bytes)
    }

    fn read(&self, slot: u32, offset: u32, into: &mut [u8]) -> io::Result<()> {
        self.kept.read(slot, offset, into)
    }

    fn discard(&self, slot: u32) -> io::Result<()> {
        self.kept.discard(slot)
    }
}

/// Lets the writes go, also after a panic: the store waits for its spiller.
struct Release<'a>(&'a Stalls);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        self.0.may_write.store(true, Ordering::Release);
    }
}

/// Each try beside the spiller was counted.
#[test]
fn a_put_that_is_refused_after_it_waited_is_one_refusal() {
    let backing = Arc::new(Stalls::default());
    let spill = Spill::builder(Arc::clone(&backing)).extent_bytes(EXTENT_BYTES_MIN).build();
    let builder = Store::builder().limit(4 << 20).spill(spill.expect("sensible"));
    let store = builder.idle_share(0).self_training(false).accept_threshold(100);
    let store = store.build().expect("room");
    let space = store.space(SpaceConfig::persistent(1 << 20)).expect("room");
    let release = Release(&backing);
    let refused = |space: &Space| {
        let rejected = space.stats().rejected;
        rejected.store_full + rejected.threshold + rejected.space_full
    };
    let first = (0..1 << 20).find(|&key| space.put(key, &page(key)).is_err()).expect("a limit");
    assert_eq!(refused(&space), 1);
    assert!(space.put(first, &page(first)).is_err());
    assert_eq!(refused(&space), 2);
    drop(release);
    let until = Instant::now() + Duration::from_secs(60);
    while space.put(first, &page(first)).is_err() {
        assert!(Instant::now() < until, "the spiller goes on");
    }
    let mut back = [0; 4096];
    for key in 0..=first {
        space.get(key, &mut back).expect("accepted");
        assert_eq!(back, page(key), "{key}");
    }
}
