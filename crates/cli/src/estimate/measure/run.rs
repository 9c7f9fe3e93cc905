//! One codec with one pool, phase by phase. After each phase every live page is loaded, timed, and checked.
//!
//! `fill` stores each page once; `churn` overwrites random pages; `half_freed` frees a random half; `compacted`
//! compacts and trims. A pool at its limit ends the run after that phase. Ctrl-C ends the run without a check.

use std::{
    sync::atomic::AtomicBool,
    thread,
    time::{Duration, Instant},
};

use pagefold_pool::{Pool, Stats};
use pagefold_procfs::{Process, rss_anon};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use crate::{
    estimate::{
        error::EstimateError,
        measure::{
            codecs::Codecs,
            filled::Filled,
            idle,
            latency::Latency,
            passes::{self, Check, Ended, Pass, REWRITES, SlotShare},
            projection::{Lengths, Whole},
            worker::{Shared, SpoolSlot, Worker},
        },
        read::spool::Spool,
        result::{
            clusters::{Clusters, Groups},
            kept::Kept,
            row::{Phase, Row},
            sizes::Sizes,
        },
    },
    interrupt::Interrupt,
    progress::Progress,
};

/// Bytes that one call of `compact` may move between checks for Ctrl-C.
const COMPACT_BUDGET: usize = 16 << 20;

/// The memory of a run, allocated before the pool is built.
#[derive(Debug)]
pub(crate) struct Bookkeeping {
    slots: Vec<SpoolSlot>,
    workers: Vec<Worker>,
    /// Slots of each worker: whole units.
    shares: Vec<usize>,
    pub(crate) filled: Filled,
    /// Of a sample: the lengths to project.
    pub(crate) lengths: Option<Lengths>,
}

impl Bookkeeping {
    pub(crate) fn new(spool: &Spool, threads: usize) -> Self {
        let shares = shares(spool, threads);
        let slot = |source| SpoolSlot { source, payload: 0, kept: Kept::Nothing };
        #[expect(clippy::cast_possible_truncation, reason = "a spool has at most u32::MAX pages")]
        let slots: Vec<_> = (0..spool.len() as u32).map(slot).collect();
        #[expect(clippy::cast_possible_truncation, reason = "a share is a part of the spool")]
        let workers = shares.iter().map(|&share| Worker::new(share as u32)).collect();
        Self { slots, workers, shares, filled: Filled::new(spool.groups()), lengths: None }
    }
}

/// Equal shares, each lengthened to the end of its last unit.
fn shares(spool: &Spool, threads: usize) -> Vec<usize> {
    let wanted = spool.len().div_ceil(threads).max(1);
    let (mut shares, mut begin) = (Vec::with_capacity(threads), 0);
    while begin < spool.len() {
        let end = (begin + wanted).min(spool.len());
        let end = (end..spool.len()).find(|&page| spool.begins_unit(page)).unwrap_or(spool.len());
        shares.push(end - begin);
        begin = end;
    }
    shares
}

pub(crate) struct Measurement<'a> {
    pub(crate) spool: &'a Spool,
    pub(crate) codecs: Codecs<'a>,
    pub(crate) pool: &'a dyn Pool,
    pub(crate) interrupt: &'a Interrupt,
    pub(crate) progress: &'a Progress,
    pub(crate) books: Bookkeeping,
    /// RssAnon before the pool was built.
    pub(crate) rss_before: Option<u64>,
    pub(crate) seed: u64,
    pub(crate) whole: Whole,
    /// Passes so far; each has its own random stream.
    pub(crate) passes: u64,
}

impl Measurement<'_> {
    /// Adds a row for each phase begun; returns the first mismatch.
    ///
    /// # Errors
    /// When the pool refuses a page below its limit; earlier rows are valid.
    pub(crate) fn phases(
        &mut self,
        lifecycle: bool,
        rows: &mut Vec<Row>,
    ) -> Result<Option<String>, EstimateError> {
        let phases = if lifecycle { &Phase::ALL[..] } else { &Phase::ALL[..1] };
        for &phase in phases {
            for worker in &mut self.books.workers {
                worker.stores.clear();
                worker.loads.clear();
            }
            let moved_before = self.pool.stats().moved_bytes;
            let begun = Instant::now();
            let ended = self.perform(phase)?;
            let elapsed = begun.elapsed();
            // Before the check, whose threads have stacks.
            let (stats, rss) = (self.pool.stats(), rss_anon(Process::Current).ok());
            let check = self.check(phase, &stats)?;

            if phase == Phase::Fill {
                self.finish_fill(ended);
            }
            rows.push(self.row(phase, elapsed, &stats, rss, moved_before, ended, &check));
            if let Check::Mismatch(mismatch) = check {
                return Ok(Some(mismatch));
            }
            if ended != Ended::Complete || matches!(check, Check::Unfinished) {
                break;
            }
        }
        Ok(None)
    }

    /// Adds up what was stored, and keeps the lengths for the projection.
    fn finish_fill(&mut self, ended: Ended) {
        if ended == Ended::Complete && (self.books.slots.len() as u64) < self.whole.pages {
            let lengths = Lengths::draw(self.pool, &self.books.slots, self.whole, self.seed);
            self.books.lengths = Some(lengths);
        }
        self.books.filled.add(self.spool, &self.books.slots);
    }

    fn perform(&mut self, phase: Phase) -> Result<Ended, EstimateError> {
        let pages = self.books.slots.len() as u64;
        let stage = format!("{} {}", self.codecs.name, phase.name());
        match phase {
            Phase::Fill => {
                self.progress.begin(stage, pages);
                match self.codecs.clusters {
                    Some(_) => self.workers(idle::fill),
                    None => self.workers(passes::fill),
                }
            }
            Phase::Churn => {
                self.progress.begin(stage, pages * REWRITES as u64);
                self.workers(passes::churn)
            }
            Phase::HalfFreed => {
                self.progress.begin(stage, pages / 2);
                self.workers(passes::free_half)
            }
            Phase::Compacted => {
                self.progress.begin(stage, 0);
                Ok(self.compact())
            }
        }
    }

    /// Loads and compares every live page; compares the object count with the live handles.
    fn check(&mut self, phase: Phase, stats: &Stats) -> Result<Check, EstimateError> {
        if self.interrupt.is_requested() {
            return Ok(Check::Unfinished);
        }
        let live =
            self.books.slots.iter().filter(|slot| slot.kept.object().is_some()).count() as u64;
        let who = format!("{} with {}, phase {}", self.pool.name(), self.codecs.name, phase.name());
        if stats.objects != live {
            return Ok(Check::Mismatch(format!(
                "{who}: the pool counts {} objects and {live} were stored",
                stats.objects
            )));
        }
        self.progress.begin(format!("{} check", self.codecs.name), self.books.slots.len() as u64);
        let checks = self.each_worker(passes::load_all)?;
        let mismatch = checks.into_iter().fold(Check::Intact, Check::worst);
        Ok(match mismatch {
            Check::Mismatch(page) => Check::Mismatch(format!("{who}: {page}")),
            other => other,
        })
    }

    /// Compacts until the pool gains nothing or makes no progress, then trims.
    fn compact(&mut self) -> Ended {
        let worth_moving = self.pool.stats().payload_bytes.saturating_mul(4);
        let mut moved = 0;
        loop {
            let report = self.pool.compact(COMPACT_BUDGET);
            let moved_now = report.moved_bytes + report.migrated_bytes;
            moved += moved_now;
            let idle = moved_now == 0 && report.freed_frames == 0 && report.freed_pageblocks == 0;
            if self.interrupt.is_requested() {
                return Ended::Interrupted;
            }
            if !report.more || idle || moved > worth_moving {
                break;
            }
        }
        self.pool.trim();
        Ended::Complete
    }

    fn workers<F>(&mut self, pass: F) -> Result<Ended, EstimateError>
    where
        F: Fn(&Shared<'_>, &mut Worker, SlotShare<'_>) -> Pass<Ended> + Sync,
    {
        Ok(self.each_worker(pass)?.into_iter().max().unwrap_or(Ended::Complete))
    }

    fn each_worker<T, F>(&mut self, pass: F) -> Result<Vec<T>, EstimateError>
    where
        T: Send,
        F: Fn(&Shared<'_>, &mut Worker, SlotShare<'_>) -> Pass<T> + Sync,
    {
        self.passes += 1;
        let halted = AtomicBool::new(false);
        let (interrupt, progress) = (self.interrupt, self.progress);
        let shared = Shared {
            spool: self.spool,
            codecs: self.codecs,
            pool: self.pool,
            interrupt,
            progress,
            halted: &halted,
        };
        let (pass, shared, passes, seed) = (&pass, &shared, self.passes, self.seed);
        let (mut rest, mut begin) = (&mut self.books.slots[..], 0);
        let shares = self.books.shares.iter().map(|&share| {
            let slots = rest.split_off_mut(..share).expect("shares add up to all slots");
            let base = begin;
            begin += share;
            (base, slots)
        });
        let shares = self.books.workers.iter_mut().zip(shares).enumerate();
        thread::scope(|scope| {
            let mut threads = Vec::with_capacity(shares.len());
            for (number, (worker, (base, slots))) in shares {
                let mut random = ChaCha8Rng::seed_from_u64(seed);
                random.set_stream((passes << 32) | number as u64);
                let share = SlotShare { slots, base, random };
                let body = move || {
                    let outcome = pass(shared, worker, share);
                    if outcome.is_err() {
                        shared.halt();
                    }
                    outcome
                };
                match thread::Builder::new()
                    .name(format!("worker {number}"))
                    .spawn_scoped(scope, body)
                {
                    Ok(thread) => threads.push(thread),
                    Err(error) => {
                        // The scope joins the running threads.
                        shared.halt();
                        return Err(EstimateError::Thread(error));
                    }
                }
            }
            threads
                .into_iter()
                .map(|thread| {
                    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
                .collect()
        })
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "each is one measurement, and they meet only here"
    )]
    fn row(
        &self,
        phase: Phase,
        elapsed: Duration,
        stats: &Stats,
        rss: Option<u64>,
        moved_before: u64,
        ended: Ended,
        check: &Check,
    ) -> Row {
        let mut row = Row::new(self.codecs.name, self.pool.name(), phase, stats);
        row.codec_bytes = self.codecs.metadata_bytes();
        for slot in &self.books.slots {
            row.count(slot.kept, self.spool.page_len(slot.source as usize) as u64);
        }
        row.dictionary_bytes = self.codecs.dictionary_bytes;
        row.clusters = self.codecs.clusters.map(|clusters| {
            let mut groups = Groups::default();
            self.books.workers.iter().for_each(|worker| groups.add(worker.making.groups));
            Clusters::new(clusters.name, groups, self.pool.max_len())
        });
        row.finish();
        row.rss_delta_bytes = rss.zip(self.rss_before).map(|(now, before)| {
            i64::try_from(now).unwrap_or(i64::MAX).saturating_sub_unsigned(before)
        });
        row.moved_bytes = stats.moved_bytes - moved_before;
        row.elapsed_ms = elapsed.as_millis().try_into().unwrap_or(u64::MAX);
        row.store_us = self.merged(|worker| &worker.stores).percentiles();
        row.load_us = self.merged(|worker| &worker.loads).percentiles();
        row.sizes = (phase == Phase::Fill).then(|| self.sizes());
        row.limit_reached = ended == Ended::LimitReached;
        row.interrupted = ended == Ended::Interrupted || matches!(check, Check::Unfinished);
        row.verified = matches!(check, Check::Intact);
        row
    }

    fn sizes(&self) -> Sizes {
        let mut all = Sizes::new();
        for worker in &self.books.workers {
            all.merge(&worker.sizes);
        }
        all
    }

    fn merged(&self, latency: impl Fn(&Worker) -> &Latency) -> Latency {
        let mut all = Latency::new();
        for worker in &self.books.workers {
            all.merge(latency(worker));
        }
        all
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
