//! Steps of a pass, by a worker within its share of time, or by a caller.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use pagefold_sys::clock::thread_time;

use crate::{
    encoder::clusters::{Clusters, LIMIT_MIN},
    idle::{IdleReport, Next, Outcome, jobs},
    index::{Aged, Look},
    state::{StoreState, room::COMPACT_BYTES},
};

/// The leaves without work that one step passes.
const LEAVES: usize = 64;

// ORDERING (this file): Relaxed; statistics.
impl StoreState {
    /// If idle pages are made denser: the setting is on, and the limit is large enough.
    pub(crate) fn clusters(&self) -> Option<&Clusters> {
        self.encoder.clusters.as_ref().filter(|_| self.limit() >= LIMIT_MIN)
    }

    /// How long a worker has nothing to do for idle pages; `None`: a step is due.
    pub(crate) fn idle_wait(&self) -> Option<Duration> {
        if self.clusters().is_none() {
            return Some(Duration::MAX);
        }
        let now = Instant::now();
        let due = self.idle.pass.lock().due();
        let rest = due.map(|due| due.saturating_duration_since(now)).filter(|rest| !rest.is_zero());
        rest.or_else(|| self.idle.budget.lock().wait(now))
    }

    /// One step of a pass that is due or under way, within the share of time.
    pub(crate) fn idle_step(&self) {
        self.begin_pass_if_due();
        let (_, took) = self.timed_step(&mut IdleReport::default());
        self.idle.spend(took);
    }

    /// How many samples the first training takes, before any page joins a cluster.
    fn samples_first(&self) -> Option<usize> {
        let clusters = self.clusters().filter(|clusters| !clusters.joins())?;
        Some(clusters.first_samples())
    }

    pub(crate) fn begin_pass_if_due(&self) {
        let now = Instant::now();
        let mut pass = self.idle.pass.lock();
        if pass.due().is_some_and(|due| due <= now) {
            pass.begin(now, self.idle.interval, self.samples_first());
        }
    }

    /// Begins a pass, although none is due.
    pub(crate) fn begin_pass(&self) {
        let mut pass = self.idle.pass.lock();
        pass.end();
        pass.begin(Instant::now(), self.idle.interval, self.samples_first());
    }

    /// Does one job, or passes leaves without; `false` when no pass is under way any more.
    pub(crate) fn step_of_pass(&self, report: &mut IdleReport) -> bool {
        self.timed_step(report).0
    }

    fn timed_step(&self, report: &mut IdleReport) -> (bool, Duration) {
        let Some(clusters) = self.clusters() else { return (false, Duration::ZERO) };
        let began = thread_time();
        let goes_on = self.do_next(clusters, report);
        let took = thread_time().saturating_sub(began);
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.idle.counts.time_ns.fetch_add(ns, Ordering::Relaxed);
        if !goes_on && let Some(spilling) = &self.spilling {
            // Other pages are idle now.
            spilling.look_again();
        }
        (goes_on, took)
    }

    fn do_next(&self, clusters: &Clusters, report: &mut IdleReport) -> bool {
        for _ in 0..LEAVES {
            let next = self.next_of_pass();
            match next {
                Next::Samples => {
                    let samples = self.idle.pass.lock().end_look();
                    // Without any, no page is idle yet.
                    if !samples.is_empty() && clusters.prepare(&self.memory).is_ok() {
                        clusters.begin_joining();
                        if let Some(training) = clusters.training() {
                            training.train_on(samples);
                        }
                    }
                    return true;
                }
                Next::Leaf => {}
                Next::End(just_now) => {
                    self.idle.counts.passes.fetch_add(just_now.into(), Ordering::Relaxed);
                    let tidies = self.idle.pass.lock().tidies();
                    if just_now && !tidies {
                        self.rest();
                    }
                    return tidies;
                }
                Next::Tidy => {
                    let more = self.compact(COMPACT_BYTES).more;
                    if !more {
                        self.trim();
                        self.idle.pass.lock().end_tidying();
                        self.rest();
                    }
                    return more;
                }
                Next::Job(number, job) => {
                    let Some(space) = self.numbered_space(number) else {
                        return true;
                    };
                    if clusters.prepare(&self.memory).is_err() {
                        return self.pass_without_room();
                    }
                    let outcome = self.do_job(&space, &job);
                    report.note(&job, outcome);
                    self.idle.count(&job, outcome);
                    match outcome {
                        Outcome::NoRoom => return self.pass_without_room(),
                        Outcome::Done(_) => self.idle.pass.lock().note_saved(),
                        Outcome::NotWorth | Outcome::Changed | Outcome::Failed => {}
                    }
                    return true;
                }
            }
        }
        true
    }

    /// No cluster can be made now. The pass ends, unless the spiller waits for what it finds; whether it goes on.
    fn pass_without_room(&self) -> bool {
        let finds_idle = self.spilling.as_ref().is_some_and(|spilling| spilling.is_idle_only());
        let mut pass = self.idle.pass.lock();
        if finds_idle {
            pass.forget_jobs();
        } else {
            pass.end();
        }
        finds_idle
    }

    /// Moves the cursor to the next job, or over one leaf.
    fn next_of_pass(&self) -> Next {
        let mut pass = self.idle.pass.lock();
        let (number, key) = match pass.here() {
            Ok(at) => at,
            Err(next) => return next,
        };
        let Some(space) = self.space_from(number) else { return pass.end_of_keys() };
        let from = if space.number == number { key } else { 0 };
        let look = if pass.looks() { Look::Only } else { Look::AndAge };
        let Some(aged) = space.index.age(from, look) else {
            pass.go_to(space.number + 1, 0);
            return Next::Leaf;
        };
        match aged.first.checked_add(Aged::KEYS) {
            Some(key) => pass.go_to(space.number, key),
            None => pass.go_to(space.number + 1, 0),
        }
        pass.add(space.number, jobs(&aged))
    }

    /// Gives a page that was read twice an object of its own; whether one waited.
    pub(crate) fn return_one(&self) -> bool {
        let Some((number, key)) = self.idle.read.lock().pop_front() else { return false };
        if let Some(space) = self.numbered_space(number)
            && self.leave_cluster(&space, key)
        {
            self.idle.counts.returned.fetch_add(1, Ordering::Relaxed);
        }
        true
    }
}
