//! Taking out: one key, a range, a page with its content, the whole space.

use std::ops::Range;

use super::{Space, Tenant, get::look_again};
use crate::{
    GetError, KeyError, Page,
    counters::Count,
    encoder::decode::{ReadError, Wait},
    inner::Inner,
};

/// Entries whose removal by one call may have emptied pages of the index.
const WORTH_A_RELEASE: u64 = if cfg!(loom) { 1 } else { 512 };

impl Space {
    /// Gets a page and removes it, at one instant: of several takes of one page, one gets it.
    ///
    /// # Errors
    /// [`GetError`]; what is kept then stays.
    pub fn take(&self, key: u64, page: &mut Page) -> Result<(), GetError> {
        let (key, _operation) = self.begin(key)?;
        loop {
            let word = self.tenant().index.load(key);
            if word.is_empty() {
                // For the answer and its count.
                return self.get(key, page);
            }
            match self.inner().read(word.entry(), page, Wait::Allowed) {
                Ok(()) => {}
                Err(ReadError::Stale | ReadError::WouldBlock) => {
                    look_again();
                    continue;
                }
                Err(error) => return Err(self.unread(error, page.len())),
            }
            // The object was read after the word was loaded: if the word is still the same, it is what was read.
            if let Ok(taken) = self.tenant().index.take_out(key, word) {
                self.tenant().counters.add(Count::Hits, 1);
                self.tenant().counters.add(Count::Removed, 1);
                self.inner().retire(self.tenant(), taken);
                return Ok(());
            }
        }
    }

    /// Removes what is under a key; whether there was anything.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn remove(&self, key: u64) -> Result<bool, KeyError> {
        let (key, _operation) = self.begin(key)?;
        Ok(self.inner().remove(self.tenant(), key, Count::Removed))
    }

    /// Removes everything under a range of keys and returns how much that was. Keys beyond the space are none.
    ///
    /// # Errors
    /// [`KeyError::Dropped`].
    ///
    /// # Complexity
    /// A step for each page there, whatever the range.
    pub fn remove_range(&self, keys: Range<u64>) -> Result<u64, KeyError> {
        let _operation = self.inner().enter()?;
        if self.tenant().index.is_closed() {
            return Err(KeyError::Dropped);
        }
        Ok(self.inner().remove_keys(self.tenant(), keys))
    }
}

impl Inner {
    /// Takes out what is under a key and frees it; whether there was anything.
    pub(crate) fn remove(&self, tenant: &Tenant, key: u64, why: Count) -> bool {
        let word = tenant.index.take_any(key);
        if word.is_empty() {
            return false;
        }
        tenant.counters.add(why, 1);
        self.retire(tenant, word);
        true
    }

    /// Takes out and frees everything under a range of keys; how much that was.
    pub(crate) fn remove_keys(&self, tenant: &Tenant, keys: Range<u64>) -> u64 {
        let (mut from, mut removed) = (Some(keys.start), 0);
        while let Some((key, _)) = from.and_then(|from| tenant.index.next_used(from))
            && keys.contains(&key)
        {
            removed += u64::from(self.remove(tenant, key, Count::Removed));
            from = key.checked_add(1);
        }
        if removed >= WORTH_A_RELEASE {
            self.release_indices();
        }
        removed
    }

    /// Closes a space and frees everything in it.
    pub(crate) fn drop_tenant(&self, tenant: &Tenant) {
        if !tenant.index.close() {
            return;
        }
        // No space has the key u64::MAX.
        self.remove_keys(tenant, 0..u64::MAX);
        self.release_indices();
        self.forget(tenant);
        tenant.drop_listener();
        tracing::debug!(space = tenant.name, "a space was dropped");
    }
}
