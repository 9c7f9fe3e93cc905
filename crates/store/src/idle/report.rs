//! What passes did.

use super::plan::Job;

/// What became of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Bytes of objects saved.
    Done(u64),
    /// It would not save enough; it is not tried again while the pages stay.
    NotWorth,
    /// A call changed a page.
    Changed,
    /// The store has no room for the new object beside the old ones.
    NoRoom,
    /// The codec failed.
    Failed,
}

/// What [`Store::idle_pass`](crate::Store::idle_pass) did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdleReport {
    /// Pages that joined clusters.
    pub joined: u64,
    /// Pages that left clusters of which two or fewer pages were left.
    pub split: u64,
    /// Pages that were tried and stay as they are: a cluster would save less than a thirty-second.
    pub refused: u64,
    /// Bytes of objects saved.
    pub saved_bytes: u64,
}

impl IdleReport {
    pub(crate) fn note(&mut self, job: &Job, outcome: Outcome) {
        let Outcome::Done(saved) = outcome else {
            if let (Job::Join(pages), Outcome::NotWorth) = (job, outcome) {
                self.refused += pages.len() as u64;
            }
            return;
        };
        match job {
            Job::Join(pages) => self.joined += pages.len() as u64,
            Job::Split(pages) => self.split += pages.len() as u64,
        }
        self.saved_bytes += saved;
    }
}
