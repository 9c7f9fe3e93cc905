//! One extent: objects gathered, written, and their words exchanged; by turns, or the next one gathered while one is written.

use std::sync::Arc;

use pagefold_spill::{WriteError, Writing, Written};

use super::spilling::{Gathering, Refusal, Spilled, Spilling, Turn};
use crate::{
    config::SpaceKind,
    state::{SpaceState, StoreState},
};

/// An extent that another thread writes, and the words that will name its objects.
pub(crate) struct Flight<'a> {
    writing: Writing<'a>,
    gathered: Gathering,
}

impl StoreState {
    /// Writes one extent of the coldest pages. Not inside an operation: it waits for the backing.
    pub(crate) fn spill_extent(&self) -> Spilled {
        let Some(spilling) = &self.spilling else { return Spilled::Nothing };
        let _span = tracing::debug_span!("spill").entered();
        let Some(mut turn) = self.take_turn(spilling) else { return Spilled::Busy };
        let spilled = if self.gather_extent(spilling, &mut turn, None) {
            let written = spilling.spill.write(&mut turn.batch);
            self.end_extent(spilling, written, &turn.gathered)
        } else {
            Spilled::Nothing
        };
        self.give_turn_back(spilling, turn);
        spilled
    }

    /// As [`spill_extent`](Self::spill_extent), and while one extent is written the next one is gathered, which stays in `ahead`.
    pub(super) fn spill_ahead<'a>(
        &self,
        spilling: &'a Spilling,
        ahead: &mut Option<Flight<'a>>,
    ) -> Spilled {
        let _span = tracing::debug_span!("spill").entered();
        let flight = match ahead.take() {
            Some(flight) => flight,
            None => match self.start_extent(spilling, None) {
                Ok(flight) => flight,
                Err(spilled) => return spilled,
            },
        };
        if self.is_above_low() || self.is_above_target() {
            // What is wrong with this one, the next step finds.
            *ahead = self.start_extent(spilling, Some(&flight.gathered)).ok();
        }
        self.end_flight(spilling, flight)
    }

    /// Gathers an extent, and lets another thread write it.
    fn start_extent<'a>(
        &self,
        spilling: &'a Spilling,
        before: Option<&Gathering>,
    ) -> Result<Flight<'a>, Spilled> {
        let Some(mut turn) = self.take_turn(spilling) else { return Err(Spilled::Busy) };
        if !self.gather_extent(spilling, &mut turn, before) {
            self.give_turn_back(spilling, turn);
            return Err(Spilled::Nothing);
        }
        let Turn { batch, gathered } = turn;
        match spilling.spill.start_write(batch) {
            Ok(writing) => Ok(Flight { writing, gathered }),
            Err((batch, error)) => {
                self.give_turn_back(spilling, Turn { batch, gathered });
                Err(spilling.refused_by(&error))
            }
        }
    }

    /// Waits for the write, and exchanges the words.
    pub(super) fn end_flight(&self, spilling: &Spilling, flight: Flight<'_>) -> Spilled {
        let Flight { writing, gathered } = flight;
        let (batch, written) = writing.finish();
        let spilled = self.end_extent(spilling, written, &gathered);
        self.give_turn_back(spilling, Turn { batch, gathered });
        spilled
    }

    /// Whether the batch has any object now.
    fn gather_extent(
        &self,
        spilling: &Spilling,
        turn: &mut Turn,
        before: Option<&Gathering>,
    ) -> bool {
        // The spiller leaves operations, and handles may come back meanwhile: then a word names another object.
        turn.gathered.epoch = self.epoch();
        let spaces = self.enter().map(|_operation| self.spillable());
        for space in spaces.unwrap_or_default() {
            if self.gather(spilling.settings.policy, &space, turn, before).is_err() {
                break;
            }
        }
        let found = !turn.gathered.objects.is_empty();
        if found || before.is_none() {
            spilling.note_found(found);
        }
        found
    }

    fn end_extent(
        &self,
        spilling: &Spilling,
        written: Result<Written<'_>, WriteError>,
        gathered: &Gathering,
    ) -> Spilled {
        match written {
            Ok(written) => {
                spilling.note_refused(Refusal::No);
                self.publish_spilled(&written, gathered);
                Spilled::Freed
            }
            Err(error) => spilling.refused_by(&error),
        }
    }

    /// `None`: other threads have all.
    pub(super) fn take_turn(&self, spilling: &Spilling) -> Option<Turn> {
        match self.enter() {
            Ok(_operation) if self.charge_tables() => spilling.turns.lock().pop(),
            _ => None,
        }
    }

    pub(super) fn give_turn_back(&self, spilling: &Spilling, mut turn: Turn) {
        turn.batch.clear();
        turn.gathered.clear();
        if let Ok(_operation) = self.enter() {
            spilling.turns.lock().push(turn);
        }
    }

    /// The spaces with objects in memory, the largest first.
    fn spillable(&self) -> Vec<Arc<SpaceState>> {
        let mut spaces = self.spaces();
        spaces.retain(|space| space.used() > 0);
        spaces.sort_by_cached_key(|space| {
            (space.kind == SpaceKind::Ephemeral, std::cmp::Reverse(space.used()))
        });
        spaces
    }

    /// Whether the spiller runs, and its last try made room.
    pub(crate) fn spills(&self) -> bool {
        self.spilling.as_ref().is_some_and(|spilling| {
            spilling.wakeup.is_running() && !spilling.is_refused() && spilling.found()
        })
    }
}
