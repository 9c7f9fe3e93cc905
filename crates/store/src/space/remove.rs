//! Entries out: one key, a range, a page with its content.

use std::ops::Range;

use super::{Space, on_base::Beside};
use crate::{
    GetError, KeyError, Page,
    counters::Count,
    encoder::decode::{ReadError, Wait},
    spin::look_again,
    state::spill::Along,
};

impl Space {
    /// Gets and removes a page, atomically: of several takes of one page, one gets it.
    ///
    /// # Errors
    /// [`GetError`]; the page then stays.
    pub fn take(&self, key: u64, page: &mut Page) -> Result<(), GetError> {
        let (key, mut operation) = self.begin_change(key)?;
        let mut beside = Beside::default();
        loop {
            let word = self.state().index.load(key);
            if word.is_empty() {
                // Counts the miss.
                return self.get(key, page);
            }
            match self.read_entry(key, word.entry(), Some(&beside), page, Wait::Allowed) {
                Ok(()) => {}
                Err(ReadError::Spilled) => {
                    drop(operation);
                    beside.fetched = self.fetch(word, Along::Nothing)?;
                    (_, operation) = self.begin_change(key)?;
                    continue;
                }
                Err(ReadError::Base) => {
                    drop(operation);
                    self.load_base(key, &mut beside)?;
                    (_, operation) = self.begin_change(key)?;
                    continue;
                }
                Err(ReadError::Stale | ReadError::WouldBlock) => {
                    look_again();
                    continue;
                }
                Err(error) => return Err(self.read_error(error, page.len())),
            }
            // Loaded before the object was read: the same word names what was read.
            if let Ok(taken) = self.state().index.take_out(key, word) {
                self.state().counters.add(Count::Hits, 1);
                self.state().counters.add(Count::Removed, 1);
                self.store().retire(self.state(), taken);
                return Ok(());
            }
        }
    }

    /// Removes what is under a key; returns whether there was anything.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn remove(&self, key: u64) -> Result<bool, KeyError> {
        let (key, _operation) = self.begin_change(key)?;
        Ok(self.store().remove(self.state(), key, Count::Removed))
    }

    /// Removes a range of keys; returns how many were used.
    ///
    /// # Errors
    /// [`KeyError::Dropped`], `Frozen`.
    ///
    /// # Complexity
    /// A step per used key.
    pub fn remove_range(&self, keys: Range<u64>) -> Result<u64, KeyError> {
        let _operation = self.store().enter()?;
        if self.state().index.is_closed() {
            return Err(KeyError::Dropped);
        }
        if self.state().is_frozen() {
            return Err(KeyError::Frozen);
        }
        Ok(self.store().remove_keys(self.state(), keys))
    }
}
