//! Values: length, taking, many at once, into a buffer, without waiting.

use super::Space;
use crate::{
    GetError, KeyError, PAGE_BYTES, PutManyError, TryGetError,
    counters::Count,
    encoder::decode::{ReadError, Wait},
    spin::look_again,
};

impl Space {
    /// The length of the value under a key, in bytes; 4096 for a page. Does not count as a get.
    ///
    /// # Errors
    /// [`GetError`], never `WrongLength`.
    ///
    /// # Concurrency
    /// As [`get`](Self::get). For a page, reads only the index.
    ///
    /// # Examples
    /// ```
    /// use pagefold_store::{SpaceConfig, Store};
    ///
    /// let store = Store::builder().limit(16 << 20).build()?;
    /// let space = store.space(SpaceConfig::persistent(10))?;
    /// space.put_bytes(7, b"eleven byte")?;
    /// assert_eq!(space.value_len(7)?, 11);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn value_len(&self, key: u64) -> Result<usize, GetError> {
        let (key, _operation) = self.begin(key)?;
        loop {
            let word = self.state().index.load(key);
            if word.is_empty() && self.state().index.is_closed() {
                return Err(KeyError::Dropped.into());
            }
            if word.is_empty() {
                return Err(GetError::Absent);
            }
            match self.store().len(word.entry(), Wait::Allowed) {
                Ok(len) => return Ok(len),
                Err(ReadError::Stale | ReadError::WouldBlock) => look_again(),
                Err(error) => return Err(self.read_error(error, 0)),
            }
        }
    }

    /// Gets and removes a value, atomically: of several takes of one value, one gets it.
    ///
    /// # Errors
    /// [`GetError`], never `WrongLength`; the value then stays.
    ///
    /// # Examples
    /// ```
    /// use pagefold_store::{GetError, SpaceConfig, Store};
    ///
    /// let store = Store::builder().limit(16 << 20).build()?;
    /// let space = store.space(SpaceConfig::persistent(10))?;
    /// space.put_bytes(7, b"once")?;
    /// assert_eq!(space.take_bytes(7)?, b"once");
    /// assert_eq!(space.take_bytes(7), Err(GetError::Absent));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn take_bytes(&self, key: u64) -> Result<Vec<u8>, GetError> {
        let mut value = Vec::new();
        loop {
            // Not inside an operation: a read of the backing keeps no fork waiting.
            let epoch = self.store().epoch();
            let word = self.read_value_alone(key, &mut value)?;
            let (key, _operation) = self.begin_change(key)?;
            // The word was loaded before the object was read. It names that in this epoch only: handles may come back.
            if self.store().epoch() == epoch
                && let Ok(taken) = self.state().index.take_out(key, word)
            {
                self.state().counters.add(Count::Removed, 1);
                self.store().retire(self.state(), taken);
                return Ok(value);
            }
        }
    }

    /// As [`get_bytes_into`](Self::get_bytes_into), without waiting.
    ///
    /// # Errors
    /// [`TryGetError`]; `WrongLength` when the buffer is too short. Always [`WouldBlock`](TryGetError::WouldBlock)
    /// for a compressed value of more than 4096 bytes in several pieces. After an error the buffer's content is
    /// unspecified.
    ///
    /// # Concurrency
    /// Async-signal-safe, as [`try_get`](Self::try_get).
    ///
    /// # Examples
    /// ```
    /// use pagefold_store::{SpaceConfig, Store};
    ///
    /// let store = Store::builder().limit(16 << 20).build()?;
    /// let space = store.space(SpaceConfig::persistent(10))?;
    /// space.put_bytes(7, b"value")?;
    /// let mut buffer = [0; 100];
    /// let len = space.try_get_bytes(7, &mut buffer)?;
    /// assert_eq!(&buffer[..len], b"value");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_get_bytes(&self, key: u64, buffer: &mut [u8]) -> Result<usize, TryGetError> {
        self.try_get_value(key, buffer)
    }

    /// Appends the value under a key to a buffer; returns its length.
    ///
    /// # Errors
    /// [`GetError`], never `WrongLength`; the buffer is then unchanged.
    ///
    /// # Examples
    /// ```
    /// use pagefold_store::{SpaceConfig, Store};
    ///
    /// let store = Store::builder().limit(16 << 20).build()?;
    /// let space = store.space(SpaceConfig::persistent(10))?;
    /// space.put_bytes(7, b"world")?;
    /// let mut reply = b"hello ".to_vec();
    /// assert_eq!(space.get_append(7, &mut reply)?, 5);
    /// assert_eq!(reply, b"hello world");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_append(&self, key: u64, buffer: &mut Vec<u8>) -> Result<usize, GetError> {
        let start = buffer.len();
        let outcome = self.append_value(key, buffer, start);
        if outcome.is_err() {
            buffer.truncate(start);
        }
        outcome
    }

    /// Calls `f` with a copy of the value under a key.
    ///
    /// # Errors
    /// [`GetError`], never `WrongLength`; `f` is then not called.
    ///
    /// # Panics
    /// When `f` does.
    ///
    /// # Concurrency
    /// `f` runs without a lock and may use the store.
    ///
    /// # Examples
    /// ```
    /// use pagefold_store::{SpaceConfig, Store};
    ///
    /// let store = Store::builder().limit(16 << 20).build()?;
    /// let space = store.space(SpaceConfig::persistent(10))?;
    /// space.put_bytes(7, &[1, 2, 3])?;
    /// let sum: u32 = space.get_with(7, |value| value.iter().map(|byte| u32::from(*byte)).sum())?;
    /// assert_eq!(sum, 6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_with<R>(&self, key: u64, f: impl FnOnce(&[u8]) -> R) -> Result<R, GetError> {
        let mut short = [0; PAGE_BYTES];
        match self.get_bytes_into(key, &mut short) {
            Ok(len) => Ok(f(&short[..len])),
            Err(GetError::WrongLength { .. }) => Ok(f(&self.get_bytes(key)?)),
            Err(error) => Err(error),
        }
    }

    /// Puts values, in order, until one is refused; returns how many there were.
    ///
    /// # Errors
    /// [`PutManyError`] has the number accepted.
    pub fn put_bytes_many<'v>(
        &self,
        values: impl IntoIterator<Item = (u64, &'v [u8])>,
    ) -> Result<usize, PutManyError> {
        let mut accepted = 0;
        for (key, value) in values {
            self.put_bytes(key, value).map_err(|error| PutManyError { accepted, error })?;
            accepted += 1;
        }
        Ok(accepted)
    }
}
