//! A map as oracle: random operations from several threads, with memory refused and a codec that fails, and nothing that
//! was accepted is lost, nothing that was replaced comes back.
//!
//! Each thread has keys of its own, for which its map is exact. Other keys are shared; each put to them
//! carries a number that the writers hand out in order, and no get may read a lower one than was accepted before it began.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use pagefold_codec::{Codec, CodecError, CodecSpec};
use pagefold_frame::HeapSource;
use pagefold_pool::Allocator;
use pagefold_store::{
    GetError, Page, PreviousValue, PutError, Space, SpaceConfig, SpaceKind, Store,
};
use pagefold_testkit::faulty::{FaultPlan, FaultySource};
use pagefold_testkit::{corpus::PageKind, seed::Seed};
use rand::{Rng, RngExt};

const LIMIT: usize = 4 << 20;
const KEYS: u64 = 3000;

/// lz4 whose k-th call of a kind fails.
struct Failing {
    inner: Box<dyn Codec>,
    plan: Arc<CodecPlan>,
}

/// Which calls fail: from the first number on, up to the second.
#[derive(Default)]
struct CodecPlan {
    compress: Calls,
    decompress: Calls,
}

#[derive(Default)]
pub(super) struct Calls {
    made: AtomicU64,
    from: AtomicU64,
    until: AtomicU64,
}

impl Calls {
    pub(super) fn fail(&self, k: u64, count: u64) {
        let next = self.made.load(Ordering::Relaxed) + k;
        self.from.store(next, Ordering::Relaxed);
        self.until.store(next.saturating_add(count), Ordering::Relaxed);
    }

    pub(super) fn heal(&self) {
        self.until.store(0, Ordering::Relaxed);
    }

    pub(super) fn fails(&self) -> bool {
        let now = self.made.fetch_add(1, Ordering::Relaxed);
        (self.from.load(Ordering::Relaxed)..self.until.load(Ordering::Relaxed)).contains(&now)
    }
}

impl Failing {
    fn new(plan: &Arc<CodecPlan>) -> Box<Self> {
        let inner = "lz4".parse::<CodecSpec>().expect("a codec").build().expect("in the build");
        Box::new(Self { inner, plan: Arc::clone(plan) })
    }
}

impl Codec for Failing {
    fn name(&self) -> &str {
        "failing"
    }

    fn compress(&self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        if self.plan.compress.fails() { None } else { self.inner.compress(src, dst) }
    }

    fn decompress(&self, src: &[u8], dst: &mut [u8]) -> Result<usize, CodecError> {
        if self.plan.decompress.fails() {
            return Err(CodecError::Invalid { codec: "failing", capacity: dst.len() });
        }
        self.inner.decompress(src, dst)
    }

    fn metadata_bytes(&self) -> usize {
        self.inner.metadata_bytes()
    }
}

/// What a value is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Content {
    seed: u64,
    kind: PageKind,
    len: usize,
}

impl Content {
    fn random(rng: &mut impl Rng) -> Self {
        let len = match rng.random_range(0..10) {
            0 => rng.random_range(0..200),
            1 => rng.random_range(0..20_000),
            _ => 4096,
        };
        Self { seed: rng.random(), kind: PageKind::ALL[rng.random_range(0..4)], len }
    }

    fn bytes(self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        self.kind.fill(&mut Seed::new(self.seed).rng(0), &mut bytes);
        bytes
    }
}

/// One thread's keys: those that are `number` modulo `of`.
pub(super) struct Oracle<'a> {
    space: &'a Space,
    map: HashMap<u64, Content>,
    number: u64,
    of: u64,
    /// How many.
    pub(super) keys: u64,
    /// Whether damage is to be expected.
    pub(super) codec_fails: bool,
}

impl<'a> Oracle<'a> {
    pub(super) fn new(space: &'a Space, number: u64, of: u64) -> Self {
        Self { space, map: HashMap::new(), number, of, keys: KEYS / of, codec_fails: false }
    }

    pub(super) fn check(&mut self, key: u64) {
        let got = self.space.get_bytes(key);
        let expected = self.map.get(&key).map(|content| content.bytes());
        match (got, expected) {
            (Ok(bytes), Some(expected)) => assert!(bytes == expected, "key {key} is another value"),
            (Ok(_), None) => panic!("key {key} came from nowhere"),
            (Err(GetError::Absent), None) => {}
            (Err(GetError::Absent), Some(_)) => {
                assert_eq!(self.space.kind(), SpaceKind::Ephemeral, "key {key} is lost");
                self.map.remove(&key);
            }
            (Err(GetError::Corrupt), Some(_)) => assert!(self.codec_fails, "key {key}"),
            (Err(error), _) => panic!("key {key}: {error}"),
        }
    }

    fn put(&mut self, key: u64, content: Content) {
        let bytes = content.bytes();
        match self.space.put_bytes(key, &bytes) {
            Ok(()) => _ = self.map.insert(key, content),
            Err(PutError::Full { previous, .. }) => match previous {
                PreviousValue::Kept => assert!(self.map.contains_key(&key), "nothing was there"),
                PreviousValue::Absent if self.space.kind() == SpaceKind::Persistent => {
                    assert!(!self.map.contains_key(&key), "key {key} is lost");
                }
                PreviousValue::Dropped | PreviousValue::Absent => _ = self.map.remove(&key),
            },
            Err(PutError::TooLong { .. }) => {}
            Err(error) => panic!("key {key}: {error}"),
        }
    }

    pub(super) fn step(&mut self, rng: &mut impl Rng, store: &Store) {
        let key = rng.random_range(0..self.keys) * self.of + self.number;
        match rng.random_range(0..100) {
            0..45 => self.put(key, Content::random(rng)),
            45..75 => self.check(key),
            75..88 => {
                let there = self.space.remove(key).expect("a key");
                let known = self.map.remove(&key).is_some();
                assert!(
                    there == known || known && self.space.kind() == SpaceKind::Ephemeral,
                    "{key}"
                );
            }
            88..94 => {
                let mut page: Page = [0; 4096];
                match self.space.take(key, &mut page) {
                    Ok(()) => {
                        let content = self.map.remove(&key).expect("it was there");
                        assert!(page[..] == content.bytes()[..], "key {key} is another value");
                    }
                    Err(GetError::WrongLength { len, .. }) => {
                        assert_eq!(self.map.get(&key).map(|content| content.len), Some(len));
                    }
                    Err(_) => self.check(key),
                }
            }
            94..96 => _ = store.compact(64 << 10),
            96..97 => _ = store.shrink(16 << 10),
            _ => {
                let bytes = Content::random(rng).bytes();
                if let Ok(page) = bytes[..].try_into()
                    && let Err(error) = self.space.put_or_remove(key, page)
                {
                    assert!(matches!(error, PutError::Full { .. }), "{error}");
                    assert_ne!(
                        error,
                        PutError::Full {
                            limit: pagefold_store::ReachedLimit::Store,
                            previous: PreviousValue::Kept
                        }
                    );
                    self.map.remove(&key);
                    assert!(!self.space.contains(key).expect("a key"), "stale data");
                } else if bytes.len() == 4096 {
                    let seed = bytes.clone();
                    assert!(
                        self.space.get_bytes(key).is_ok_and(|got| got == seed)
                            || self.codec_fails
                            || self.space.kind() == SpaceKind::Ephemeral
                    );
                    // Its content is not known to the map; take it out again.
                    _ = self.space.remove(key).expect("a key");
                    self.map.remove(&key);
                }
            }
        }
    }

    pub(super) fn check_all(&mut self) {
        let keys: Vec<u64> = self.map.keys().copied().collect();
        keys.into_iter().for_each(|key| self.check(key));
    }
}

fn store_of(allocator: Allocator, plan: &Arc<FaultPlan>, codec: &Arc<CodecPlan>) -> Store {
    let source = FaultySource::new(Box::new(HeapSource::new()), Arc::clone(plan));
    Store::builder()
        .allocator(allocator)
        .source(Box::new(source))
        .codec_with(Failing::new(codec))
        .limit(LIMIT)
        .shrinker(false)
        .build()
        .expect("nothing fails while the store is built")
}

pub(super) fn config(kind: SpaceKind) -> SpaceConfig {
    match kind {
        SpaceKind::Persistent => SpaceConfig::persistent(KEYS),
        SpaceKind::Ephemeral => SpaceConfig::ephemeral(KEYS),
    }
}

pub(super) const KINDS: [SpaceKind; 2] = [SpaceKind::Persistent, SpaceKind::Ephemeral];

#[test]
fn threads_and_a_map_each_agree() {
    let seed = *Seed::for_test(0x3a9);
    for &allocator in Allocator::ALL {
        let store = Store::builder().allocator(allocator).limit(LIMIT).build().expect("room");
        for kind in KINDS {
            let space = store.space(config(kind)).expect("room");
            thread::scope(|scope| {
                for number in 0..4 {
                    let (store, space) = (&store, &space);
                    scope.spawn(move || {
                        let mut oracle = Oracle::new(space, number, 4);
                        let mut rng = seed.rng(number);
                        for _ in 0..4000 {
                            oracle.step(&mut rng, store);
                        }
                        oracle.check_all();
                    });
                }
            });
            store.validate().expect("valid");
            assert!(store.resident() <= LIMIT);
        }
    }
}

/// One fault in so many is tried where it lasts: each with `PAGEFOLD_EVERY_FAULT` set, which takes minutes.
pub(super) fn stride() -> u64 {
    if std::env::var_os("PAGEFOLD_EVERY_FAULT").is_some() { 1 } else { 3 }
}

/// The same operations with each k-th grant refused, and `count - 1` after it.
fn refuse_each(allocator: Allocator, kind: SpaceKind, count: u64, stride: u64) -> u64 {
    let seed = *Seed::for_test(0xfa11);
    let mut k = 0;
    loop {
        let (plan, codec) = (FaultPlan::new(), Arc::new(CodecPlan::default()));
        let store = store_of(allocator, &plan, &codec);
        let space = store.space(config(kind)).expect("room");
        let mut oracle = Oracle::new(&space, 0, 1);
        let mut rng = seed.rng(k);
        let before = plan.allocations();
        plan.fail(k, count);
        for _ in 0..400 {
            oracle.step(&mut rng, &store);
        }
        let asked = plan.allocations() - before;
        oracle.check_all();
        plan.heal();
        // When nothing is refused any more, everything works again.
        for _ in 0..100 {
            oracle.step(&mut rng, &store);
        }
        oracle.check_all();
        store.validate().unwrap_or_else(|violation| panic!("grant {k} refused: {violation}"));
        if asked <= k {
            return k;
        }
        k += stride;
    }
}

#[test]
fn each_single_refusal_of_memory_loses_nothing() {
    for &allocator in Allocator::ALL {
        for kind in KINDS {
            let refused = refuse_each(allocator, kind, 1, 1);
            assert!(refused > 20, "{allocator}: memory was asked for only {refused} times");
        }
    }
}

#[test]
fn refusing_all_memory_from_some_moment_loses_nothing() {
    for &allocator in Allocator::ALL {
        for kind in KINDS {
            refuse_each(allocator, kind, u64::MAX, stride());
        }
    }
}

#[test]
fn a_codec_that_fails_costs_room_or_an_error_and_nothing_else() {
    let seed = *Seed::for_test(0xc0dec);
    for count in [1, u64::MAX] {
        for k in (0..120).step_by(usize::try_from(stride()).expect("small")) {
            let (plan, codec) = (FaultPlan::new(), Arc::new(CodecPlan::default()));
            let store = store_of(Allocator::nbud(), &plan, &codec);
            let space = store.space(config(SpaceKind::Persistent)).expect("room");
            let mut oracle = Oracle::new(&space, 0, 1);
            oracle.codec_fails = true;
            let mut rng = seed.rng(k);
            codec.compress.fail(k, count);
            codec.decompress.fail(k, count);
            for _ in 0..300 {
                oracle.step(&mut rng, &store);
            }
            codec.compress.heal();
            codec.decompress.heal();
            oracle.codec_fails = false;
            // Nothing was really damaged: what a failing codec refused to decode, a working one decodes.
            oracle.check_all();
            for _ in 0..100 {
                oracle.step(&mut rng, &store);
            }
            store.validate().expect("valid");
        }
    }
}

#[test]
fn the_first_value_never_comes_back_after_the_second_was_accepted() {
    let store = Store::builder().limit(LIMIT).build().expect("room");
    let space = store.space(SpaceConfig::persistent(8)).expect("room");
    /// Puts of one key are numbered; `accepted` is the highest number that was.
    const KEYS: usize = 8;
    let accepted: [AtomicU64; KEYS] = Default::default();
    let page_of = |number: u64| -> Page {
        let mut page = [0; 4096];
        // Compresses, or does not, or is of one word, in turn.
        match number % 3 {
            0 => pagefold_codec::fill(number, &mut page),
            1 => page
                .chunks_mut(64)
                .for_each(|line| line[..8].copy_from_slice(&number.to_le_bytes())),
            _ => PageKind::Random.fill(&mut Seed::new(number).rng(0), &mut page),
        }
        page[..8].copy_from_slice(&number.to_le_bytes());
        page
    };
    let number_of = |page: &Page| u64::from_le_bytes(*page.first_chunk().expect("8 bytes"));
    thread::scope(|scope| {
        let (space, accepted, page_of, number_of) = (&space, &accepted, &page_of, &number_of);
        // One writer a key, so that the order of acceptance is the order of the numbers.
        for writer in 0..2 {
            scope.spawn(move || {
                for number in 1..8000 {
                    for key in (writer..KEYS).step_by(2) {
                        space.put(key as u64, &page_of(number)).expect("room");
                        accepted[key].store(number, Ordering::SeqCst);
                    }
                }
            });
        }
        for reader in 0..2 {
            scope.spawn(move || {
                let (mut page, mut looks) = ([0; 4096], 0);
                while accepted.iter().any(|number| number.load(Ordering::SeqCst) < 7999) {
                    let key = (looks + reader) % KEYS;
                    let before = accepted[key].load(Ordering::SeqCst);
                    match space.get(key as u64, &mut page) {
                        Ok(()) => {
                            let found = number_of(&page);
                            assert!(found >= before, "key {key}: {found} after {before}");
                            assert!(page == page_of(found), "key {key}: torn");
                        }
                        Err(error) => assert!(error == GetError::Absent && before == 0, "{error}"),
                    }
                    looks += 1;
                }
            });
        }
    });
    store.validate().expect("valid");
}
