//! A store over a backing that fails in every way, beside a map of what it accepted.
//!
//! A get gives the right bytes, or an error that the backing explains: a read of this very call failed, or gave other bytes than were
//! written. Nothing else is ever lost. A witness between store and backing knows what each slot should have.
//!
//! `PAGEFOLD_SPILL_STEPS` is the number of steps of each run, `PAGEFOLD_SEED` repeats one.

use std::{
    collections::HashMap,
    env, io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use pagefold_store::{
    GetError, Page, PreviousValue, PutError, Space, SpaceConfig, Store, TryGetError,
    spill::{Backing, EXTENT_BYTES_MIN, Spill},
};
use pagefold_testkit::{
    backing::{FaultyBacking, READ_FAULTS, ReadFault, WRITE_FAULTS, WriteFault},
    corpus::Mix,
    seed::Seed,
};
use rand::{Rng, RngExt as _, seq::IndexedRandom as _};

const KEYS: u64 = 2500;
const LIMIT: usize = 5 << 20;
const STEPS: u64 = 4000;
/// Shorter than a read that hangs.
const DEADLINE: Duration = Duration::from_millis(100);

/// Knows what each slot was given, so which reads give something else.
#[derive(Debug)]
struct Witness {
    faulty: FaultyBacking,
    given: Mutex<HashMap<u32, Vec<u8>>>,
    begun: AtomicU64,
    /// Reads that failed, or gave other bytes.
    bad: AtomicU64,
    /// Reads that have not ended.
    pending: AtomicU64,
}

impl Witness {
    fn new(cached: bool) -> Arc<Self> {
        Arc::new(Self {
            faulty: FaultyBacking::new(cached),
            given: Mutex::default(),
            begun: AtomicU64::new(0),
            bad: AtomicU64::new(0),
            pending: AtomicU64::new(0),
        })
    }

    /// Bad reads so far.
    fn bad(&self) -> u64 {
        self.bad.load(Ordering::SeqCst)
    }

    /// Reads since then that may be the reason of an error: bad ones, and those that hang.
    fn suspicious_since(&self, bad: u64) -> u64 {
        self.pending.load(Ordering::SeqCst) + self.bad() - bad
    }

    fn begun(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }

    fn watched(
        &self,
        (slot, offset): (u32, u32),
        into: &mut [u8],
        read: impl FnOnce(&mut [u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.pending.fetch_add(1, Ordering::SeqCst);
        let outcome = catch_unwind(AssertUnwindSafe(|| read(into)));
        let is_good = match &outcome {
            Ok(Ok(())) => {
                let given = self.given.lock().expect("no panic under it");
                let range = given.get(&slot).and_then(|bytes| bytes.get(offset as usize..));
                range.and_then(|bytes| bytes.get(..into.len())) == Some(&*into)
            }
            Ok(Err(error)) => error.kind() == io::ErrorKind::WouldBlock,
            Err(_) => false,
        };
        self.bad.fetch_add(u64::from(!is_good), Ordering::SeqCst);
        self.pending.fetch_sub(1, Ordering::SeqCst);
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl Backing for Witness {
    fn write(&self, slot: u32, bytes: &[u8]) -> io::Result<()> {
        self.given.lock().expect("no panic under it").insert(slot, bytes.to_vec());
        self.faulty.write(slot, bytes)
    }

    fn read(&self, slot: u32, offset: u32, into: &mut [u8]) -> io::Result<()> {
        self.watched((slot, offset), into, |into| self.faulty.read(slot, offset, into))
    }

    fn try_read(&self, slot: u32, offset: u32, into: &mut [u8]) -> io::Result<()> {
        self.watched((slot, offset), into, |into| self.faulty.try_read(slot, offset, into))
    }

    fn discard(&self, slot: u32) -> io::Result<()> {
        self.faulty.discard(slot)
    }
}

/// What lies under a key: a page, or a value of another length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    version: u64,
    len: usize,
}

/// A space, and what it accepted.
struct Pair {
    space: Space,
    known: HashMap<u64, Known>,
    is_ephemeral: bool,
    has_values: bool,
}

/// How a run is set up.
#[derive(Debug, Clone, Copy)]
struct Setup {
    seed: u64,
    cached: bool,
    encrypts: bool,
    /// Threads of the store work beside; otherwise each step follows from the seed.
    threads: bool,
    /// Writes may say that they worked, and have not.
    lies: bool,
}

/// Errors and ways that were seen.
#[derive(Debug, Default)]
struct Seen {
    right: u64,
    io: u64,
    timeout: u64,
    corrupt: u64,
    refused: u64,
    blocked: u64,
}

struct Model<'p> {
    store: Store,
    witness: Arc<Witness>,
    pairs: Vec<Pair>,
    pages: &'p [Page],
    rng: Box<dyn Rng>,
    setup: Setup,
    seen: Seen,
    step: u64,
}

/// The bytes of a key.
fn bytes(pages: &[Page], key: u64, known: Known) -> Vec<u8> {
    let number = usize::try_from(key * 7 + known.version).expect("small");
    let mut bytes = [pages[number % pages.len()], pages[(number + 1) % pages.len()]].concat();
    bytes.truncate(known.len);
    let mark = [key.to_le_bytes(), known.version.to_le_bytes()].concat();
    let len = mark.len().min(bytes.len());
    bytes[..len].copy_from_slice(&mark[..len]);
    bytes
}

fn page(bytes: &[u8]) -> &Page {
    bytes.try_into().expect("a page")
}

impl<'p> Model<'p> {
    fn new(setup: Setup, pages: &'p [Page]) -> Self {
        let witness = Witness::new(setup.cached);
        let spill = Spill::builder(Arc::clone(&witness)).extent_bytes(EXTENT_BYTES_MIN);
        let spill = spill.without_rests().read_deadline(DEADLINE).encrypts(setup.encrypts);
        let builder = Store::builder().limit(LIMIT).max_limit(2 * LIMIT).self_training(false);
        let builder = builder.spill(spill.build().expect("sensible"));
        let builder = if setup.threads {
            builder.idle_share(50).idle_interval(Duration::from_millis(50))
        } else {
            builder.without_spiller().workers(0).shrinker(false).idle_interval(Duration::ZERO)
        };
        let store = builder.build().expect("room");
        let kinds = [(false, false), (true, false), (false, true)];
        let pairs = kinds.map(|kind| Self::pair(&store, kind)).into();
        let rng = Box::new(Seed::for_test(0x3b).rng(setup.seed));
        let seen = Seen::default();
        Self { store, witness, pairs, pages, rng, setup, seen, step: 0 }
    }

    fn pair(store: &Store, (is_ephemeral, has_values): (bool, bool)) -> Pair {
        let config =
            if is_ephemeral { SpaceConfig::ephemeral(KEYS) } else { SpaceConfig::persistent(KEYS) };
        let space = store.space(config).expect("room");
        Pair { space, known: HashMap::new(), is_ephemeral, has_values }
    }

    fn run(mut self, steps: u64) -> Seen {
        for at in 0..self.pairs.len() {
            for key in 0..KEYS {
                self.put(at, key);
            }
        }
        for _ in 0..steps {
            self.step += 1;
            if self.rng.random_range(0..40) == 0 {
                self.change_faults();
            }
            if self.rng.random_range(0..4) == 0 {
                self.upkeep();
            }
            let at = self.rng.random_range(0..self.pairs.len());
            let key = self.rng.random_range(0..KEYS);
            match self.rng.random_range(0..20) {
                0..8 => self.put(at, key),
                8..13 => self.get(at, key),
                13..15 => self.try_get(at, key),
                15 => self.get_many(at),
                16 | 17 => self.take(at, key),
                18 => self.remove(at, key..key + 1),
                _ => {
                    let len = self.rng.random_range(0..20);
                    self.remove(at, key..key + len);
                }
            }
            assert!(self.store.resident() <= self.store.limit(), "{self:?}");
        }
        // Puts that no spill helps do not try again and again.
        let tries = self.store.stats().work.synchronous_steps;
        assert!(tries < steps, "{tries} steps for room in {steps} calls: {self:?}");
        self.end()
    }

    fn upkeep(&mut self) {
        match self.rng.random_range(0..60) {
            0..12 => _ = self.store.spill_extent(),
            12..20 => _ = self.store.clean_extent(),
            20..30 => _ = self.store.spill_step(),
            30..34 => _ = self.store.maintain(64 << 10),
            34..36 => self.store.flush(),
            36..38 => _ = self.store.compact(64 << 10),
            38 => _ = self.store.shrink(128 << 10),
            39..42 => {
                let limit = self.rng.random_range(LIMIT * 7 / 8..LIMIT * 5 / 4);
                // What does not fit stays, under the old limit.
                let _ = self.store.set_limit(limit);
            }
            42 => self.store.validate().expect("valid"),
            43 if self.rng.random_range(0..4) == 0 => {
                let at = self.rng.random_range(0..self.pairs.len());
                let pair = &self.pairs[at];
                let kind = (pair.is_ephemeral, pair.has_values);
                self.store.drop_space(&pair.space);
                self.pairs[at] = Self::pair(&self.store, kind);
            }
            _ => {}
        }
    }

    /// One call, or all from now on; more often none.
    fn change_faults(&mut self) {
        let faulty = &self.witness.faulty;
        let honest = [WriteFault::Fails, WriteFault::NoSpace];
        let writes: &[WriteFault] = if self.setup.lies { &WRITE_FAULTS } else { &honest };
        let write = *writes.choose(&mut self.rng).expect("some");
        let read = *READ_FAULTS.choose(&mut self.rng).expect("some");
        match self.rng.random_range(0..20) {
            0..5 => faulty.fail_write(write),
            5..9 => faulty.fail_read(read),
            9 => faulty.fail_all(Some(WriteFault::Fails), Some(ReadFault::Fails)),
            10 => faulty.fail_all(Some(WriteFault::NoSpace), None),
            11 => faulty.fail_all(None, Some(read)),
            12 => faulty.fail_all(Some(write), None),
            // Takes time.
            13 if self.rng.random_range(0..4) == 0 => faulty.fail_read(ReadFault::Hangs),
            14 if self.rng.random_range(0..4) == 0 => faulty.fail_write(WriteFault::Slow),
            _ => {
                faulty.fail_all(None, None);
                faulty.disarm();
            }
        }
    }

    fn put(&mut self, at: usize, key: u64) {
        let pair = &mut self.pairs[at];
        let is_page = !pair.has_values || self.rng.random_range(0..2) == 0;
        let len = if is_page { 4096 } else { self.rng.random_range(1..6000) };
        let known = Known { version: self.step, len };
        let new = bytes(self.pages, key, known);
        let put =
            if is_page { pair.space.put(key, page(&new)) } else { pair.space.put_bytes(key, &new) };
        match put {
            Ok(()) => _ = pair.known.insert(key, known),
            Err(PutError::Full { previous, .. }) => {
                self.seen.refused += 1;
                match previous {
                    // An ephemeral space may have dropped it before.
                    PreviousValue::Kept => {
                        assert!(pair.known.contains_key(&key), "key {key} in step {}", self.step);
                    }
                    PreviousValue::Dropped => {
                        assert!(pair.is_ephemeral, "key {key} in step {}", self.step);
                        pair.known.remove(&key);
                    }
                    PreviousValue::Absent => {
                        let old = pair.known.remove(&key);
                        assert!(
                            old.is_none() || pair.is_ephemeral,
                            "key {key} is lost before step {}",
                            self.step
                        );
                    }
                }
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn get(&mut self, at: usize, key: u64) {
        let before = self.witness.bad();
        let pair = &self.pairs[at];
        let got = match (pair.known.get(&key), self.rng.random_range(0..2)) {
            (Some(Known { len: 4096, .. }), 0) => {
                let mut back = [0; 4096];
                pair.space.get(key, &mut back).map(|()| back.to_vec())
            }
            _ => pair.space.get_bytes(key),
        };
        self.check(at, key, got, before);
    }

    fn get_many(&mut self, at: usize) {
        if self.pairs[at].has_values {
            return;
        }
        let keys: Vec<u64> = (0..30).map(|_| self.rng.random_range(0..KEYS)).collect();
        let mut back = vec![[0; 4096]; keys.len()];
        let before = self.witness.bad();
        let got = self.pairs[at].space.get_many(keys.iter().copied().zip(&mut back));
        let failed = |result: &&Result<(), GetError>| {
            !matches!(result, Ok(()) | Err(GetError::Absent | GetError::Timeout))
        };
        let errors = got.iter().filter(failed).count() as u64;
        let reasons = self.witness.suspicious_since(before);
        assert!(errors <= reasons, "{errors} errors of {reasons} reads: {self:?}");
        for ((key, page), result) in keys.into_iter().zip(back).zip(got) {
            self.check(at, key, result.map(|()| page.to_vec()), before);
        }
    }

    /// What a call gave, before which so many reads were bad.
    fn check(&mut self, at: usize, key: u64, got: Result<Vec<u8>, GetError>, before: u64) {
        let expected = self.pairs[at].known.get(&key).copied();
        match got {
            Ok(found) => {
                let expected = expected.map(|known| bytes(self.pages, key, known));
                assert!(Some(found) == expected, "key {key} of {at} is another page: {self:?}");
                self.seen.right += 1;
            }
            Err(GetError::Absent) => {
                let was_there = self.pairs[at].known.remove(&key).is_some();
                assert!(
                    !was_there || self.pairs[at].is_ephemeral,
                    "key {key} of {at} is lost: {self:?}"
                );
            }
            Err(error @ (GetError::Io(_) | GetError::Timeout | GetError::Corrupt)) => {
                assert!(expected.is_some(), "{error} of key {key} of {at}, which is not there");
                let is_explained = self.witness.suspicious_since(before) > 0;
                // Only a thread that reads may be late because the machine is busy.
                let is_late = error == GetError::Timeout && !self.setup.cached;
                assert!(is_explained || is_late, "{error} of key {key} of {at}: {self:?}");
                match error {
                    GetError::Io(_) => self.seen.io += 1,
                    GetError::Timeout => self.seen.timeout += 1,
                    _ => self.seen.corrupt += 1,
                }
            }
            Err(error) => panic!("{error} of key {key} of {at}: {self:?}"),
        }
    }

    /// It never asks the backing.
    fn try_get(&mut self, at: usize, key: u64) {
        let (begun, before) = (self.witness.begun(), self.witness.bad());
        let mut back = [0; 8192];
        let got = self.pairs[at].space.try_get_bytes(key, &mut back);
        assert!(self.setup.threads || self.witness.begun() == begun, "{self:?}");
        match got {
            Ok(len) => self.check(at, key, Ok(back[..len].to_vec()), before),
            Err(TryGetError::Get(error)) => {
                assert_eq!(error, GetError::Absent, "key {key} of {at}: {self:?}");
                self.check(at, key, Err(error), before);
            }
            Err(TryGetError::WouldBlock) => {
                let is_there = self.pairs[at].known.contains_key(&key);
                assert!(is_there || self.setup.threads, "key {key} of {at}: {self:?}");
                self.seen.blocked += 1;
            }
        }
    }

    fn take(&mut self, at: usize, key: u64) {
        let before = self.witness.bad();
        let pair = &self.pairs[at];
        let got = if pair.has_values {
            pair.space.take_bytes(key)
        } else {
            let mut back = [0; 4096];
            pair.space.take(key, &mut back).map(|()| back.to_vec())
        };
        let is_taken = got.is_ok();
        self.check(at, key, got, before);
        if is_taken {
            self.pairs[at].known.remove(&key);
        }
    }

    fn remove(&mut self, at: usize, keys: std::ops::Range<u64>) {
        let pair = &mut self.pairs[at];
        let removed = pair.space.remove_range(keys.clone()).expect("alive");
        let there = keys.filter(|key| pair.known.remove(key).is_some()).count() as u64;
        assert!(removed <= there && (removed == there || pair.is_ephemeral), "{self:?}");
    }

    /// The backing works again: all that it did not damage is there.
    fn end(mut self) -> Seen {
        self.witness.faulty.fail_all(None, None);
        self.witness.faulty.disarm();
        // Reads that hang end.
        while self.witness.pending.load(Ordering::SeqCst) > 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.store.flush();
        self.store.validate().expect("valid");
        let before = (self.seen.corrupt, self.seen.io);
        for at in 0..self.pairs.len() {
            for key in 0..KEYS {
                // `check` compares, and wants a bad read of this call for each error.
                self.get(at, key);
            }
        }
        let damaged = self.seen.corrupt - before.0;
        assert_eq!(self.seen.io, before.1, "the backing works again: {self:?}");
        assert!(damaged == 0 || self.setup.lies, "no write lied: {self:?}");
        for pair in &mut self.pairs {
            pair.space.remove_range(0..KEYS).expect("alive");
        }
        self.store.validate().expect("valid");
        let stats = self.store.stats();
        let spill = stats.spill.as_ref().expect("a backing");
        assert_eq!((stats.stored, spill.backing.live_objects), (0, 0), "{self:?}");
        assert!(spill.spilled > 0 && spill.backing.writes > 0, "{self:?}");
        assert!(stats.payload_bytes == 0 && stats.staging.worker_panics == 0, "{stats:?}");
        self.seen
    }
}

impl std::fmt::Debug for Model<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let spill = self.store.stats().spill;
        write!(f, "step {} of {:?}: {:?}, {spill:?}", self.step, self.setup, self.seen)
    }
}

fn steps() -> u64 {
    let asked = env::var("PAGEFOLD_SPILL_STEPS").ok();
    asked.map_or(STEPS, |text| text.parse().expect("a number of steps"))
}

fn pages() -> Vec<Page> {
    let pages = Mix::PROCESS.pages(&mut Seed::new(0x70).rng(0), 300);
    pages.iter().map(|page| page.as_slice().try_into().expect("a page")).collect()
}

#[test]
fn what_was_accepted_is_there_or_an_error_that_the_backing_explains() {
    let pages = pages();
    let mut all = Seen::default();
    for seed in 0..6 {
        let bit = |number: u64| seed >> number & 1 == 1;
        let setup =
            Setup { seed, cached: bit(0), encrypts: !bit(1), threads: false, lies: seed < 4 };
        let seen = Model::new(setup, &pages).run(steps());
        assert!(seen.right > 500, "{seen:?} with {setup:?}");
        all.io += seen.io;
        all.corrupt += seen.corrupt;
        all.timeout += seen.timeout;
        all.refused += seen.refused;
        all.blocked += seen.blocked;
    }
    // Each way was gone.
    assert!(all.io > 20 && all.corrupt > 20 && all.timeout > 5, "{all:?}");
    assert!(all.refused > 20 && all.blocked > 100, "{all:?}");
}

#[test]
fn beside_the_threads_of_the_store_too() {
    let pages = pages();
    for seed in 10..14 {
        let setup = Setup {
            seed,
            cached: seed % 2 == 0,
            encrypts: seed < 12,
            threads: true,
            lies: seed != 13,
        };
        let seen = Model::new(setup, &pages).run(steps());
        assert!(seen.right > 500, "{seen:?} with {setup:?}");
    }
}
