//! One run of a fresh pool, with or without an injected bug.

use std::{
    fmt::Write as _,
    io::BufWriter,
    panic,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use pagefold_pool::{BuildError, Pool, PoolBuilder};
use pagefold_procfs::{Process, rss_anon};
use pagefold_testkit::{
    injected_bug::BuggyPool,
    reference::MapPool,
    sequence::{self, Rounds},
    torture::{self, Failure, FaultPlan, Faults, Plan, Summary, Watch},
    trace::Trace,
};

use crate::{
    allocators::torture::{
        config::{BugKind, Length, PoolUnderTest, TortureConfig},
        observe::Observed,
    },
    interrupt::Interrupt,
    progress::Progress,
};

/// About one eligible call in this many.
const BUG_ONE_IN: u64 = 500;
/// A run of this length must see every kind of event.
const LONG: Duration = Duration::from_secs(20);
const SHRINK_FOR: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) pool: PoolUnderTest,
    pub(super) bug: Option<BugKind>,
    plan: Plan,
    limit: usize,
    trace: Option<Trace>,
    keep: bool,
}

pub(super) struct TortureRun {
    pub(super) pool: PoolUnderTest,
    pub(super) bug: Option<BugKind>,
    pub(super) elapsed: Duration,
    pub(super) outcome: Outcome,
    /// Replay steps that did nothing.
    pub(super) skipped: u64,
    pub(super) trace: Option<Trace>,
    pub(super) plan: Plan,
}

pub(super) enum Outcome {
    Passed(Summary),
    Failed(Found),
}

pub(super) struct Found {
    pub(super) failure: Failure,
    pub(super) operation: u64,
    pub(super) command: String,
    pub(super) few: Option<Few>,
}

pub(super) struct Few {
    pub(super) trace: Trace,
    pub(super) path: Option<PathBuf>,
    pub(super) command: Option<String>,
}

impl Job {
    pub(super) fn new(
        config: &TortureConfig,
        pool: PoolUnderTest,
        bug: Option<BugKind>,
        trace: Option<Trace>,
    ) -> Self {
        let limit = config.limit.unwrap_or_default();
        let recorded = trace.as_ref().map_or_else(Faults::default, |trace| trace.header.faults);
        let faults = config.faults.unwrap_or(recorded);
        let trace = trace.map(|mut trace| {
            (trace.header.limit, trace.header.faults) = (limit, faults);
            trace
        });
        let plan = Plan {
            threads: config.threads.get(),
            ops: match config.length {
                Length::Ops(ops) => Some(ops),
                Length::Time(_) => None,
            },
            mix: config.mix.clone(),
            faults,
            ..Plan::new(trace.as_ref().map_or(config.seed, |trace| trace.header.seed))
        };
        Self { pool, bug, plan, limit, trace, keep: config.record.is_some() }
    }

    pub(super) fn check(&self) -> Result<(), BuildError> {
        match self.pool {
            PoolUnderTest::Allocator(allocator) => {
                let built = PoolBuilder::new(allocator).limit(self.limit).build();
                built.map(drop)
            }
            PoolUnderTest::Reference(_) => Ok(()),
        }
    }

    fn build(&self, source: &Arc<FaultPlan>) -> Box<dyn Pool> {
        let pool: Box<dyn Pool> = match self.pool {
            PoolUnderTest::Allocator(allocator) => torture::build(allocator, self.limit, source)
                .unwrap_or_else(|error| panic!("no pool of {allocator}: {error}")),
            PoolUnderTest::Reference(None) => Box::new(MapPool::new(self.limit)),
            PoolUnderTest::Reference(Some(mutant)) => Box::new(MapPool::mutant(self.limit, mutant)),
        };
        match self.bug {
            None => pool,
            Some(kind) => {
                let bug = BuggyPool::new(pool, self.plan.seed.value(), BUG_ONE_IN);
                Box::new(bug.only(kind.bug()))
            }
        }
    }

    pub(super) fn run(
        self,
        share: Option<Duration>,
        interrupt: &Interrupt,
        progress: &Progress,
    ) -> TortureRun {
        let watch = match self.pool {
            // The kernel reports the return of mapped memory only.
            PoolUnderTest::Allocator(_) => Watch::measuring(|| rss_anon(Process::Current).ok()),
            PoolUnderTest::Reference(_) => Watch::default(),
        };
        let injected = self.bug.map(|kind| format!(" with {}", kind.name())).unwrap_or_default();
        let observed = Observed {
            name: format!("{}{injected}", self.pool),
            watch: &watch,
            command: &|ops| self.command(ops),
        };
        let begin = Instant::now();
        let (outcome, skipped, trace) =
            observed.run(share, interrupt, progress, || self.work(&watch));
        let elapsed = begin.elapsed();
        let cut = interrupt.is_requested();
        let outcome = match outcome {
            Outcome::Passed(summary) if !cut && elapsed >= LONG && self.is_random() => {
                self.complete(summary)
            }
            outcome => outcome,
        };
        let Self { pool, bug, plan, .. } = self;
        TortureRun { pool, bug, elapsed, outcome, skipped, trace, plan }
    }

    fn is_random(&self) -> bool {
        self.trace.is_none() && self.bug.is_none()
    }

    fn complete(&self, summary: Summary) -> Outcome {
        let missing = summary.missing(&self.plan);
        if missing.is_empty() {
            return Outcome::Passed(summary);
        }
        let text = format!("these never happened in {LONG:?} or more: {}", missing.join(", "));
        let operation = summary.tally.total();
        let command = self.command(operation);
        Outcome::Failed(Found { failure: Failure(text), operation, command, few: None })
    }

    fn work(&self, watch: &Watch) -> (Outcome, u64, Option<Trace>) {
        if self.plan.threads > 1 {
            return (self.with_threads(watch), 0, None);
        }
        let build = |source: &_| self.build(source);
        let rounds = if self.keep { Rounds::One } else { Rounds::Many };
        let done = match &self.trace {
            Some(trace) => sequence::replay(&build, trace, watch),
            None => sequence::run(&build, &self.plan, self.limit, rounds, watch),
        };
        match done {
            Ok(done) => (Outcome::Passed(done.summary), done.skipped, Some(done.trace)),
            Err(failed) => {
                // A bug's effect depends on the call's number.
                let few = self.bug.is_none().then(|| self.shrink(&failed.trace));
                let (failure, operation) = (failed.failure.clone(), failed.ops);
                let command = self.command(operation);
                let found = Found { failure, operation, command, few };
                (Outcome::Failed(found), 0, Some(failed.trace))
            }
        }
    }

    fn with_threads(&self, watch: &Watch) -> Outcome {
        let source = self.plan.faults.plan(self.plan.seed.value());
        let pool = self.build(&source);
        let plan = Plan { source: Some(source), ..self.plan.clone() };
        let outcome = torture::run(&*pool, &plan, watch).and_then(|mut summary| {
            summary.kernel_bytes_end = watch.drop_empty(pool)?;
            Ok(summary)
        });
        match outcome {
            Ok(summary) => Outcome::Passed(summary),
            Err(failure) => {
                let operation = watch.ops();
                let command = self.command(operation.max(1));
                Outcome::Failed(Found { failure, operation, command, few: None })
            }
        }
    }

    /// Writes the sequence to a file.
    fn shrink(&self, trace: &Trace) -> Few {
        // The run's own watch may have been stopped.
        let watch = &Watch::default();
        let build = |source: &_| self.build(source);
        // A panicking pool would print in each attempt.
        let hook = panic::take_hook();
        panic::set_hook(Box::new(|_| {}));
        let trace = sequence::shrink(&build, trace, Instant::now() + SHRINK_FOR, watch);
        panic::set_hook(hook);
        let path = self.write(&trace);
        let command = path.as_ref().map(|path| {
            let path = path.display();
            format!("pagefold torture --allocator {} --replay {path}", self.pool)
        });
        Few { trace, path, command }
    }

    fn write(&self, trace: &Trace) -> Option<PathBuf> {
        let prefix = format!("pagefold-torture-{}-", self.pool);
        let file = tempfile::Builder::new()
            .prefix(&prefix.replace(':', "-"))
            .suffix(".trace")
            .tempfile()
            .ok()?;
        trace.write(&mut BufWriter::new(file.as_file())).ok()?;
        file.keep().ok().map(|(_, path)| path)
    }

    pub(super) fn command(&self, ops: u64) -> String {
        let plan = &self.plan;
        let mut line = format!("pagefold torture --allocator {}", self.pool);
        // A write to a string cannot fail.
        let mut add = |text: std::fmt::Arguments<'_>| _ = line.write_fmt(text);
        add(format_args!(
            " --threads {} --seed {} --limit {} --ops {ops}",
            plan.threads, plan.seed, self.limit
        ));
        add(format_args!(" --mix {} --faults {}", plan.mix, plan.faults));
        if let Some(bug) = self.bug {
            add(format_args!(" --inject-bug={}", bug.name()));
        }
        line
    }
}
