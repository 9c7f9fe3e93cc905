//! Where a pass is: one cursor for all threads that work on it.

use std::time::{Duration, Instant};

use super::plan::{Job, jobs};
use crate::{index::Aged, state::StoreState};

#[derive(Debug)]
pub(super) struct Pass {
    /// The next leaf: the number of the space, and a key; `None` between passes.
    at: Option<(u64, u64)>,
    /// The jobs of the leaf before, last first, and their space.
    jobs: (u64, Vec<Job>),
    /// When the next one begins.
    due: Instant,
}

/// What a thread does next.
pub(super) enum Next {
    Job(u64, Job),
    /// A leaf without jobs was passed.
    Leaf,
    /// The pass is over; whether one was under way.
    End(bool),
}

impl Pass {
    pub(super) fn new(interval: Duration) -> Self {
        Self { at: None, jobs: (0, Vec::new()), due: Instant::now() + interval }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        (self.at.is_none() && self.jobs.1.is_empty()).then_some(self.due)
    }

    /// Begins a pass, unless one is under way.
    pub(super) fn begin(&mut self, now: Instant, interval: Duration) {
        if self.at.is_none() && self.jobs.1.is_empty() {
            (self.at, self.due) = (Some((0, 0)), now + interval);
        }
    }

    /// Forgets the jobs at hand and ends the pass.
    pub(super) fn end(&mut self) {
        (self.at, self.jobs.1) = (None, Vec::new());
    }

    pub(super) fn next(&mut self, store: &StoreState) -> Next {
        if let Some(job) = self.jobs.1.pop() {
            return Next::Job(self.jobs.0, job);
        }
        let Some((number, key)) = self.at else { return Next::End(false) };
        let Some(space) = store.space_from(number) else {
            self.at = None;
            return Next::End(true);
        };
        let from = if space.number == number { key } else { 0 };
        let Some(aged) = space.index.age(from) else {
            self.at = Some((space.number + 1, 0));
            return Next::Leaf;
        };
        self.at = match aged.first.checked_add(Aged::KEYS) {
            Some(key) => Some((space.number, key)),
            None => Some((space.number + 1, 0)),
        };
        let mut jobs = jobs(&aged);
        jobs.reverse();
        self.jobs = (space.number, jobs);
        match self.jobs.1.pop() {
            Some(job) => Next::Job(space.number, job),
            None => Next::Leaf,
        }
    }
}
