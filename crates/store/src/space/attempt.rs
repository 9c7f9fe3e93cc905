//! The attempts of a put, the room made between them, and the error of a refusal.
//!
//! An overwrite that needs no more than the old object may use the overwrite reserve. Otherwise the store makes room,
//! at most 8 times. While the accept threshold is closed, it refuses new pages and makes no room for overwrites.

use pagefold_frame::ReserveAccess;

use super::{Space, version::Expected};
use crate::{
    PAGE_BYTES, PreviousValue, PutError, PutIfError, ReachedLimit, config::SpaceKind,
    counters::Count, encoder::object::Object,
};

pub(super) const ATTEMPTS: u32 = 8;

#[derive(Debug, Clone, Copy)]
pub(super) struct Need {
    pub(super) key: u64,
    pub(super) expected: Expected,
    pub(super) room_bytes: u64,
    pub(super) object: usize,
    pub(super) drops: bool,
}

impl Need {
    pub(super) fn of(key: u64, expected: Expected, object: Object<'_>) -> Self {
        Self::new(key, expected, object.bytes.len())
    }

    pub(super) fn new(key: u64, expected: Expected, object: usize) -> Self {
        Self { key, expected, room_bytes: object as u64, object, drops: true }
    }

    pub(super) fn of_word(key: u64, expected: Expected) -> Self {
        Self { room_bytes: PAGE_BYTES as u64, ..Self::new(key, expected, 0) }
    }
}

pub(super) enum Retry {
    Room,
    Space,
    No(PutIfError),
}

impl Space {
    pub(super) fn with_room<R>(
        &self,
        need: Need,
        mut attempt: impl FnMut(ReserveAccess) -> Result<R, Retry>,
    ) -> Result<R, PutIfError> {
        let (store, space) = (self.store(), self.state());
        let is_new = || space.index.load(need.key).is_empty();
        let is_accepting = space.kind == SpaceKind::Ephemeral || store.accepts_new_pages();
        if !is_accepting && is_new() {
            return Err(self.full(need, ReachedLimit::Threshold, true));
        }
        let mut limit = ReachedLimit::Store;
        // As of before room was made, which may drop the old value.
        let mut was_new = true;
        for round in 0..=ATTEMPTS {
            if need.expected.depends() && !need.expected.allows(store, space.index.load(need.key)) {
                return Err(PutIfError::Conflict);
            }
            let mut outcome = attempt(ReserveAccess::Normal);
            if round == 0 && outcome.is_err() {
                was_new = is_new();
            }
            if matches!(outcome, Err(Retry::Room)) {
                if self.gives(need) {
                    outcome = store.with_overwrite_reserve(|| attempt(ReserveAccess::Overwrite));
                } else if !is_accepting {
                    return Err(self.full(need, ReachedLimit::Threshold, was_new));
                }
            }
            match outcome {
                Ok(done) => return Ok(done),
                Err(Retry::No(error)) => return Err(error),
                Err(Retry::Room) => {
                    limit = ReachedLimit::Store;
                    if round == ATTEMPTS || !self.make_room(need, round) {
                        break;
                    }
                }
                Err(Retry::Space) => {
                    limit = ReachedLimit::Space;
                    if round < ATTEMPTS && store.unstage_space(space) {
                        continue;
                    }
                    let may_drop =
                        space.kind == SpaceKind::Ephemeral && need.drops && round < ATTEMPTS;
                    if !may_drop || store.evict_from(space, 2 * need.room_bytes) == 0 {
                        break;
                    }
                }
            }
        }
        if limit == ReachedLimit::Store {
            store.look_at_handles(u64::MAX);
            if space.kind == SpaceKind::Persistent {
                store.note_full();
            }
        }
        Err(self.full(need, limit, was_new))
    }

    /// Whether the store had lent room to a training. An ephemeral space has dropped the old value by now.
    pub(super) fn waits_for_room(&self, limit: ReachedLimit) -> bool {
        limit != ReachedLimit::Space
            && self.kind() == SpaceKind::Persistent
            && self.store().wait_for_trainings()
    }

    fn make_room(&self, need: Need, round: u32) -> bool {
        match need.drops {
            true => self.store().make_room(self.state(), need.room_bytes, round),
            false => self.store().make_room_by_moving(),
        }
    }

    fn gives(&self, need: Need) -> bool {
        let old = self.state().index.load(need.key).entry();
        old.holds_memory() && need.object <= self.store().object_len(old)
    }

    /// An ephemeral space first drops the old value. `was_new`: the key was empty when the put began.
    fn full(&self, need: Need, limit: ReachedLimit, was_new: bool) -> PutIfError {
        let (space, key) = (self.state(), need.key);
        let there = space.index.load(key);
        if !need.expected.allows(self.store(), there) {
            return PutIfError::Conflict;
        }
        let previous = match space.kind {
            SpaceKind::Persistent if there.is_empty() => PreviousValue::Absent,
            SpaceKind::Persistent => PreviousValue::Kept,
            SpaceKind::Ephemeral => {
                let dropped = match need.expected {
                    Expected::Anything => self.store().remove(space, key, Count::Evicted),
                    Expected::Nothing => false,
                    // Never what another thread has put meanwhile.
                    Expected::Version(_) => match space.index.take_out(key, there) {
                        Ok(taken) => {
                            space.counters.add(Count::Evicted, 1);
                            self.store().retire(space, taken);
                            true
                        }
                        Err(_) => return PutIfError::Conflict,
                    },
                };
                if dropped {
                    space.report_evicted(key);
                }
                if dropped || !was_new { PreviousValue::Dropped } else { PreviousValue::Absent }
            }
        };
        PutError::Full { limit, previous }.into()
    }
}
