//! A workload in memory, and in a region.

use std::{
    ops::DerefMut,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use pagefold_region::{FaultMode, Region, RegionVec};
use serde::{Deserialize, Serialize};

use super::{
    config::{BenchConfig, BenchError, Share},
    workload::{Plan, Workload, digest},
};

/// A run: its time, its answer, the data that it left, and the faults of its time.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Ran {
    pub(super) seconds: f64,
    pub(super) answer: u64,
    pub(super) digest: u64,
    pub(super) faults: u64,
}

/// A thread that is busy until this is dropped.
pub(super) struct Busy {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Busy {
    /// None unless `wanted`.
    pub(super) fn start(wanted: bool) -> Option<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        // ORDERING: Relaxed, both; a flag that publishes nothing.
        let spin = move || {
            while !asked.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        };
        wanted.then(|| Self { stop, thread: Some(thread::spawn(spin)) })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It cannot panic.
            let _ = thread.join();
        }
    }
}

/// Times a workload; what it left is read afterwards.
pub(super) fn timed<W: DerefMut<Target = [u64]>>(
    workload: &Workload,
    plan: &Plan,
    words: &mut W,
    faults: impl Fn(&W) -> u64,
) -> Ran {
    let before = faults(words);
    let began = Instant::now();
    let answer = (workload.run)(words, plan);
    let seconds = began.elapsed().as_secs_f64();
    let faults = faults(words).saturating_sub(before);
    Ran { seconds, answer, digest: digest(words), faults }
}

pub(super) fn in_memory(workload: &Workload, plan: &Plan, data: &[u64]) -> Ran {
    timed(workload, plan, &mut data.to_vec(), |_| 0)
}

/// The mode that regions take.
///
/// # Errors
/// When the machine refuses it.
pub(super) fn taken(mode: FaultMode) -> Result<FaultMode, BenchError> {
    let region = Region::builder(1 << 20).resident_limit(1 << 20).fault_mode(mode).build()?;
    Ok(region.fault_mode().mode)
}

/// # Errors
/// When the machine refuses a region, or the limit is below the least.
pub(super) fn in_region(
    workload: &Workload,
    plan: &Plan,
    data: &[u64],
    share: Share,
    config: &BenchConfig,
) -> Result<Ran, BenchError> {
    let limit = share.bytes(size_of_val(data));
    let words =
        RegionVec::<u64>::zeroed(data.len(), |region| config.region(region).resident_limit(limit));
    let mut words = words?;
    words.copy_from_slice(data);
    Ok(timed(workload, plan, &mut words, |words| {
        words.region().stats().faults.iter().map(|one| one.count).sum()
    }))
}
