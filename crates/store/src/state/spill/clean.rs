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
pub(crate) const SPARSE: u8 = 90;
/// Where the backing is full, each extent is sparse that is not whole.
pub(super) const NOT_WHOLE: u8 = 100;

impl StoreState {
    /// Moves the live objects of the sparsest extents, of those with less live bytes than `percent`, into one. Not inside an operation. `Freed` counts bytes of the backing; it may take
    /// some turns until a slot is free.
    pub(crate) fn clean_extents(&self, percent: u8) -> Spilled {
        let Some(spilling) = &self.spilling else { return Spilled::Nothing };
        let sparse = spilling.spill.sparsest(TOGETHER, percent);
        let extent = spilling.spill.extent_bytes() as u64;
        let dead: u64 = sparse.iter().map(|(_, live)| extent - u64::from(*live)).sum();
        // What one extent is written for must be more than that.
        if dead < extent + extent / 4 && !cfg!(loom) {
            return Spilled::Nothing;
        }
        let _span = tracing::debug_span!("clean", extents = sparse.len()).entered();
        let Some(mut turn) = self.take_turn(spilling) else { return Spilled::Busy };
        let cleaned = self.move_live(spilling, &sparse, &mut turn);
        self.give_turn_back(spilling, turn);
        cleaned
    }

    fn move_live(&self, spilling: &Spilling, sparse: &[(u32, u32)], turn: &mut Turn) -> Spilled {
        let mut places = Vec::new();
        'extents: for &(slot, _) in sparse {
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
