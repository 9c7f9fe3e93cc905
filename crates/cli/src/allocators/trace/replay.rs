//! Replays a trace on one pool and times it.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use pagefold_pool::{Handle, Pool, Stats};
use pagefold_testkit::{pattern::Pattern, trace::Step};
use serde::Serialize;

/// The figures of one allocator.
#[derive(Debug, Serialize)]
pub(super) struct ReplayFigures {
    pub(super) allocator: String,
    pub(super) refused: u64,
    pub(super) left_out: u64,
    /// Where payload would peak if nothing were refused.
    pub(super) fullest: Account,
    pub(super) end: Account,
    pub(super) store_ns: Option<f64>,
    pub(super) write_ns: Option<f64>,
    pub(super) read_ns: Option<f64>,
    pub(super) free_ns: Option<f64>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Account {
    pub(super) objects: u64,
    pub(super) payload_bytes: u64,
    pub(super) frame_bytes: u64,
    pub(super) metadata_bytes: u64,
    pub(super) density: f64,
    pub(super) metadata_bytes_per_object: Option<f64>,
}

impl From<Stats> for Account {
    fn from(stats: Stats) -> Self {
        Self {
            objects: stats.objects,
            payload_bytes: stats.payload_bytes,
            frame_bytes: stats.frame_bytes,
            metadata_bytes: stats.metadata_bytes,
            density: stats.density(),
            metadata_bytes_per_object: (stats.objects > 0)
                .then(|| stats.metadata_bytes as f64 / stats.objects as f64),
        }
    }
}

/// The step where payload peaks if nothing is refused.
pub(super) fn fullest(steps: &[Step]) -> usize {
    let (mut lengths, mut payload, mut most, mut at) = (HashMap::new(), 0, 0, 0);
    for (index, step) in steps.iter().enumerate() {
        match *step {
            Step::Store { object, len } | Step::Alloc { object, len } => {
                payload += u64::from(len);
                lengths.insert(object, len);
            }
            Step::Free { object } => {
                payload -= lengths.remove(&object).map_or(0, u64::from).min(payload);
            }
            _ => {}
        }
        if payload > most {
            (most, at) = (payload, index);
        }
    }
    at
}

#[derive(Debug, Default)]
struct Times {
    count: u32,
    sum: Duration,
}

impl Times {
    fn time<T>(&mut self, f: impl FnOnce() -> T) -> T {
        let begin = Instant::now();
        let outcome = f();
        self.sum += begin.elapsed();
        self.count += 1;
        outcome
    }

    fn mean_ns(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum.as_secs_f64() * 1e9 / f64::from(self.count))
    }
}

pub(super) struct Replay<'p> {
    pool: &'p dyn Pool,
    seed: u64,
    objects: HashMap<u32, (Handle, usize)>,
    buffer: Vec<u8>,
    refused: u64,
    left_out: u64,
    store: Times,
    write: Times,
    read: Times,
    free: Times,
}

impl<'p> Replay<'p> {
    pub(super) fn new(pool: &'p dyn Pool, seed: u64) -> Self {
        Self {
            pool,
            seed,
            objects: HashMap::new(),
            buffer: Vec::new(),
            refused: 0,
            left_out: 0,
            store: Times::default(),
            write: Times::default(),
            read: Times::default(),
            free: Times::default(),
        }
    }

    pub(super) fn run(mut self, steps: &[Step], fullest: usize) -> ReplayFigures {
        let mut account = Account::default();
        for (index, step) in steps.iter().enumerate() {
            if !self.perform(*step) {
                self.left_out += 1;
            }
            if index == fullest {
                account = self.pool.stats().into();
            }
        }
        ReplayFigures {
            allocator: self.pool.name().to_owned(),
            refused: self.refused,
            left_out: self.left_out,
            fullest: account,
            end: self.pool.stats().into(),
            store_ns: self.store.mean_ns(),
            write_ns: self.write.mean_ns(),
            read_ns: self.read.mean_ns(),
            free_ns: self.free.mean_ns(),
        }
    }

    /// `false`: no such step here, or no such object.
    fn perform(&mut self, step: Step) -> bool {
        let pool = self.pool;
        match step {
            Step::Store { object, len } | Step::Alloc { object, len } => {
                if self.objects.contains_key(&object) {
                    return false;
                }
                let len = usize::try_from(len).unwrap_or(usize::MAX);
                self.fill(object, 0, len);
                let bytes = &self.buffer;
                match self.store.time(|| pool.store(bytes)) {
                    Ok(handle) => _ = self.objects.insert(object, (handle, len)),
                    Err(_) => self.refused += 1,
                }
                true
            }
            Step::Write { object, version } => {
                let Some((handle, len)) = self.objects.get(&object).copied() else { return false };
                self.fill(object, version, len);
                let bytes = &self.buffer;
                self.refused += u64::from(self.write.time(|| pool.write(handle, bytes)).is_err());
                true
            }
            Step::Read { object } | Step::Hold { object, .. } => {
                let Some((handle, len)) = self.objects.get(&object).copied() else { return false };
                self.buffer.resize(len, 0);
                let bytes = &mut self.buffer;
                self.read.time(|| pool.read_into(handle, bytes)).is_ok()
            }
            Step::Free { object } => {
                let Some((handle, _)) = self.objects.remove(&object) else { return false };
                self.free.time(|| pool.free(handle)).is_ok()
            }
            Step::Compact { bytes } => {
                pool.compact(usize::try_from(bytes).unwrap_or(usize::MAX));
                true
            }
            Step::Trim => {
                pool.trim();
                true
            }
            _ => false,
        }
    }

    fn fill(&mut self, object: u32, version: u32, len: usize) {
        self.buffer.resize(len, 0);
        Pattern::new(self.seed, object.into(), version.into()).fill(&mut self.buffer);
    }
}
