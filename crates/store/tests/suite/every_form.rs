//! The oracle of `model` over a store with every form of a page at once: staged, compressed by the base codec and by
//! trained ones, raw, same-filled, in clusters. Memory is refused, and both codecs go wrong, at each call in turn.

use std::{
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use pagefold_codec::{Codec, CodecError, CodecSpec};
use pagefold_frame::HeapSource;
use pagefold_pool::Allocator;
use pagefold_store::{GetError, Page, PutError, SpaceConfig, SpaceKind, Store, StoreBuilder};
use pagefold_testkit::{
    corpus::PageKind,
    faulty::{FaultPlan, FaultySource},
    seed::Seed,
};
use rand::RngExt;

use super::model::{Calls, KINDS, Oracle, config, stride};

/// Stores with less make no clusters.
const LIMIT: usize = 32 << 20;

/// What a call does that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Fails,
    Panics,
    /// Restores another page.
    Lies,
    SaysLong,
}

impl Fault {
    const ALL: [Self; 4] = [Self::Fails, Self::Panics, Self::Lies, Self::SaysLong];
}

#[derive(Default)]
struct Plan {
    compress: Calls,
    decompress: Calls,
    /// Reads of clusters only fail: nothing restores and compares what they give.
    start: Calls,
    fault: AtomicU8,
}

impl Plan {
    fn fail(&self, fault: Fault, k: u64, count: u64) {
        self.fault.store(fault as u8, Ordering::Relaxed);
        self.calls().for_each(|calls| calls.fail(k, count));
    }

    fn heal(&self) {
        self.calls().for_each(Calls::heal);
    }

    fn calls(&self) -> impl Iterator<Item = &Calls> {
        [&self.compress, &self.decompress, &self.start].into_iter()
    }

    fn fault(&self) -> Fault {
        Fault::ALL[usize::from(self.fault.load(Ordering::Relaxed))]
    }
}

/// Goes wrong by its plan, and so do the codecs that it trains.
struct Wrong {
    inner: Box<dyn Codec>,
    plan: Arc<Plan>,
}

impl Codec for Wrong {
    fn name(&self) -> &str {
        "wrong"
    }

    fn compress(&self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        if !self.plan.compress.fails() {
            return self.inner.compress(src, dst);
        }
        match self.plan.fault() {
            Fault::Fails => None,
            // As a panic, without its message.
            Fault::Panics => resume_unwind(Box::new("asked for")),
            Fault::Lies => {
                let len = self.inner.compress(src, dst)?;
                dst[len / 2] ^= 1;
                Some(len)
            }
            Fault::SaysLong => Some(dst.len() + 1),
        }
    }

    fn decompress(&self, src: &[u8], dst: &mut [u8]) -> Result<usize, CodecError> {
        if !self.plan.decompress.fails() {
            return self.inner.decompress(src, dst);
        }
        match self.plan.fault() {
            Fault::Fails => Err(CodecError::Invalid { codec: "wrong", capacity: dst.len() }),
            Fault::Panics => resume_unwind(Box::new("asked for")),
            Fault::Lies => {
                let len = self.inner.decompress(src, dst)?;
                dst[len / 2] ^= 1;
                Ok(len)
            }
            Fault::SaysLong => Ok(dst.len() + 1),
        }
    }

    fn decompress_start(
        &self,
        src: &[u8],
        dst: &mut [u8],
        wanted: usize,
    ) -> Result<usize, CodecError> {
        if self.plan.start.fails() {
            return Err(CodecError::Invalid { codec: "wrong", capacity: dst.len() });
        }
        self.inner.decompress_start(src, dst, wanted)
    }

    fn trains(&self) -> bool {
        self.inner.trains()
    }

    fn train(&self, pages: &[&[u8]]) -> Option<Box<dyn Codec>> {
        let inner = self.inner.train(pages)?;
        Some(Box::new(Self { inner, plan: Arc::clone(&self.plan) }))
    }

    fn train_bytes_max(&self, pages: usize) -> usize {
        self.inner.train_bytes_max(pages)
    }

    fn is_intact(&self) -> bool {
        self.inner.is_intact()
    }

    fn metadata_bytes(&self) -> usize {
        self.inner.metadata_bytes()
    }

    fn metadata_bytes_max(&self, len: usize) -> usize {
        self.inner.metadata_bytes_max(len)
    }

    fn limit_contexts(&self, count: usize) {
        self.inner.limit_contexts(count);
    }
}

/// The plans of a store.
struct Plans {
    memory: Arc<FaultPlan>,
    pages: Arc<Plan>,
    clusters: Arc<Plan>,
}

impl Plans {
    fn new() -> Self {
        Self { memory: FaultPlan::new(), pages: Arc::default(), clusters: Arc::default() }
    }

    fn heal(&self) {
        self.memory.heal();
        self.pages.heal();
        self.clusters.heal();
    }
}

/// Every tier is on, with small steps; calls do the work.
fn store_of(allocator: Allocator, plans: &Plans) -> StoreBuilder {
    let source = FaultySource::new(Box::new(HeapSource::new()), Arc::clone(&plans.memory));
    let wrong = |inner, plan: &Arc<Plan>| Box::new(Wrong { inner, plan: Arc::clone(plan) });
    let pages = CodecSpec::Balanced.build().expect("in the build");
    let clusters = CodecSpec::for_idle_pages().build_for_clusters().expect("in the build");
    Store::builder()
        .allocator(allocator)
        .source(Box::new(source))
        .codec_with(wrong(pages, &plans.pages))
        .idle_codec_with(wrong(clusters, &plans.clusters))
        .limit(LIMIT)
        .staging(64 * 4096)
        .workers(0)
        .shrinker(false)
        .training_steps(24, 24, u32::MAX)
}

/// What the stores of a test went through.
#[derive(Debug, Default)]
struct Seen {
    staged: u64,
    trained: u64,
    trained_pages: u64,
    joined: u64,
    split: u64,
    returned: u64,
    raw: u64,
    same_filled: u64,
    values: u64,
    failures: u64,
}

impl Seen {
    fn add(&mut self, store: &Store) {
        let stats = store.stats();
        self.staged += stats.staging.compressed;
        self.trained += stats.training.adopted;
        self.trained_pages += stats.training.codecs.iter().map(|codec| codec.objects).sum::<u64>();
        self.joined += stats.idle.joined;
        self.split += stats.idle.split;
        self.returned += stats.idle.returned;
        self.failures += stats.idle.failures;
        for space in &stats.spaces {
            self.raw += space.raw;
            self.same_filled += space.same_filled;
            self.values += space.values;
        }
    }

    fn every_form(&self) {
        eprintln!("{self:?}");
        let forms = [self.staged, self.trained, self.trained_pages, self.joined, self.split];
        assert!(forms.iter().all(|count| *count > 0), "{self:?}");
        assert!(self.returned > 0 && self.raw > 0 && self.same_filled > 0, "{self:?}");
        assert!(self.values > 0, "{self:?}");
    }
}

/// A step of the oracle, or one of the tiers' work.
fn step(oracle: &mut Oracle<'_>, rng: &mut impl rand::Rng, store: &Store) {
    match rng.random_range(0..200) {
        0..4 => _ = store.idle_pass(),
        4..10 => _ = store.maintain(64 << 10),
        10..12 => store.flush(),
        _ => oracle.step(rng, store),
    }
    assert!(store.resident() <= store.limit(), "the limit is exceeded");
}

/// The same operations on a new store, with faults that `inject` asks for before the first one; how many times memory was
/// asked for.
fn run(
    kind: SpaceKind,
    steps: u64,
    seen: &mut Seen,
    codec_fails: bool,
    inject: impl FnOnce(&Plans),
) -> u64 {
    let plans = Plans::new();
    let store = store_of(Allocator::nbud(), &plans).build().expect("room");
    let space = store.space(config(kind)).expect("room");
    let mut rng = Seed::for_test(0x5eed).rng(0);
    let mut oracle = Oracle::new(&space, 0, 1);
    // So few that most are used, and idle between two passes.
    oracle.keys = 192;
    oracle.codec_fails = codec_fails;
    let before = plans.memory.allocations();
    inject(&plans);
    for _ in 0..steps {
        step(&mut oracle, &mut rng, &store);
    }
    let asked = plans.memory.allocations() - before;
    oracle.check_all();
    store.validate().expect("valid beside faults");
    plans.heal();
    oracle.codec_fails = false;
    // Nothing was really damaged, and everything works again.
    oracle.check_all();
    for _ in 0..100 {
        step(&mut oracle, &mut rng, &store);
    }
    seen.add(&store);
    oracle.check_all();
    store.validate().expect("valid");
    asked
}

#[test]
fn each_refusal_of_memory_loses_nothing_of_any_form() {
    let mut seen = Seen::default();
    let sweeps = [
        (SpaceKind::Persistent, 1, stride()),
        (SpaceKind::Persistent, u64::MAX, 2 * stride()),
        (SpaceKind::Ephemeral, 1, 2 * stride()),
    ];
    for (kind, count, stride) in sweeps {
        let mut k = 0;
        while run(kind, 400, &mut seen, false, |plans| plans.memory.fail(k, count)) > k {
            k += stride;
        }
        assert!(k > 10, "memory was asked for only {k} times");
    }
    seen.every_form();
}

#[test]
fn a_codec_that_fails_at_each_call_damages_nothing_of_any_form() {
    let mut seen = Seen::default();
    for count in [1, u64::MAX] {
        for k in (0..60).step_by(usize::try_from(stride()).expect("small")) {
            let fail = |plans: &Plans| plans.pages.fail(Fault::Fails, 7 * k, count);
            run(SpaceKind::Persistent, 500, &mut seen, true, fail);
        }
    }
    seen.every_form();
}

#[test]
fn a_codec_of_clusters_that_goes_wrong_at_each_call_damages_nothing() {
    let mut seen = Seen::default();
    for fault in Fault::ALL {
        for count in [1, u64::MAX] {
            for k in (0..30).step_by(usize::try_from(stride()).expect("small")) {
                let fail = |plans: &Plans| plans.clusters.fail(fault, k, count);
                run(SpaceKind::Persistent, 500, &mut seen, true, fail);
            }
        }
    }
    assert!(seen.failures > 0, "{seen:?}");
    seen.every_form();
}

/// Injects one fault after the other, until `stop`.
fn inject_all(plans: &Plans, stop: &AtomicBool) {
    let mut rng = Seed::for_test(0xfa).rng(9);
    while !stop.load(Ordering::Relaxed) {
        let fault = Fault::ALL[rng.random_range(0..4)];
        match rng.random_range(0..3) {
            0 => plans.memory.fail(rng.random_range(0..3), rng.random_range(1..10)),
            1 => plans.pages.fail(Fault::Fails, rng.random_range(0..20), 1),
            _ => plans.clusters.fail(fault, rng.random_range(0..20), rng.random_range(1..4)),
        }
        thread::sleep(Duration::from_micros(500));
    }
    plans.heal();
}

/// Four threads, each with a map; faults, passes by a worker and by calls, and a store that is filled up in the middle.
fn four_threads(allocator: Allocator, kind: SpaceKind, with_faults: bool, seen: &mut Seen) {
    let plans = Plans::new();
    let builder = store_of(allocator, &plans).workers(1).shrinker(true);
    let builder = builder.idle_interval(Duration::from_millis(20)).idle_share(100);
    let store = builder.build().expect("room");
    let space = store.space(config(kind)).expect("room");
    let seed = *Seed::for_test(0x4f);
    let mut oracles: Vec<Oracle<'_>> =
        (0..4).map(|number| Oracle::new(&space, number, 4)).collect();
    let filler = store.space(SpaceConfig::persistent(10_000)).expect("room");
    for (round, is_full) in [(0, false), (1, true)] {
        if is_full {
            let mut rng = seed.rng(8);
            for key in 0..10_000 {
                match filler.put_from(key, &PageKind::Random.page(&mut rng)) {
                    Ok(()) => {}
                    Err(PutError::Full { .. }) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        let (stop, done) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    assert!(store.resident() <= LIMIT, "the limit is exceeded");
                }
            });
            if with_faults {
                scope.spawn(|| inject_all(&plans, &stop));
            }
            let threads: Vec<_> = (0..)
                .zip(&mut oracles)
                .map(|(number, oracle)| {
                    let store = &store;
                    scope.spawn(move || {
                        oracle.codec_fails = with_faults;
                        let mut rng = seed.rng(10 * round + number);
                        (0..1000).for_each(|_| step(oracle, &mut rng, store));
                    })
                })
                .collect();
            let ended: Vec<_> = threads.into_iter().map(thread::ScopedJoinHandle::join).collect();
            stop.store(true, Ordering::Relaxed);
            done.store(true, Ordering::Relaxed);
            ended.into_iter().for_each(|end| end.expect("the oracle agrees"));
        });
        store.validate().expect("valid");
        seen.add(&store);
        for oracle in &mut oracles {
            oracle.codec_fails = false;
            oracle.check_all();
        }
    }
    assert_eq!(store.stats().staging.worker_panics, 0);
    store.drop_space(&space);
    store.drop_space(&filler);
    let stats = store.stats();
    assert_eq!((stats.payload_bytes, stats.idle.clusters), (0, 0));
    store.validate().expect("valid");
}

#[test]
fn four_threads_and_a_map_each_agree_over_every_form() {
    let mut seen = Seen::default();
    for &allocator in Allocator::ALL {
        four_threads(allocator, SpaceKind::Persistent, false, &mut seen);
    }
    for kind in KINDS {
        four_threads(Allocator::nbud(), kind, true, &mut seen);
    }
    seen.every_form();
}

#[test]
fn the_first_page_never_comes_back_in_any_form() {
    const KEYS: u64 = 128;
    const ROUNDS: u64 = 200;
    /// Like its neighbours, so that clusters are worth it.
    fn page_of(key: u64, number: u64) -> Page {
        let mut page = [0; 4096];
        let word = |at: u64| match at {
            0 => number,
            1 => key,
            _ if at.is_multiple_of(8) => (number * 131 + key) * 512 + at,
            _ => at,
        };
        for (at, bytes) in (0..).zip(page.chunks_exact_mut(8)) {
            let word = if at < 2 { word(at) } else { word(at).wrapping_mul(0x9e37_79b9) };
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        page
    }
    let index = |key: u64| usize::try_from(key).expect("small");
    let store = store_of(Allocator::nbud(), &Plans::new()).workers(1);
    let store = store.idle_interval(Duration::from_millis(1)).idle_share(100).build();
    let store = store.expect("room");
    let space = store.space(SpaceConfig::persistent(KEYS)).expect("room");
    let accepted: Vec<AtomicU64> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
    let writers = AtomicU64::new(2);
    thread::scope(|scope| {
        let (space, store, accepted, writers) = (&space, &store, &accepted, &writers);
        for writer in 0..2 {
            scope.spawn(move || {
                for number in 1..=ROUNDS {
                    for key in (writer..KEYS).step_by(2) {
                        // Not all, so that some stay long enough to be idle.
                        if (key / 4 + number).is_multiple_of(3) {
                            space.put(key, &page_of(key, number)).expect("room");
                            accepted[index(key)].store(number, Ordering::SeqCst);
                        }
                    }
                    store.idle_pass();
                    store.idle_pass();
                }
                writers.fetch_sub(1, Ordering::SeqCst);
            });
        }
        for reader in 0..2 {
            scope.spawn(move || {
                let (mut page, mut rng) = ([0; 4096], Seed::for_test(0x9e).rng(reader));
                while writers.load(Ordering::SeqCst) > 0 {
                    let key = rng.random_range(0..KEYS);
                    let before = accepted[index(key)].load(Ordering::SeqCst);
                    match space.get(key, &mut page) {
                        Ok(()) => {
                            let number = u64::from_le_bytes(*page.first_chunk().expect("8 bytes"));
                            assert!(number >= before, "key {key}: {number} after {before}");
                            assert!(page == page_of(key, number), "key {key}: another page");
                        }
                        Err(error) => assert!(error == GetError::Absent && before == 0, "{error}"),
                    }
                    thread::sleep(Duration::from_micros(20));
                }
            });
        }
    });
    let idle = store.stats().idle;
    assert!(idle.joined > 1000 && idle.returned > 0, "{idle:?}");
    store.validate().expect("valid");
}
