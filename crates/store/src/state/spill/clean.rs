//! Sparse extents: their live objects are written anew, together, so that their slots are free.

use pagefold_spill::{LiveObject, Owner, Place, ReadError, WriteError};

use super::spilling::{Gathered, Spilled, Spilling, Turn, Words};
use crate::{
    index::Change,
    state::{SpaceState, StoreState},
    word::{Entry, Word},
};

/// Extents that one turn looks at, at most.
const TOGETHER: usize = 32;
/// An extent with more live bytes than this share is not sparse: moving it costs more than nine times what it frees.
const SPARSE_PERCENT: u8 = 90;

impl StoreState {
    /// Moves the live objects of the sparsest extents into one. Not inside an operation. `Freed` counts bytes of the backing; it may take
    /// some turns until a slot is free.
    pub(crate) fn clean_extents(&self) -> Spilled {
        let Some(spilling) = &self.spilling else { return Spilled::Nothing };
        let sparse = spilling.spill.sparsest(TOGETHER, SPARSE_PERCENT);
        let extent = spilling.spill.extent_bytes() as u64;
        let unused: u64 = sparse.iter().map(|(_, live)| extent - u64::from(*live)).sum();
        // What one extent is written for must be more than that.
        if unused < extent + extent / 4 && !cfg!(loom) {
            return Spilled::Nothing;
        }
        self.clean(spilling, sparse.into_iter().map(|(slot, _)| slot))
    }

    /// As [`clean_extents`](Self::clean_extents), of extents with any dead object, however many live ones: the last way to a slot of a full
    /// backing. `Nothing` where all dead bytes together are less than one extent.
    pub(super) fn clean_all_dead(&self) -> Spilled {
        let Some(spilling) = &self.spilling else { return Spilled::Nothing };
        let (slots, dead) = spilling.spill.with_dead(TOGETHER);
        // Each move leaves fewer extents with dead objects, until one of them is empty: it ends.
        if dead < spilling.spill.extent_bytes() as u64 || slots.len() < 2 {
            return Spilled::Nothing;
        }
        self.clean(spilling, slots)
    }

    fn clean(&self, spilling: &Spilling, slots: impl IntoIterator<Item = u32>) -> Spilled {
        let _span = tracing::debug_span!("clean").entered();
        let Some(mut turn) = self.take_turn(spilling) else { return Spilled::Busy };
        let cleaned = self.move_live(spilling, slots, &mut turn);
        self.give_turn_back(spilling, turn);
        cleaned
    }

    fn move_live(
        &self,
        spilling: &Spilling,
        slots: impl IntoIterator<Item = u32>,
        turn: &mut Turn,
    ) -> Spilled {
        let mut places = Vec::new();
        'extents: for slot in slots {
            let live = match spilling.spill.live_objects(slot) {
                Ok(live) => live,
                Err(ReadError::Io(_) | ReadError::Timeout(_)) => return Spilled::Failed,
                // What does not open stays where it is, for its gets to say so.
                Err(_) => continue,
            };
            for object in live {
                let Some(gathered) = self.gather_live(&object) else { continue };
                if turn.batch.push(object.owner, object.label, &object.bytes).is_err() {
                    break 'extents;
                }
                turn.gathered.objects.push(gathered);
                places.push(object.place);
            }
        }
        if places.is_empty() {
            return Spilled::Nothing;
        }
        match spilling.spill.write_moved(&mut turn.batch) {
            Ok(written) => {
                self.publish_moved(&written, &turn.gathered.objects, &places);
                Spilled::Freed
            }
            // The last move left an object that a put had taken the word of: its release, under way, frees a slot.
            Err(WriteError::Full) => Spilled::Busy,
            Err(_) => Spilled::Failed,
        }
    }

    /// The words that name a live object now; `None` without any.
    fn gather_live(&self, object: &LiveObject) -> Option<Gathered> {
        let _operation = self.enter().ok()?;
        let Owner(number, key) = object.owner;
        let space = self.numbered_space(number)?;
        let words = words_of_spilled(&space, key, object.place);
        let change = |(key, old)| Change { key, old, new: Word::EMPTY };
        let mut words: Vec<Change> = words.into_iter().map(change).collect();
        let words = match words.len() {
            0 => return None,
            1 => Words::One(words.remove(0)),
            _ => Words::Several(words),
        };
        Some(Gathered { space, words })
    }
}

/// The words that name a spilled object, of which `key` had one. Inside an operation.
pub(super) fn words_of_spilled(space: &SpaceState, key: u64, place: Place) -> Vec<(u64, Word)> {
    space
        .index
        .words_beside(key, |entry| matches!(entry, Entry::Spilled { place: at, .. } if at == place))
}
