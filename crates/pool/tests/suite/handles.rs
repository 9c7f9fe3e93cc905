//! The life of handles: small tables are run past their end, with frees and overwrites left pending, and trimmed in
//! between.
//!
//! Each index lives four times here, so pages whose indices are retired, pending, or both come about all the time.

use std::{collections::HashSet, sync::Arc};

use pagefold_frame::HeapSource;
use pagefold_pool::{AllocError, Allocator, Handle, HandleError, Pool, PoolBuilder, WriteError};
use pagefold_testkit::{pattern::Pattern, seed::Seed};
use rand::{Rng, RngExt as _};

const LIMIT: usize = 6 << 20;
const INDICES: usize = 2048;
const GENERATION_BITS: u32 = 2;
/// All objects that the table can make.
const OBJECTS: usize = INDICES << GENERATION_BITS;
/// Live objects, at most: three pages of indices, and few spans, so that most share theirs.
const LIVE: usize = 1200;

fn pool(allocator: Allocator) -> Arc<dyn Pool> {
    let builder = PoolBuilder::new(allocator).limit(LIMIT).source(Box::new(HeapSource::new()));
    builder.handle_table(INDICES, GENERATION_BITS).build().expect("room").into()
}

/// A pool, what is in it, and every handle that must be stale.
struct Run {
    pool: Arc<dyn Pool>,
    live: Vec<(Handle, usize, Pattern)>,
    stale: HashSet<Handle>,
    made: usize,
}

impl Run {
    fn new(allocator: Allocator) -> Self {
        Self { pool: pool(allocator), live: Vec::new(), stale: HashSet::new(), made: 0 }
    }

    fn store(&mut self, rng: &mut impl Rng) -> Result<(), AllocError> {
        let pattern = Pattern::new(rng.random(), 0, 0);
        // Some have a run of their own.
        let len = if rng.random_ratio(1, 20) { 4096 } else { rng.random_range(1..400) };
        let handle = self.pool.store(&pattern.bytes(len))?;
        assert!(!self.stale.contains(&handle), "{handle:?} was given out a second time");
        self.live.push((handle, len, pattern));
        self.made += 1;
        Ok(())
    }

    fn pick(&self, rng: &mut impl Rng) -> usize {
        // Mostly among the oldest, so that whole pages of indices come to their end.
        let among =
            if rng.random_ratio(3, 4) { self.live.len().div_ceil(4) } else { self.live.len() };
        rng.random_range(0..among)
    }

    fn free(&mut self, at: usize) {
        let (handle, ..) = self.live.remove(at);
        assert_eq!(self.pool.free(handle), Ok(()));
        assert!(self.stale.insert(handle));
    }

    /// Replaces the bytes of an object, if there is an index to spare for a proxy.
    fn write(&mut self, at: usize, rng: &mut impl Rng) {
        let (handle, len, pattern) = &mut self.live[at];
        let new = Pattern::new(rng.random(), 0, 1);
        match self.pool.write(*handle, &new.bytes(*len)) {
            Ok(()) => *pattern = new,
            Err(error) => assert!(matches!(error, WriteError::OutOfMemory { .. }), "{error}"),
        }
    }

    /// Frees and overwrites objects while two are being read, perhaps these, and trims before the reads end.
    fn leave_pending(&mut self, rng: &mut impl Rng) {
        let pool = Arc::clone(&self.pool);
        let (first, second) = (self.live[self.pick(rng)].0, self.live[self.pick(rng)].0);
        let mut inside = || {
            for _ in 0..rng.random_range(1..6) {
                let at = self.pick(rng);
                if rng.random_ratio(1, 3) { self.write(at, rng) } else { self.free(at) }
            }
            pool.trim();
        };
        let outcome = pool.read(first, &mut |_| {
            pool.read(second, &mut |_| inside()).expect("alive");
        });
        assert_eq!(outcome, Ok(()));
    }

    /// Every live object has its bytes, every handle of a freed one is stale, and the pool is valid.
    fn check(&self) {
        assert_eq!(self.pool.validate(), Ok(()), "after {} objects", self.made);
        for &(handle, len, pattern) in &self.live {
            assert_eq!(self.pool.len(handle), Ok(len), "after {} objects", self.made);
            let mut outcome = Ok(());
            let read = self.pool.read(handle, &mut |slices| outcome = pattern.check(slices));
            assert_eq!((read, outcome.is_ok()), (Ok(()), true), "after {} objects", self.made);
        }
        for &old in &self.stale {
            assert_eq!(self.pool.len(old), Err(HandleError::Stale), "after {} objects", self.made);
        }
        let stats = self.pool.stats();
        assert!(stats.resident_bytes() <= stats.limit_bytes, "{stats:?}");
        assert_eq!(stats.objects, self.live.len() as u64);
    }

    /// Stores, frees and overwrites a while.
    fn churn(&mut self, rng: &mut impl Rng) -> Result<(), AllocError> {
        let upto = rng.random_range(LIVE / 2..LIVE);
        while self.live.len() < upto {
            self.store(rng)?;
        }
        let downto = rng.random_range(20..LIVE / 2);
        while self.live.len() > downto {
            match rng.random_range(0..8) {
                0..4 => self.leave_pending(rng),
                4 => _ = self.pool.trim(),
                5 => self.store(rng)?,
                _ => self.free(self.pick(rng)),
            }
        }
        self.check();
        Ok(())
    }

    fn takes_back_what_is_retired(&mut self) {
        let retired = self.pool.stats().retired_indices;
        assert_eq!(self.pool.recycle_retired(), retired);
        assert_eq!(self.pool.stats().retired_indices, 0);
        // That is what the caller vouched for.
        self.stale.clear();
        self.check();
    }
}

/// Calls `f` while all of these are being read.
fn while_read(pool: &dyn Pool, handles: &[Handle], f: &mut dyn FnMut()) {
    match handles {
        [] => f(),
        [first, rest @ ..] => {
            pool.read(*first, &mut |_| while_read(pool, rest, f)).expect("alive");
        }
    }
}

/// The last object of every index of a page is freed, some of them while the span that they are in is read; then the
/// page may not go, with slots and links in it, before the last reader has.
fn a_page_whose_last_indices_are_pending_does_not_go(allocator: Allocator) {
    let pool = pool(allocator);
    let mut old = HashSet::new();
    let fill_table = |fill: &dyn Fn(usize) -> u8| -> Vec<Handle> {
        (0..INDICES).map(|round| pool.store(&[fill(round); 100]).expect("room")).collect()
    };
    // All indices live three times, and then for the last time.
    for _ in 1..1 << GENERATION_BITS {
        for handle in fill_table(&|_| 1) {
            assert_eq!(pool.free(handle), Ok(()));
            old.insert(handle);
        }
    }
    let mut handles = fill_table(&|round| (round % 251).to_le_bytes()[0]);
    assert!(pool.store(b"one more").is_err(), "there are no more indices");
    // In the order of their indices, since they are of one generation.
    handles.sort_unstable();
    let fill = |handle: Handle| {
        let mut byte = [0; 100];
        pool.read_into(handle, &mut byte).map(|_| byte[0])
    };
    // Two pages of indices, of which the last share spans with the first of the others.
    let (gone, stay) = handles.split_at(INDICES / 2);
    let kept: Vec<u8> = stay.iter().map(|&handle| fill(handle).expect("alive")).collect();
    let (before, later) = gone.split_at(900);
    let readers: Vec<Handle> = stay.iter().copied().step_by(4).collect();
    before.iter().for_each(|&handle| assert_eq!(pool.free(handle), Ok(())));
    while_read(&*pool, &readers, &mut || {
        later.iter().for_each(|&handle| assert_eq!(pool.free(handle), Ok(())));
        pool.trim();
    });
    assert_eq!(pool.validate(), Ok(()));
    for (&handle, &kept) in stay.iter().zip(&kept) {
        assert_eq!(fill(handle).ok(), Some(kept));
    }
    pool.trim();
    assert!(pool.store(b"one more").is_err(), "all indices that are free are retired");
    assert!(old.iter().chain(gone).all(|&handle| pool.len(handle) == Err(HandleError::Stale)));
    assert_eq!(pool.validate(), Ok(()));
}

fn seeded(allocator: Allocator, test: impl FnOnce(Run, &mut dyn Rng)) {
    let seed = Seed::for_test(0x11fe);
    test(Run::new(allocator), &mut seed.rng(0));
}

/// Without recycling a table ends, in order: it says so, and what lives is as it was.
fn a_table_that_is_used_up_says_so_and_stays_valid(allocator: Allocator) {
    seeded(allocator, |mut run, rng| {
        let mut rng = rng;
        while run.churn(&mut rng).is_ok() {}
        run.check();
        // What had generations left has them no more after this.
        loop {
            while !run.live.is_empty() {
                run.free(0);
                run.pool.trim();
            }
            run.check();
            if run.store(&mut rng).is_err() {
                break;
            }
            while run.live.len() < 50 && run.store(&mut rng).is_ok() {}
        }
        let full = run.pool.store(b"one more");
        assert!(matches!(full, Err(AllocError::OutOfMemory { .. })), "{full:?}");
        let stats = run.pool.stats();
        assert_eq!((stats.retired_indices, stats.index_capacity), (INDICES as u64, INDICES as u64));
        assert!((OBJECTS / 2..=OBJECTS).contains(&run.made), "{} objects", run.made);
        run.takes_back_what_is_retired();
        run.churn(&mut rng).expect("a new life");
    });
}

/// With recycling it does not end.
fn a_table_whose_retired_indices_come_back_does_not_end(allocator: Allocator) {
    seeded(allocator, |mut run, rng| {
        let mut rng = rng;
        let mut times = 0;
        while run.made < 6 * OBJECTS {
            run.churn(&mut rng).expect("there is room for ever");
            let stats = run.pool.stats();
            if stats.retired_indices > stats.index_capacity / 4 {
                run.takes_back_what_is_retired();
                times += 1;
            }
        }
        assert!(times > 10, "{times} times");
        while !run.live.is_empty() {
            run.free(0);
        }
        run.check();
    });
}

macro_rules! for_every_packing {
    ($($test:ident),+ $(,)?) => {
        mod nbud { $( #[test] fn $test() { super::$test(super::Allocator::nbud()); } )+ }
        mod zbud { $( #[test] fn $test() { super::$test(super::Allocator::zbud()); } )+ }
        mod xcfmalloc { $( #[test] fn $test() { super::$test(super::Allocator::xcfmalloc()); } )+ }
        mod zsmalloc { $( #[test] fn $test() { super::$test(super::Allocator::zsmalloc()); } )+ }
    };
}

for_every_packing!(
    a_page_whose_last_indices_are_pending_does_not_go,
    a_table_that_is_used_up_says_so_and_stays_valid,
    a_table_whose_retired_indices_come_back_does_not_end,
);
