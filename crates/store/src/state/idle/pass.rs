//! Where a pass is: one cursor for all threads that work on it.

use std::time::{Duration, Instant};

use super::plan::{Job, jobs};
use crate::{
    index::{Aged, Look},
    state::StoreState,
    training::{Reservoir, Sample},
};

#[derive(Debug)]
pub(super) struct Pass {
    /// The next leaf: the number of the space, and a key; `None` between passes.
    at: Option<(u64, u64)>,
    /// The jobs at hand, last first, each with the number of its space.
    jobs: Vec<(u64, Job)>,
    /// Of a look before the first training.
    samples: Reservoir,
    /// Whether this is such a look, after which the pass begins.
    looks: bool,
    /// The pass saved bytes: the frames are still to be emptied.
    tidies: bool,
    /// When the next one begins.
    due: Instant,
}

/// What a thread does next.
pub(super) enum Next {
    Job(u64, Job),
    /// A leaf without jobs was passed.
    Leaf,
    /// All leaves were passed; whether just now.
    End(bool),
    /// Afterwards.
    Tidy,
    /// A look before the first training is over.
    Samples,
}

impl Pass {
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            at: None,
            jobs: Vec::new(),
            samples: Reservoir::default(),
            looks: false,
            tidies: false,
            due: Instant::now() + interval,
        }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        (!self.is_under_way()).then_some(self.due)
    }

    fn is_under_way(&self) -> bool {
        self.at.is_some() || !self.jobs.is_empty() || self.tidies
    }

    pub(super) fn note_saved(&mut self) {
        self.tidies = true;
    }

    pub(super) fn end_tidying(&mut self) {
        self.tidies = false;
    }

    /// Begins a pass, unless one is under way.
    /// With `samples` a look for so many samples comes first.
    pub(super) fn begin(&mut self, now: Instant, interval: Duration, samples: Option<usize>) {
        if !self.is_under_way() {
            (self.at, self.due) = (Some((0, 0)), now + interval);
            self.looks = samples.is_some();
            self.samples.begin(samples.unwrap_or(0));
        }
    }

    /// Forgets the jobs at hand and ends the pass.
    pub(super) fn end(&mut self) {
        self.at = None;
        self.jobs.clear();
        self.tidies = false;
        self.samples.clear();
    }

    /// Ends a look: the samples it took. The pass begins.
    pub(super) fn end_look(&mut self) -> Vec<Sample> {
        (self.at, self.looks) = (Some((0, 0)), false);
        self.samples.take()
    }

    pub(super) fn next(&mut self, store: &StoreState) -> Next {
        if let Some((number, job)) = self.jobs.pop() {
            return Next::Job(number, job);
        }
        let Some((number, key)) = self.at else {
            return if self.tidies { Next::Tidy } else { Next::End(false) };
        };
        let Some(space) = store.space_from(number) else {
            if self.looks {
                return Next::Samples;
            }
            self.at = None;
            return Next::End(true);
        };
        let look = if self.looks { Look::Only } else { Look::AndAge };
        let from = if space.number == number { key } else { 0 };
        let Some(aged) = space.index.age(from, look) else {
            self.at = Some((space.number + 1, 0));
            return Next::Leaf;
        };
        self.at = match aged.first.checked_add(Aged::KEYS) {
            Some(key) => Some((space.number, key)),
            None => Some((space.number + 1, 0)),
        };
        if self.looks {
            for job in jobs(&aged) {
                if let Job::Join([first, ..]) = job {
                    self.samples.offer(Sample { space: space.number, key: first.key });
                }
            }
            return Next::Leaf;
        }
        self.jobs.extend(jobs(&aged).into_iter().rev().map(|job| (space.number, job)));
        match self.jobs.pop() {
            Some((number, job)) => Next::Job(number, job),
            None => Next::Leaf,
        }
    }
}
