//! What was read along with a spilled object comes back to memory, where its key follows in the space.

use std::collections::HashMap;

use pagefold_frame::ReserveAccess;
use pagefold_spill::Place;

use super::fetch::{Along, Fetched, Follower};
use crate::{
    encoder::decode::SpilledForm,
    index::Change,
    page::PAGE_BYTES,
    state::{SpaceState, StoreState},
    word::{CLUSTER_PAGES, Entry, Part, Short, Word, member_len},
};

impl StoreState {
    /// Brings the followers of a key back, while the store is below its high watermark. Inside an operation.
    pub(crate) fn bring_along(&self, space: &SpaceState, key: u64, fetched: Fetched) {
        let Some(spilling) = self.spilling.as_ref().filter(|it| it.settings.prefetch > 0) else {
            return;
        };
        let Fetched { place, form, object, along: Along::Followers, followers } = fetched else {
            return;
        };
        let mut followers: HashMap<Place, Follower> =
            followers.into_iter().map(|follower| (follower.place, follower)).collect();
        if let SpilledForm::Cluster(_) = form {
            followers.insert(place, Follower { place, form, object });
        }
        // Its keys follow, except those that were in memory already.
        let looks = CLUSTER_PAGES * 2 * followers.len();
        let mut from = key.checked_add(1);
        for _ in 0..looks {
            if followers.is_empty() || self.is_above_high() || self.is_above_target() {
                return;
            }
            let Some((key, word)) = from.and_then(|from| space.index.next_used(from)) else {
                return;
            };
            from = key.checked_add(1);
            let Entry::Spilled { place, .. } = word.entry() else { continue };
            let Some(follower) = followers.remove(&place) else { continue };
            let came = match follower.form {
                SpilledForm::Cluster(_) => self.cluster_comes_back(space, key, word, &follower),
                form => self.come_back_as_it_is(space, key, word, form, &follower.object),
            };
            if came {
                spilling.counts.note_prefetched();
            }
        }
    }

    /// A cluster with all its pages; its codec counts it already.
    fn cluster_comes_back(
        &self,
        space: &SpaceState,
        key: u64,
        word: Word,
        follower: &Follower,
    ) -> bool {
        let words = space.index.words_of_cluster(key, word);
        let Ok(stored) = self.pool.store_within(&follower.object, ReserveAccess::Normal) else {
            return false;
        };
        let (at, bytes) = (Short(stored.to_short()), follower.object.len());
        let changes = words.iter().filter_map(|&(key, old)| match old.entry() {
            Entry::Spilled { part: Part::Member(slot), .. } => {
                let new = Word::new(Entry::Member { at, slot, len: member_len(bytes) });
                Some(Change { key, old, new })
            }
            _ => None,
        });
        let changes: Vec<Change> = changes.collect();
        let counted = changes.iter().map(|change| change.new.entry().counted_bytes()).sum();
        let taken = (!changes.is_empty() && space.admit(counted, 0))
            .then(|| space.index.replace_all(&changes).ok_or(()));
        match taken {
            Some(Ok(_)) => {
                for Change { new, old, .. } in &changes {
                    space.note_exchange(new.entry(), PAGE_BYTES, old.entry(), PAGE_BYTES);
                }
                self.idle.note_back(bytes);
                self.release_spilled_object(follower.place);
                true
            }
            failed => {
                if failed.is_some() {
                    space.count_shrunk(0, counted);
                }
                let freed = self.pool.free(self.pool_id.handle(at.0));
                debug_assert!(freed.is_ok(), "no other thread knows the handle");
                false
            }
        }
    }
}
