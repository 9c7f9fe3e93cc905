//! The used keys, in order.

use std::{
    iter::FusedIterator,
    ops::{Bound, RangeBounds},
};

use super::Space;

/// The used keys of a range, ascending; from [`Space::keys`].
#[derive(Debug, Clone)]
pub struct Keys<'a> {
    space: &'a Space,
    from: u64,
    end: u64,
}

impl Space {
    /// The used keys of a range, ascending.
    ///
    /// # Complexity
    /// A step per used key.
    ///
    /// # Concurrency
    /// Locks nothing between steps. A key used throughout is seen once, one put or removed meanwhile at most once.
    /// Ends when the space is dropped.
    ///
    /// # Examples
    /// ```
    /// use pagefold_store::{SpaceConfig, Store};
    ///
    /// let store = Store::builder().limit(16 << 20).build()?;
    /// let space = store.space(SpaceConfig::persistent(1 << 20))?;
    /// for key in [3, 70_000, 5] {
    ///     space.put_bytes(key, b"value")?;
    /// }
    /// assert_eq!(space.keys(..).collect::<Vec<_>>(), [3, 5, 70_000]);
    /// assert_eq!(space.keys(4..=5).next(), Some(5));
    /// for key in space.keys(..) {
    ///     space.remove(key)?;
    /// }
    /// assert!(space.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keys(&self, range: impl RangeBounds<u64>) -> Keys<'_> {
        // No space has the key u64::MAX.
        let from = match range.start_bound() {
            Bound::Included(&key) => key,
            Bound::Excluded(&key) => key.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&key) => key.saturating_add(1),
            Bound::Excluded(&key) => key,
            Bound::Unbounded => u64::MAX,
        };
        Keys { space: self, from, end }
    }
}

impl Iterator for Keys<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        if self.from >= self.end {
            return None;
        }
        let operation = self.space.store().enter().ok()?;
        let found = self.space.state().next_key(self.from).filter(|key| *key < self.end);
        drop(operation);
        self.from = found.map_or(self.end, |key| key + 1);
        found
    }
}

impl FusedIterator for Keys<'_> {}

impl super::SpaceState {
    fn next_key(&self, from: u64) -> Option<u64> {
        self.index.next_used(from).map(|(key, _)| key)
    }
}
