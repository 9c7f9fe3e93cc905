//! Torture by one thread beside the model, as [`Step`]s.
//!
//! A round begins with a fresh pool and ends with everything freed, so its steps reproduce a failure: [`Failed`] has
//! the [`Trace`], [`replay`] repeats it, [`shrink`] shortens it.

mod generator;
mod player;
mod shrink;

use std::{
    panic::{self, AssertUnwindSafe},
    sync::Arc,
};

use crate::faulty::{Chance, FaultPlan};
use pagefold_pool::Pool;

use crate::{
    model::{Checked, Depth},
    pattern::mix,
    torture::{Failure, Faults, Injected, Plan, Summary, Support, Tally, Watch},
    trace::{Header, Step, Trace},
};

use self::{
    generator::Generator,
    player::{Feed, Player},
};

pub use shrink::shrink;

/// Makes a round's pool, for faults of frames on a [`FaultySource`](crate::faulty::FaultySource) with the plan.
pub type Build<'a> = dyn Fn(&Arc<FaultPlan>) -> Box<dyn Pool> + 'a;

/// A run's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounds {
    /// One round of at most [`STEPS_MAX`](crate::trace::STEPS_MAX) steps.
    One,
    /// Until the plan or the watch ends it.
    Many,
}

/// A failure and its trace.
#[derive(Debug, Clone)]
pub struct Failed {
    /// The failure.
    pub failure: Failure,
    /// Its operation, counted over all rounds from 1.
    pub ops: u64,
    /// Its round's steps up to the failure.
    pub trace: Trace,
}

/// A successful run.
#[derive(Debug, Clone)]
pub struct Done {
    /// Its summary.
    pub summary: Summary,
    /// Steps skipped because their object does not exist.
    pub skipped: u64,
    /// The last round's steps.
    pub trace: Trace,
}

/// Runs the plan with one thread.
///
/// # Errors
/// [`Failed`]: the first mistake.
///
/// # Examples
/// ```
/// use pagefold_testkit::{
///     reference::{Mutant, MapPool},
///     seed::Seed,
///     sequence::{self, Rounds},
///     torture::{Plan, Watch},
/// };
/// use std::time::{Duration, Instant};
///
/// let plan = Plan { ops: Some(20_000), ..Plan::new(Seed::new(1)) };
/// let sound = |_: &_| Box::new(MapPool::new(1 << 20)) as _;
/// assert!(sequence::run(&sound, &plan, 1 << 20, Rounds::Many, &Watch::default()).is_ok());
///
/// // A pool with a mistake: the steps that show it, and a few of them that are enough.
/// let mutant = |_: &_| Box::new(MapPool::mutant(1 << 20, Mutant::CompactionSpoils)) as _;
/// let failed = sequence::run(&mutant, &plan, 1 << 20, Rounds::Many, &Watch::default()).unwrap_err();
/// let until = Instant::now() + Duration::from_secs(20);
/// let few = sequence::shrink(&mutant, &failed.trace, until, &Watch::default());
/// assert!(few.steps.len() < 20, "{:?}", few.steps);
/// assert!(sequence::replay(&mutant, &few, &Watch::default()).is_err());
/// ```
pub fn run(
    build: &Build<'_>,
    plan: &Plan,
    limit: usize,
    rounds: Rounds,
    watch: &Watch,
) -> Result<Done, Box<Failed>> {
    // Steps decide evictions.
    let faults = Faults { evict: Chance::NEVER, evict_panic: Chance::NEVER, ..plan.faults };
    let header = Header { seed: plan.seed, limit, faults, allocator: None };
    let mut summary = Summary::default();
    let mut round = 0;
    loop {
        let mut log = Log::default();
        let mut feed = |pool: &dyn Pool, support| -> Box<dyn Feed> {
            let left = plan.ops.map_or(u64::MAX, |ops| ops - summary.tally.total());
            let rng = plan.seed.rng(1 + round);
            let single = rounds == Rounds::One;
            Box::new(Generator::new(plan.clone(), rng, support, pool, limit, left, single))
        };
        let before = summary.tally.total();
        let outcome = attempt(build, &header, &mut feed, &mut log, watch);
        let ops = before + log.tally.total();
        let begun = before + log.steps.len() as u64;
        let allocator = Some(log.name.to_owned());
        let steps = std::mem::take(&mut log.steps);
        let trace = Trace { header: Header { allocator, ..header.clone() }, steps };
        if let Err(failure) = outcome {
            return Err(Box::new(Failed { failure, ops: begun, trace }));
        }
        log.add_to(&mut summary);
        round += 1;
        let enough = plan.ops.is_some_and(|most| ops >= most) || watch.stopped();
        if enough || rounds == Rounds::One {
            return Ok(Done { summary, skipped: log.skipped, trace });
        }
    }
}

/// Replays a trace.
///
/// # Errors
/// [`Failed`], whose trace ends at the failing step.
pub fn replay(build: &Build<'_>, trace: &Trace, watch: &Watch) -> Result<Done, Box<Failed>> {
    let mut log = Log::default();
    let outcome = {
        let mut feed = |_: &dyn Pool, _| -> Box<dyn Feed + '_> { Box::new(trace.steps.iter()) };
        attempt(build, &trace.header, &mut feed, &mut log, watch)
    };
    let ops = log.steps.len() as u64;
    let steps = std::mem::take(&mut log.steps);
    let trace = Trace { header: trace.header.clone(), steps };
    match outcome {
        Err(failure) => Err(Box::new(Failed { failure, ops, trace })),
        Ok(()) => {
            let mut summary = Summary::default();
            log.add_to(&mut summary);
            Ok(Done { summary, skipped: log.skipped, trace })
        }
    }
}

/// Outside the round because a pool may panic.
#[derive(Debug, Default)]
struct Log {
    name: &'static str,
    steps: Vec<Step>,
    tally: Tally,
    injected: Injected,
    support: Support,
    skipped: u64,
    cycles: u64,
    digest: u64,
    payload_bytes_max: u64,
    resident_bytes_end: u64,
    kernel_bytes_end: Option<u64>,
}

impl Log {
    fn note(&mut self, outcome: u64) {
        self.digest = mix(self.digest ^ outcome);
    }

    fn add_to(&self, summary: &mut Summary) {
        summary.tally.add(&self.tally);
        summary.injected.add(&self.injected);
        summary.support = self.support;
        summary.cycles += self.cycles;
        summary.payload_bytes_max = summary.payload_bytes_max.max(self.payload_bytes_max);
        summary.resident_bytes_end = summary.resident_bytes_end.max(self.resident_bytes_end);
        summary.kernel_bytes_end = summary.kernel_bytes_end.max(self.kernel_bytes_end);
        summary.digest = mix(summary.digest ^ self.digest);
    }
}

/// A panic of the pool is a failure.
fn attempt<'a>(
    build: &Build<'_>,
    header: &Header,
    feed: &mut dyn FnMut(&dyn Pool, Support) -> Box<dyn Feed + 'a>,
    log: &mut Log,
    watch: &Watch,
) -> Result<(), Failure> {
    let round = AssertUnwindSafe(|| {
        let source = header.faults.plan(header.seed.value());
        let pool = build(&source);
        log.name = pool.name();
        log.support = crate::torture::support(&*pool)?;
        let ended = {
            let mut feed = feed(&*pool, log.support);
            let mut on = Checked::new(&*pool, Depth::Result);
            let mut player = Player::new(header, &source, log, watch);
            source.pause(false);
            let played = player.play(&mut on, &mut *feed, usize::MAX);
            source.pause(true);
            played.and_then(|()| player.finish(&mut on))
        };
        log.injected.frame = source.failures();
        log.injected.isolate = source.isolations_injected();
        ended.map_err(|mismatch| Failure(mismatch.0))?;
        log.kernel_bytes_end = watch.drop_empty(pool)?;
        Ok(())
    });
    panic::catch_unwind(round).unwrap_or_else(|payload| Err(crate::torture::panicked(&*payload)))
}

#[cfg(test)]
mod tests;
