//! A full backing: the oldest pages of ephemeral spaces in it are dropped, as they would be without one.

use std::sync::atomic::Ordering;

use pagefold_spill::{Owner, Place, ReadError};

use super::{clean::words_of_spilled, spilling::Spilled};
use crate::{config::SpaceKind, counters::Count, state::StoreState};

/// Extents without any page of an ephemeral space, one after another.
const FRUITLESS: u32 = 64;

impl StoreState {
    /// Drops what ephemeral spaces have in the extent that was written longest ago, except what was read since the last look. Not inside an
    /// operation.
    pub(crate) fn drop_spilled(&self) -> Spilled {
        let Some(spilling) = &self.spilling else { return Spilled::Nothing };
        let has_any = self.enter().is_ok_and(|_operation| {
            self.spaces().iter().any(|space| {
                space.kind == SpaceKind::Ephemeral && space.counters.sum(Count::Spilled) > 0
            })
        });
        if !has_any {
            return Spilled::Nothing;
        }
        let _span = tracing::debug_span!("drop_spilled").entered();
        for _ in 0..FRUITLESS {
            // ORDERING: Relaxed, here and below; one thread has the turn.
            let last = spilling.dropped_to.load(Ordering::Relaxed);
            let next = spilling.spill.written_after(last);
            let Some((sequence, slot)) = next.or_else(|| spilling.spill.written_after(0)) else {
                return Spilled::Nothing;
            };
            spilling.dropped_to.store(sequence, Ordering::Relaxed);
            let dropped = match spilling.spill.live_owners(slot) {
                Ok(owners) => {
                    owners.into_iter().map(|(owner, at)| self.drop_object(owner, at)).sum()
                }
                Err(ReadError::Io(_) | ReadError::Timeout(_)) => return Spilled::Failed,
                Err(_) => 0,
            };
            if dropped > 0 {
                return Spilled::Freed;
            }
        }
        Spilled::Nothing
    }

    /// How many pages of an object it dropped.
    fn drop_object(&self, owner: Owner, place: Place) -> u64 {
        let Ok(_operation) = self.enter() else { return 0 };
        let Owner(number, key) = owner;
        let space = self.numbered_space(number);
        let Some(space) = space.filter(|space| space.kind == SpaceKind::Ephemeral) else {
            return 0;
        };
        let mut dropped = 0;
        for (key, word) in words_of_spilled(&space, key, place) {
            if word.is_referenced() {
                space.index.find(key).unmark();
            } else if let Ok(taken) = space.index.take_out(key, word) {
                space.counters.add(Count::Evicted, 1);
                self.retire(&space, taken);
                space.report_evicted(key);
                dropped += 1;
            }
        }
        dropped
    }
}
