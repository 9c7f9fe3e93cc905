//! zbud under threads that store, free, write, read, reclaim, compact, migrate and allocate ranges at the same time, every byte
//! verified.
//!
//! An object says who it is: its first bytes are its number and version, and the rest follows from them. So a
//! thread with a handle, an evictor for example, verifies the whole object by itself. Owners also know number
//! and version, and that only what an evictor frees may be gone.

use std::{
    collections::HashSet,
    panic::{self, AssertUnwindSafe},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use pagefold_pool::{
    AllocError, Allocator, Handle, HandleError, NotEvicted, Pool, PoolBuilder, ReclaimError,
    Slices, WriteError,
};
use pagefold_testkit::{
    pattern::Pattern,
    seed::Seed,
    torture::{self, Plan, Watch},
    watchdog,
};
use rand::{Rng, RngExt as _};

/// So long that only a deadlock exceeds it.
const DEADLOCK_AFTER: Duration = Duration::from_secs(300);
const STORERS: u64 = 2;
const OPS: usize = 40_000;
const HEADER: usize = 16;
/// Handles that readers pick from.
const PUBLISHED: usize = 256;

fn pool() -> Box<dyn Pool> {
    PoolBuilder::new(Allocator::zbud()).limit(2 << 20).build().expect("enough for a pool")
}

fn contents(number: u64, version: u64, len: usize) -> Vec<u8> {
    let mut bytes = Pattern::new(4, number, version).bytes(len);
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes[8..HEADER].copy_from_slice(&version.to_le_bytes());
    bytes
}

/// Who an object says it is: number and version. Panics unless all its bytes agree.
fn identify(slices: Slices<'_>) -> (u64, u64) {
    let bytes = slices.contiguous().expect("an object lies in one piece");
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    let (number, version) = (word(0), word(8));
    assert!(
        bytes == contents(number, version, bytes.len()),
        "object {number}, version {version}, of {} bytes is torn",
        bytes.len()
    );
    (number, version)
}

/// What all threads share.
struct Shared<'p> {
    pool: &'p dyn Pool,
    /// Handles of objects that an evictor frees or has freed.
    doomed: Mutex<HashSet<Handle>>,
    published: [AtomicU64; PUBLISHED],
    evicted: AtomicU64,
    reclaimed: AtomicU64,
    /// No owner works any more.
    done: AtomicBool,
}

struct Object {
    handle: Handle,
    number: u64,
    version: u64,
    len: usize,
}

impl Shared<'_> {
    fn is_doomed(&self, handle: Handle) -> bool {
        self.doomed.lock().expect("no panic").contains(&handle)
    }

    /// Verifies an object of its owner's; `false` if it was evicted.
    fn verify(&self, object: &Object) -> bool {
        let mut seen = None;
        match self.pool.read(object.handle, &mut |slices| seen = Some(identify(slices))) {
            Ok(()) => {
                assert_eq!(seen, Some((object.number, object.version)));
                assert_eq!(self.pool.len(object.handle).unwrap_or(object.len), object.len);
                true
            }
            Err(error) => {
                assert_eq!(error, HandleError::Stale);
                assert!(self.is_doomed(object.handle), "object {} is lost", object.number);
                false
            }
        }
    }

    /// Stores, writes, frees and verifies objects of its own; returns those that are left.
    fn own(&self, owner: u64, rng: &mut impl Rng) -> Vec<Object> {
        let (mut objects, mut next): (Vec<Object>, u64) = (Vec::new(), owner);
        for _ in 0..OPS {
            let at = rng.random_range(0..objects.len().max(1));
            match rng.random_range(0..10) {
                0..4 => {
                    let len = rng.random_range(HEADER..=4096);
                    match self.pool.store(&contents(next, 0, len)) {
                        Ok(handle) => {
                            objects.push(Object { handle, number: next, version: 0, len });
                            self.published[rng.random_range(0..PUBLISHED)]
                                .store(handle.to_raw(), SeqCst);
                            next += STORERS;
                        }
                        Err(error) => {
                            assert!(matches!(error, AllocError::OutOfMemory { .. }), "{error}");
                            // The others may have all the memory there is.
                            if !objects.is_empty() {
                                self.free(objects.swap_remove(at));
                            }
                        }
                    }
                }
                _ if objects.is_empty() => {}
                4..6 => self.free(objects.swap_remove(at)),
                6 => self.write(&mut objects[at]),
                _ => {
                    if !self.verify(&objects[at]) {
                        objects.swap_remove(at);
                    }
                }
            }
        }
        objects
    }

    fn free(&self, object: Object) {
        if let Err(error) = self.pool.free(object.handle) {
            assert_eq!(error, HandleError::Stale);
            assert!(self.is_doomed(object.handle), "object {} is lost", object.number);
        }
    }

    fn write(&self, object: &mut Object) {
        let bytes = contents(object.number, object.version + 1, object.len);
        match self.pool.write(object.handle, &bytes) {
            Ok(()) => object.version += 1,
            Err(WriteError::OutOfMemory { .. }) => {}
            Err(error) => {
                assert_eq!(error, WriteError::Handle(HandleError::Stale));
                assert!(self.is_doomed(object.handle), "object {} is lost", object.number);
            }
        }
    }

    /// Reclaims until the owners are done. The evictor verifies what it frees, and refuses, works and panics at times.
    fn reclaim(&self, rng: &mut impl Rng) {
        while !self.done.load(SeqCst) {
            let retries = rng.random_range(1..4);
            let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
                self.pool.reclaim(retries, &mut |handle| self.evict(handle, rng))
            }));
            match outcome {
                Ok(Ok(won)) => {
                    assert!(won.frames == 1 && won.kept < retries, "{won:?}");
                    self.reclaimed.fetch_add(1, SeqCst);
                }
                Ok(Err(error)) => {
                    let tried = match error {
                        ReclaimError::Again { tried } => tried,
                        ReclaimError::NothingToReclaim => 0,
                        error => panic!("{error}"),
                    };
                    assert!(tried <= retries);
                    thread::yield_now();
                }
                Err(payload) => {
                    if payload.downcast_ref::<Ordinary>().is_none() {
                        panic::resume_unwind(payload);
                    }
                }
            }
        }
    }

    fn evict(&self, handle: Handle, rng: &mut impl Rng) -> Result<(), NotEvicted> {
        // Stale: the owner freed it just now.
        _ = self.pool.read(handle, &mut |slices| _ = identify(slices));
        match rng.random_range(0..64) {
            0..12 => return Err(NotEvicted),
            12..16 => return Ok(()),
            16 => panic::panic_any(Ordinary),
            17 => {
                let made = self.pool.store(&contents(u64::MAX, 0, 700));
                made.into_iter().for_each(|made| self.free_filler(made));
            }
            18 => _ = self.pool.compact(8 << 10),
            _ => {}
        }
        self.doomed.lock().expect("no panic").insert(handle);
        match self.pool.free(handle) {
            Ok(()) => _ = self.evicted.fetch_add(1, SeqCst),
            Err(error) => assert_eq!(error, HandleError::Stale),
        }
        Ok(())
    }

    /// Frees an object of no owner, which another evictor may have been asked for meanwhile.
    fn free_filler(&self, handle: Handle) {
        if self.pool.free(handle).is_err() {
            assert!(self.is_doomed(handle), "an object of an evictor's is lost");
        }
    }

    /// Reads what others store, some of it for a while, and overwrites nothing.
    fn read(&self, rng: &mut impl Rng) {
        while !self.done.load(SeqCst) {
            let raw = self.published[rng.random_range(0..PUBLISHED)].load(SeqCst);
            let Some(handle) = Handle::from_raw(raw) else { continue };
            let long = rng.random_ratio(1, 8);
            let answer = self.pool.read(handle, &mut |slices| {
                let before = identify(slices);
                if long {
                    thread::yield_now();
                    assert_eq!(identify(slices), before, "the bytes of an open read changed");
                }
            });
            assert!(matches!(answer, Ok(()) | Err(HandleError::Stale)));
        }
    }

    /// Compacts, moves frames, allocates ranges, trims.
    fn rearrange(&self, rng: &mut impl Rng) {
        while !self.done.load(SeqCst) {
            match rng.random_range(0..8) {
                0..4 => _ = self.pool.compact(16 << 10),
                4 => _ = self.pool.trim(),
                5 => {
                    if let Ok(mut range) = self.pool.alloc_contiguous(8, 8) {
                        assert!(range.as_slice().iter().all(|byte| *byte == 0));
                        range.as_mut_slice().fill(0xee);
                        thread::yield_now();
                        assert!(range.as_slice().iter().all(|byte| *byte == 0xee));
                    }
                }
                _ => {
                    let raw = self.published[rng.random_range(0..PUBLISHED)].load(SeqCst);
                    Handle::from_raw(raw).map(|handle| self.pool.migrate(handle));
                }
            }
        }
    }
}

/// What an evictor panics with on purpose.
struct Ordinary;

/// Sets a flag when it goes, so that the others end as well when an owner panics.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

fn round(pool: &dyn Pool, seed: Seed, round: u64) {
    let shared = Shared {
        pool,
        doomed: Mutex::new(HashSet::new()),
        published: std::array::from_fn(|_| AtomicU64::new(0)),
        evicted: AtomicU64::new(0),
        reclaimed: AtomicU64::new(0),
        done: AtomicBool::new(false),
    };
    let shared = &shared;
    let rng = |thread: u64| seed.rng(round * 16 + thread);
    let left: Vec<Object> = thread::scope(|scope| {
        let done = Done(&shared.done);
        for thread in 0..2 {
            scope.spawn(move || shared.reclaim(&mut rng(8 + thread)));
        }
        scope.spawn(move || shared.read(&mut rng(10)));
        scope.spawn(move || shared.rearrange(&mut rng(11)));
        let owners: Vec<_> = (0..STORERS)
            .map(|owner| scope.spawn(move || shared.own(owner, &mut rng(owner))))
            .collect();
        let left = owners.into_iter().flat_map(|owner| owner.join().expect("an owner panicked"));
        let left = left.collect();
        drop(done);
        left
    });
    let alive: Vec<&Object> = left.iter().filter(|object| shared.verify(object)).collect();
    let stats = pool.stats();
    assert_eq!(stats.objects, alive.len() as u64, "round {round}");
    assert_eq!(pool.validate(), Ok(()), "round {round}");
    assert!(stats.frame_bytes / 4096 <= stats.objects, "{stats:?}");
    let (evicted, reclaimed) = (shared.evicted.load(SeqCst), shared.reclaimed.load(SeqCst));
    assert!(evicted > 100 && reclaimed > 100, "{evicted} objects evicted, {reclaimed} frames won");
    alive.into_iter().for_each(|object| pool.free(object.handle).expect("alive"));
    assert_eq!((pool.stats().objects, pool.stats().frame_bytes), (0, 0), "round {round}");
}

/// Panics of evictors are part of the test; their messages are not.
fn quiet_about_evictors() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref::<Ordinary>().is_none() {
            before(info);
        }
    }));
}

#[test]
fn reclaimers_beside_all_else_lose_nothing() {
    quiet_about_evictors();
    let seed = Seed::for_test(0x2b0d);
    let value = *seed;
    watchdog::within(DEADLOCK_AFTER, "reclaim beside everything", move || {
        let pool = pool();
        (0..3).for_each(|number| round(&*pool, value, number));
    });
}

#[test]
fn every_byte_survives_the_stress_of_all_pools() {
    let seed = Seed::for_test(0x2707);
    for threads in [2, 4, 8] {
        let plan = Plan { threads, ops: Some(200_000), ..Plan::new(*seed) };
        let outcome = watchdog::within(DEADLOCK_AFTER, "a stress run", move || {
            torture::run(&*pool(), &plan, &Watch::default())
        });
        outcome.unwrap_or_else(|failure| panic!("{threads} threads: {failure}"));
    }
}
