//! What is read twice from the backing gets an object in memory again.

use pagefold_frame::ReserveAccess;

use super::{fetch::Fetched, publish::counted_entry};
use crate::{
    encoder::decode::SpilledForm,
    index::Taken,
    page::Page,
    state::{SpaceState, StoreState, caught::caught},
    word::{Entry, Short, Word},
};

impl StoreState {
    /// Gives what was just read from the backing an object of its own, if there is room below the high watermark.
    pub(crate) fn come_back(
        &self,
        space: &SpaceState,
        key: u64,
        word: Word,
        fetched: &Fetched,
        bytes: &[u8],
    ) {
        // Another get may have brought it back since it was fetched.
        if !matches!(word.entry(), Entry::Spilled { place, .. } if place == fetched.place) {
            return;
        }
        if self.is_above_high() || self.is_above_target() {
            return;
        }
        let came = match fetched.form {
            SpilledForm::Cluster(_) => <&Page>::try_from(bytes)
                .is_ok_and(|page| self.come_back_alone(space, key, word, page)),
            form => self.come_back_as_it_is(space, key, word, form, &fetched.object),
        };
        if came && let Some(spilling) = &self.spilling {
            spilling.counts.note_returned();
        }
    }

    /// The same object, which its codec counts already.
    pub(super) fn come_back_as_it_is(
        &self,
        space: &SpaceState,
        key: u64,
        word: Word,
        form: SpilledForm,
        object: &[u8],
    ) -> bool {
        let entry_at = |at| counted_entry(form, at, object.len());
        if entry_at(Short(0)).is_none() {
            return false;
        }
        let Ok(stored) = self.pool.store_within(object, ReserveAccess::Normal) else {
            return false;
        };
        let at = Short(stored.to_short());
        let Some(entry) = entry_at(at) else { return false };
        match self.exchange_spilled(space, key, word, entry) {
            Some(Taken { .. }) => {
                if let Entry::Spilled { place, .. } = word.entry() {
                    self.release_spilled_object(place);
                }
                true
            }
            None => {
                let freed = self.pool.free(self.pool_id.handle(at.0));
                debug_assert!(freed.is_ok(), "no other thread knows the handle");
                false
            }
        }
    }

    /// A page of a cluster, compressed alone.
    fn come_back_alone(&self, space: &SpaceState, key: u64, word: Word, page: &Page) -> bool {
        let mut copy = *page;
        let Ok(object) = caught(|| self.encoder.encode_page(&mut copy)) else { return false };
        let Some(entry) = self.store(object, ReserveAccess::Normal) else { return false };
        match self.exchange_spilled(space, key, word, entry) {
            Some(taken) => {
                self.free_taken(taken);
                true
            }
            None => {
                self.free(entry);
                false
            }
        }
    }

    /// Exchanges a spilled word for an object in memory, within the limit of the space.
    fn exchange_spilled(
        &self,
        space: &SpaceState,
        key: u64,
        word: Word,
        entry: Entry,
    ) -> Option<Taken> {
        let bytes = entry.counted_bytes();
        if !space.admit(bytes, 0) {
            return None;
        }
        match space.index.replace(key, word, Word::new(entry)) {
            Ok(taken) => {
                // Its place is released after this.
                let original = self.original(word.entry());
                space.note_exchange(entry, original, word.entry(), original);
                Some(taken)
            }
            Err(_) => {
                space.count_shrunk(0, bytes);
                None
            }
        }
    }
}
