//! Concurrent stress in which each reader verifies every byte.
//!
//! Bytes follow from (seed, object, version); a slot bounds the versions a reader may see. The test locks nothing
//! while it calls the pool.
//!
//! Each cycle fills, churns, frees most objects, and compacts beside readers; then all threads wait while the run
//! checks everything. At the end nothing may be left.
//!
//! With one thread the calls follow from the seed. Any `trait Pool` can be tortured:
//! ```
//! use std::{collections::HashMap, num::NonZeroU16, sync::{Arc, Mutex}};
//! use pagefold_pool::{
//!     AllocError, CompactReport, Handle, HandleError, LimitError, Pool, PoolId, Slices, Stats, TrimReport, TryReadError,
//!     Violation, WriteError,
//! };
//! use pagefold_testkit::{seed::Seed, torture::{self, Plan, Watch}};
//!
//! #[derive(Default)]
//! struct Vectors(Mutex<State>);
//!
//! #[derive(Default)]
//! struct State { objects: HashMap<Handle, Arc<[u8]>>, next: u64, payload: usize, limit: usize }
//!
//! impl Vectors {
//!     fn get(&self, handle: Handle) -> Result<Arc<[u8]>, HandleError> {
//!         self.0.lock().unwrap().objects.get(&handle).cloned().ok_or(HandleError::Stale)
//!     }
//! }
//!
//! impl Pool for Vectors {
//!     fn name(&self) -> &'static str { "vectors" }
//!     fn id(&self) -> PoolId { PoolId::from_raw(NonZeroU16::MIN) }
//!     fn max_len(&self) -> usize { 4096 }
//!     fn alloc(&self, len: usize) -> Result<Handle, AllocError> {
//!         self.store(&vec![0; len.min(4097)])
//!     }
//!     fn store(&self, bytes: &[u8]) -> Result<Handle, AllocError> {
//!         match bytes.len() {
//!             0 => return Err(AllocError::InvalidSize),
//!             len if len > 4096 => return Err(AllocError::TooLarge { len, max: 4096 }),
//!             _ => {}
//!         }
//!         let mut state = self.0.lock().unwrap();
//!         if state.payload + bytes.len() > state.limit {
//!             return Err(AllocError::OutOfMemory { limit: state.limit });
//!         }
//!         // A number is never used again, so a stale handle finds nothing.
//!         state.next += 1;
//!         let handle = self.id().handle(state.next);
//!         state.payload += bytes.len();
//!         state.objects.insert(handle, bytes.into());
//!         Ok(handle)
//!     }
//!     fn free(&self, handle: Handle) -> Result<(), HandleError> {
//!         let mut state = self.0.lock().unwrap();
//!         let object = state.objects.remove(&handle).ok_or(HandleError::Stale)?;
//!         state.payload -= object.len();
//!         Ok(())
//!     }
//!     fn len(&self, handle: Handle) -> Result<usize, HandleError> {
//!         Ok(self.get(handle)?.len())
//!     }
//!     fn write(&self, handle: Handle, bytes: &[u8]) -> Result<(), WriteError> {
//!         let mut state = self.0.lock().unwrap();
//!         let object = state.objects.get_mut(&handle).ok_or(HandleError::Stale)?;
//!         if object.len() != bytes.len() {
//!             return Err(WriteError::WrongLength { len: object.len(), given: bytes.len() });
//!         }
//!         // Readers keep the old bytes.
//!         *object = bytes.into();
//!         Ok(())
//!     }
//!     fn read(&self, handle: Handle, f: &mut dyn FnMut(Slices<'_>)) -> Result<(), HandleError> {
//!         f(Slices::new(&[&*self.get(handle)?]));
//!         Ok(())
//!     }
//!     fn try_read(&self, handle: Handle, f: &mut dyn FnMut(Slices<'_>)) -> Result<(), TryReadError> {
//!         Ok(self.read(handle, f)?)
//!     }
//!     fn compact(&self, _budget: usize) -> CompactReport { CompactReport::default() }
//!     fn trim(&self) -> TrimReport { TrimReport::default() }
//!     fn set_limit(&self, bytes: usize) -> Result<(), LimitError> {
//!         let mut state = self.0.lock().unwrap();
//!         if state.payload > bytes {
//!             return Err(LimitError::InUse { limit: bytes, resident: state.payload });
//!         }
//!         state.limit = bytes;
//!         Ok(())
//!     }
//!     fn stats(&self) -> Stats {
//!         let state = self.0.lock().unwrap();
//!         let mut stats = Stats::default();
//!         stats.objects = state.objects.len() as u64;
//!         stats.payload_bytes = state.payload as u64;
//!         stats.frame_bytes = state.payload as u64;
//!         stats.limit_bytes = state.limit as u64;
//!         stats
//!     }
//!     fn validate(&self) -> Result<(), Violation> {
//!         let state = self.0.lock().unwrap();
//!         let sum: usize = state.objects.values().map(|object| object.len()).sum();
//!         if sum == state.payload { Ok(()) } else { Err(Violation(format!("{sum} bytes, not {}", state.payload))) }
//!     }
//! }
//!
//! let pool = Vectors::default();
//! pool.set_limit(1 << 20)?;
//! let plan = Plan { threads: 2, ops: Some(50_000), ..Plan::new(Seed::new(1)) };
//! let summary = torture::run(&pool, &plan, &Watch::default())?;
//! assert!(summary.tally.total() >= 50_000 && !summary.support.migrate);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod faults;
mod mix;
mod moving;
mod slots;
mod tally;
mod worker;

use std::{
    any::Any,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use crate::faulty::FaultySource;
use pagefold_pool::{
    Allocator, BuildError, ContiguousError, MigrateError, NotEvicted, Pool, PoolBuilder,
    ReclaimError, default_source,
};
use thiserror::Error;

use crate::{
    corpus::Lengths,
    pattern::{Pattern, mix},
    seed::Seed,
};

use self::{
    slots::{Directory, ObjectSlot},
    worker::{Done, Worker},
};

pub use crate::faulty::FaultPlan;

pub use faults::{Faults, InvalidFaults};
pub use mix::{InvalidMix, Mix, Operation};
pub use tally::{Fault, Injected, OutcomeKind, Support, Tally};

/// A run's settings.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The source of all randomness.
    pub seed: Seed,
    /// Concurrent threads.
    pub threads: usize,
    /// Operations of all threads; `None`: until [`Watch::stop`].
    pub ops: Option<u64>,
    /// Weights of the operations.
    pub mix: Mix,
    /// Faults to inject.
    pub faults: Faults,
    /// The failing source's plan; paused while the run checks.
    pub source: Option<Arc<FaultPlan>>,
}

impl Plan {
    /// One thread, until stopped.
    pub fn new(seed: Seed) -> Self {
        Self {
            seed,
            threads: 1,
            ops: None,
            mix: Mix::default(),
            faults: Faults::default(),
            source: None,
        }
    }

    fn pause_faults(&self, paused: bool) {
        if let Some(source) = &self.source {
            source.pause(paused);
        }
    }
}

/// Observes and stops a run from another thread.
#[derive(Debug, Default)]
pub struct Watch {
    ops: AtomicU64,
    cycles: AtomicU64,
    stop: AtomicBool,
    probe: Option<Probe>,
}

/// This process's resident bytes by the kernel's count, if known.
pub type Probe = fn() -> Option<u64>;

/// Bytes by which the kernel's figure may exceed an empty pool's own: its counters lag, and the process allocates.
pub const KERNEL_TOLERANCE: u64 = 2 << 20;

impl Watch {
    /// Operations so far, without a few unreported ones.
    pub fn ops(&self) -> u64 {
        // ORDERING: Relaxed; a count.
        self.ops.load(Ordering::Relaxed)
    }

    /// Also compares an empty pool's own figure with the kernel's.
    pub fn measuring(probe: Probe) -> Self {
        Self { probe: Some(probe), ..Self::default() }
    }

    /// Drops an empty pool and returns the kernel's figure.
    ///
    /// # Errors
    /// [`Failure`] if that exceeds the pool's own by more than [`KERNEL_TOLERANCE`].
    pub fn drop_empty(&self, pool: Box<dyn Pool>) -> Result<Option<u64>, Failure> {
        let said = pool.stats().resident_bytes();
        let Some(probe) = self.probe else { return Ok(None) };
        let before = probe();
        drop(pool);
        let (Some(before), Some(after)) = (before, probe()) else { return Ok(None) };
        let held = before.saturating_sub(after);
        ensure!(
            held <= said + KERNEL_TOLERANCE,
            "the kernel counted {held} bytes for an empty pool that says it holds {said}"
        );
        Ok(Some(held))
    }

    /// Cycles begun.
    pub fn cycles(&self) -> u64 {
        // ORDERING: Relaxed; a count.
        self.cycles.load(Ordering::Relaxed)
    }

    pub(crate) fn report(&self, ops: u64) {
        // ORDERING: Relaxed; a count.
        self.ops.fetch_add(ops, Ordering::Relaxed);
    }

    pub(crate) fn note_cycle(&self) {
        // ORDERING: Relaxed; a count.
        self.cycles.fetch_add(1, Ordering::Relaxed);
    }

    /// Stops all threads; final checks follow.
    pub fn stop(&self) {
        // ORDERING: Relaxed; it publishes nothing.
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// A successful run's outcome.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Checked calls by kind.
    pub tally: Tally,
    /// Injected faults.
    pub injected: Injected,
    /// The pool's abilities.
    pub support: Support,
    /// Cycles begun.
    pub cycles: u64,
    /// The most payload bytes between cycles.
    pub payload_bytes_max: u64,
    /// Resident bytes at the end.
    pub resident_bytes_end: u64,
    /// The same by the kernel's count.
    pub kernel_bytes_end: Option<u64>,
    /// A hash of every outcome.
    pub digest: u64,
}

impl Summary {
    /// Names expected events that never happened.
    pub fn missing(&self, plan: &Plan) -> Vec<&'static str> {
        tally::missing(&self.tally, &self.injected, &plan.mix, &plan.faults, self.support)
    }
}

/// The pool's mistake, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Failure(pub String);

macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::torture::Failure(format!($($text)+)));
        }
    };
}
use ensure;

struct Shared<'a> {
    pool: &'a dyn Pool,
    plan: &'a Plan,
    watch: &'a Watch,
    slots: Vec<ObjectSlot>,
    directory: Directory,
    support: Support,
    limit: usize,
}

/// Beside 1 % of the limit.
pub(crate) const EMPTY_RESIDENT_MAX: u64 = 2 << 20;

/// Runs the stress on an empty pool.
///
/// # Errors
/// The first [`Failure`] of a thread.
///
/// # Panics
/// If the plan has no threads, or the pool is not empty.
///
/// # Examples
/// ```
/// use pagefold_testkit::{reference::MapPool, seed::Seed, torture::{self, Plan, Watch}};
///
/// let plan = Plan { ops: Some(2000), ..Plan::new(Seed::new(1)) };
/// let summary = torture::run(&MapPool::new(1 << 20), &plan, &Watch::default())?;
/// assert!(summary.tally.total() >= 2000);
/// # Ok::<(), torture::Failure>(())
/// ```
pub fn run(pool: &dyn Pool, plan: &Plan, watch: &Watch) -> Result<Summary, Failure> {
    assert!(plan.threads > 0, "a run needs at least one thread");
    let stats = pool.stats();
    assert_eq!(stats.objects, 0, "a run needs a pool of its own");
    let limit = usize::try_from(stats.limit_bytes).expect("a limit was a usize once");
    // More than needed: objects of compressed pages average about 1100 bytes.
    let slots = (0..(limit / 768).max(64)).map(ObjectSlot::new).collect();
    let support = support(pool)?;
    let directory = Directory::new();
    let shared = Shared { pool, plan, watch, slots, directory, support, limit };
    let mut summary = Summary { support, ..Summary::default() };
    while !watch.stopped() && plan.ops.is_none_or(|ops| summary.tally.total() < ops) {
        shared.cycle(&mut summary)?;
        shared.check_quiet(&mut summary)?;
    }
    shared.finish(&mut summary)?;
    Ok(summary)
}

/// Builds a pool behind a [`FaultySource`] with this plan.
///
/// # Errors
/// [`BuildError`].
pub fn build(
    allocator: Allocator,
    limit: usize,
    source: &Arc<FaultPlan>,
) -> Result<Box<dyn Pool>, BuildError> {
    let source = FaultySource::new(default_source(), Arc::clone(source));
    PoolBuilder::new(allocator).limit(limit).source(Box::new(source)).build()
}

pub(crate) fn support(pool: &dyn Pool) -> Result<Support, Failure> {
    let reclaim = pool.reclaim(1, &mut |_| Err(NotEvicted));
    ensure!(
        matches!(reclaim, Err(ReclaimError::NothingToReclaim | ReclaimError::Unsupported)),
        "reclaim from an empty pool: {reclaim:?}"
    );
    let contiguous = pool.alloc_contiguous(0, 1).err();
    ensure!(
        matches!(contiguous, Some(ContiguousError::NoFrames | ContiguousError::Unsupported)),
        "a range of 0 frames: {contiguous:?}"
    );
    let stored = pool.store(&[1]);
    let handle = stored.map_err(|error| Failure(format!("the first byte: {error}")))?;
    let migrate = pool.migrate(handle);
    let freed = pool.free(handle);
    ensure!(freed.is_ok(), "free of the first byte: {freed:?}");
    Ok(Support {
        migrate: migrate != Err(MigrateError::Unsupported),
        contiguous: contiguous != Some(ContiguousError::Unsupported),
        reclaim: reclaim != Err(ReclaimError::Unsupported),
    })
}

impl Shared<'_> {
    fn cycle(&self, summary: &mut Summary) -> Result<(), Failure> {
        let threads = self.plan.threads as u64;
        let left =
            self.plan.ops.map_or(u64::MAX, |ops| (ops - summary.tally.total()).div_ceil(threads));
        let lengths = usize::try_from(summary.cycles % 4).ok().and_then(|turn| {
            [Lengths::Compressed, Lengths::Wide, Lengths::Borders].get(turn).copied()
        });
        let work = |thread| {
            let rng = self.plan.seed.rng(1 + summary.cycles * threads + thread);
            let run = AssertUnwindSafe(|| Worker::new(self, rng, lengths, left).run(thread));
            panic::catch_unwind(run).unwrap_or_else(|payload| {
                // As the first failure does.
                self.watch.stop();
                Err(panicked(&*payload))
            })
        };
        self.plan.pause_faults(false);
        let outcomes = if threads == 1 {
            // The caller's thread keeps its per-thread state between cycles.
            vec![work(0)]
        } else {
            thread::scope(|scope| {
                let running: Vec<_> =
                    (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
                running
                    .into_iter()
                    .map(|thread| thread.join().unwrap_or_else(|payload| Err(panicked(&*payload))))
                    .collect()
            })
        };
        self.plan.pause_faults(true);
        summary.cycles += 1;
        self.watch.note_cycle();
        for outcome in outcomes {
            let Done { tally, injected, digest } = outcome?;
            summary.tally.add(&tally);
            summary.injected.add(&injected);
            summary.digest = mix(summary.digest ^ digest);
        }
        Ok(())
    }

    fn check_quiet(&self, summary: &mut Summary) -> Result<(), Failure> {
        let restored = self.pool.set_limit(self.limit);
        ensure!(
            restored.is_ok(),
            "the first limit of {} bytes cannot be restored: {restored:?}",
            self.limit
        );
        let (mut objects, mut payload) = (0, 0);
        for slot in &self.slots {
            let Some(object) = slot.resting()? else { continue };
            objects += 1;
            payload += object.len as u64;
            let pattern = Pattern::new(self.plan.seed.value(), object.id, object.version);
            let mut verdict = Err("its closure was not called".to_owned());
            let answer = self.pool.read(object.handle, &mut |slices| {
                verdict = pattern.check(slices).map_err(|difference| difference.to_string());
                if slices.len() != object.len {
                    verdict = Err(format!("{} bytes instead of {}", slices.len(), object.len));
                }
            });
            ensure!(
                answer.is_ok() && verdict.is_ok(),
                "between cycles, {object:?}: {answer:?}, {verdict:?}"
            );
        }
        let stats = self.pool.stats();
        let agrees = (stats.objects, stats.payload_bytes) == (objects, payload);
        ensure!(
            agrees,
            "the pool counts {} objects of {} bytes; there are {objects} of {payload}",
            stats.objects,
            stats.payload_bytes
        );
        ensure!(
            stats.resident_bytes() <= stats.limit_bytes,
            "more is resident than the limit: {stats:?}"
        );
        ensure!(stats.contiguous_bytes == 0, "every range was given back: {stats:?}");
        let valid = self.pool.validate();
        ensure!(valid.is_ok(), "validate(): {valid:?}");
        summary.payload_bytes_max = summary.payload_bytes_max.max(payload);
        Ok(())
    }

    fn finish(&self, summary: &mut Summary) -> Result<(), Failure> {
        for slot in &self.slots {
            if let Some(object) = slot.resting()? {
                let answer = self.pool.free(object.handle);
                ensure!(answer.is_ok(), "the last free of {object:?}: {answer:?}");
            }
        }
        self.pool.trim();
        let stats = self.pool.stats();
        ensure!(
            (stats.objects, stats.payload_bytes, stats.frame_bytes) == (0, 0, 0),
            "something is left: {stats:?}"
        );
        let most = EMPTY_RESIDENT_MAX + self.limit as u64 / 100;
        ensure!(
            stats.resident_bytes() <= most,
            "{} bytes stay resident in an empty pool: {stats:?}",
            stats.resident_bytes()
        );
        let valid = self.pool.validate();
        ensure!(valid.is_ok(), "validate() of the empty pool: {valid:?}");
        summary.resident_bytes_end = stats.resident_bytes();
        if let Some(source) = &self.plan.source {
            summary.injected.frame = source.failures();
            summary.injected.isolate = source.isolations_injected();
        }
        Ok(())
    }
}

pub(crate) fn panicked(payload: &(dyn Any + Send)) -> Failure {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    Failure(format!("a thread panicked: {}", text.unwrap_or("without words")))
}

#[cfg(test)]
pub(crate) mod coverage;
#[cfg(test)]
mod tests;
