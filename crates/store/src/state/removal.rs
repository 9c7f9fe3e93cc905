//! Entries out of a space, and the space out of the store.

use std::ops::Range;

use super::{SpaceState, StoreState};
use crate::counters::Count;

const WORTH_A_RELEASE: u64 = if cfg!(loom) { 1 } else { 512 };

impl StoreState {
    pub(crate) fn remove(&self, space: &SpaceState, key: u64, why: Count) -> bool {
        let taken = space.index.take_any(key);
        if taken.word.is_empty() {
            return false;
        }
        space.counters.add(why, 1);
        self.retire(space, taken);
        true
    }

    pub(crate) fn remove_keys(&self, space: &SpaceState, keys: Range<u64>) -> u64 {
        let (mut from, mut removed) = (Some(keys.start), 0);
        while let Some((key, _)) = from.and_then(|from| space.index.next_used(from))
            && keys.contains(&key)
        {
            removed += u64::from(self.remove(space, key, Count::Removed));
            from = key.checked_add(1);
        }
        if removed >= WORTH_A_RELEASE {
            self.release_indices();
        }
        removed
    }

    pub(crate) fn drop_space(&self, space: &SpaceState) {
        if !space.close() {
            return;
        }
        // No space has the key u64::MAX.
        self.remove_keys(space, 0..u64::MAX);
        self.release_indices();
        self.staging.forget(space);
        self.forget(space);
        space.drop_listener();
        tracing::debug!(space = space.name, "a space was dropped");
    }
}
