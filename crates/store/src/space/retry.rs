//! Puts that wait for room: for retired handles, a training, the spiller.

use std::time::{Duration, Instant};

use super::{Space, version::Version};
use crate::{PutError, PutIfError, ReachedLimit, SpaceKind, counters::Count};

const RECYCLES: usize = 3;
/// How long a put of a persistent space tries again, while the spiller makes room.
const SPILLER_WAIT: Duration = Duration::from_secs(1);

impl Space {
    /// Puts, again if the store gets room by waiting. Counts a refusal once. Not inside an operation.
    pub(super) fn with_retries(
        &self,
        put: impl Fn() -> Result<Version, PutIfError>,
    ) -> Result<Version, PutIfError> {
        self.with_handles(put).inspect_err(|error| {
            if let PutIfError::Put(PutError::Full { limit, .. }) = error {
                let count = match limit {
                    ReachedLimit::Store => Count::RejectedStore,
                    ReachedLimit::Threshold => Count::RejectedThreshold,
                    ReachedLimit::Space => Count::RejectedSpace,
                };
                self.state().counters.add(count, 1);
            }
        })
    }

    /// Tries again when retired handles or the room of a training came back.
    fn with_handles(
        &self,
        put: impl Fn() -> Result<Version, PutIfError>,
    ) -> Result<Version, PutIfError> {
        let store = self.store();
        let mut epoch = store.epoch();
        let put = || self.beside_the_spiller(&put);
        for round in 0..RECYCLES {
            match put() {
                Err(PutIfError::Put(PutError::Full { limit, .. }))
                    if round == 0 && self.waits_for_room(limit) || store.recycle_handles(epoch) =>
                {
                    epoch = store.epoch();
                }
                outcome => return outcome,
            }
        }
        put()
    }

    /// Tries again while the spiller makes room: it does not while a fork or a validation waits for the put, and other threads take what it
    /// makes. Not inside an operation.
    fn beside_the_spiller(
        &self,
        put: &impl Fn() -> Result<Version, PutIfError>,
    ) -> Result<Version, PutIfError> {
        let mut until = None;
        loop {
            let outcome = put();
            let Err(PutIfError::Put(PutError::Full { limit, .. })) = outcome else {
                return outcome;
            };
            if limit == ReachedLimit::Space || self.kind() == SpaceKind::Ephemeral {
                return outcome;
            }
            let until = *until.get_or_insert_with(|| Instant::now() + SPILLER_WAIT);
            if !self.store().wait_for_spiller_outside(until) {
                return outcome;
            }
        }
    }
}
