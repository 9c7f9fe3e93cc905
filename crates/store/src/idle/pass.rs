//! Where a pass is: one cursor for all threads that work on it.

use std::time::{Duration, Instant};

use super::plan::Job;
use crate::training::{Reservoir, Sample};

#[derive(Debug)]
pub(crate) struct Pass {
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
pub(crate) enum Next {
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
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            at: None,
            jobs: Vec::new(),
            samples: Reservoir::default(),
            looks: false,
            tidies: false,
            due: after(Instant::now(), interval),
        }
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        (!self.is_under_way()).then_some(self.due)
    }

    fn is_under_way(&self) -> bool {
        self.at.is_some() || !self.jobs.is_empty() || self.tidies
    }

    pub(crate) fn note_saved(&mut self) {
        self.tidies = true;
    }

    pub(crate) fn tidies(&self) -> bool {
        self.tidies
    }

    pub(crate) fn end_tidying(&mut self) {
        self.tidies = false;
    }

    /// Begins a pass, unless one is under way.
    /// With `samples` a look for so many samples comes first.
    pub(crate) fn begin(&mut self, now: Instant, interval: Duration, samples: Option<usize>) {
        if !self.is_under_way() {
            (self.at, self.due) = (Some((0, 0)), after(now, interval));
            self.looks = samples.is_some();
            self.samples.begin(samples.unwrap_or(0));
        }
    }

    /// The pass goes on without the jobs at hand.
    pub(crate) fn forget_jobs(&mut self) {
        self.jobs.clear();
    }

    /// Forgets the jobs at hand and ends the pass.
    pub(crate) fn end(&mut self) {
        self.at = None;
        self.jobs.clear();
        self.tidies = false;
        self.samples.clear();
    }

    /// Ends a look: the samples it took. The pass begins.
    pub(crate) fn end_look(&mut self) -> Vec<Sample> {
        (self.at, self.looks) = (Some((0, 0)), false);
        self.samples.take()
    }

    /// Where the pass is; or what is next without moving on.
    pub(crate) fn here(&mut self) -> Result<(u64, u64), Next> {
        match (self.jobs.pop(), self.at) {
            (Some((number, job)), _) => Err(Next::Job(number, job)),
            (None, Some(at)) => Ok(at),
            (None, None) if self.tidies => Err(Next::Tidy),
            (None, None) => Err(Next::End(false)),
        }
    }

    /// Whether this is a look for samples.
    pub(crate) fn looks(&self) -> bool {
        self.looks
    }

    /// No leaf is left.
    pub(crate) fn end_of_keys(&mut self) -> Next {
        if self.looks {
            return Next::Samples;
        }
        self.at = None;
        Next::End(true)
    }

    pub(crate) fn go_to(&mut self, number: u64, key: u64) {
        self.at = Some((number, key));
    }

    /// Adds the jobs of a leaf, or takes samples from them.
    pub(crate) fn add(&mut self, number: u64, jobs: Vec<Job>) -> Next {
        if self.looks {
            for job in jobs {
                if let Job::Join([first, ..]) = job {
                    self.samples.offer(Sample { space: number, key: first.key });
                }
            }
            return Next::Leaf;
        }
        self.jobs.extend(jobs.into_iter().rev().map(|job| (number, job)));
        self.jobs.pop().map_or(Next::Leaf, |(number, job)| Next::Job(number, job))
    }
}

/// An interval too long for the clock counts as none.
fn after(now: Instant, interval: Duration) -> Instant {
    const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    now.checked_add(interval).unwrap_or(now + NEVER)
}
