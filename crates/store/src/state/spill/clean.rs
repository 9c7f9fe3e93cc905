//! Extents with few live objects: these are written anew, so that the slot is free.

use pagefold_spill::{LiveObject, Owner, ReadError};

use super::{Gathered, Spilling, Turn, gather::Spilled};
use crate::{
    index::{Change, NODE_WORDS},
    state::StoreState,
    word::{Entry, Word},
};

/// An extent with less than this share of live bytes is cleaned.
const SPARSE_PERCENT: u8 = 50;

impl StoreState {
    /// Cleans the sparsest extent, if it is sparse. Not inside an operation. `Freed` counts bytes of the backing.
    pub(crate) fn clean_extent(&self) -> Spilled {
        let Some(spilling) = &self.spilling else { return Spilled::Nothing };
        let Some(slot) = spilling.spill.sparsest(SPARSE_PERCENT) else { return Spilled::Nothing };
        let taken = match self.enter() {
            Ok(_operation) if self.charge_tables() => spilling.turn.lock().take(),
            _ => None,
        };
        let Some(mut turn) = taken else { return Spilled::Busy };
        let cleaned = self.move_live(spilling, slot, &mut turn);
        turn.batch.clear();
        turn.objects.clear();
        if let Ok(_operation) = self.enter() {
            *spilling.turn.lock() = Some(turn);
        }
        cleaned
    }

    fn move_live(&self, spilling: &Spilling, slot: u32, turn: &mut Turn) -> Spilled {
        let live = match spilling.spill.live_objects(slot) {
            Ok(live) => live,
            Err(ReadError::Io(_) | ReadError::Timeout(_)) => return Spilled::Failed,
            // What does not open stays where it is, for its gets to say so.
            Err(_) => return Spilled::Nothing,
        };
        let mut places = Vec::new();
        for object in live {
            let Some(gathered) = self.gather_live(&object) else { continue };
            if turn.batch.push(object.owner, object.label, &object.bytes).is_err() {
                break;
            }
            turn.objects.push(gathered);
            places.push(object.place);
        }
        if places.is_empty() {
            return Spilled::Nothing;
        }
        match spilling.spill.write(&mut turn.batch) {
            Ok(written) => {
                self.publish_moved(&written, &turn.objects, &places);
                Spilled::Freed
            }
            Err(_) => Spilled::Failed,
        }
    }

    /// The words that name a live object now; `None` without any.
    fn gather_live(&self, object: &LiveObject) -> Option<Gathered> {
        let _operation = self.enter().ok()?;
        let Owner(number, key) = object.owner;
        let space = self.numbered_space(number)?;
        let leaf = NODE_WORDS as u64;
        let first = key - key % leaf;
        let words = (first..first.saturating_add(leaf)).filter_map(|key| {
            let old = space.index.load(key);
            let names =
                matches!(old.entry(), Entry::Spilled { place, .. } if place == object.place);
            names.then_some(Change { key, old, new: Word::EMPTY })
        });
        let words: Vec<Change> = words.collect();
        (!words.is_empty()).then_some(Gathered { space, words })
    }
}
