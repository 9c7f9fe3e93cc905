//! Pages and values out.
//!
//! A get loads the word, reads the object of its handle, and decodes it into the caller's memory. When another thread
//! replaces or removes the object meanwhile, its handle is stale, and the get looks again. Nothing here takes a lock, and
//! only what says so allocates. [`Space::try_get`] never waits.

use std::time::Instant;

use pagefold_sys::sync;

use super::Space;
use crate::{
    GetError, PAGE_BYTES, Page, TryGetError,
    counters::Count,
    encoder::decode::{ReadError, Wait},
    word::{Entry, Word},
};

/// How often a read that never waits looks again when the object, or the way to its word, is gone.
const ROUNDS: usize = 16;

/// The destination of a value whose length is not known yet.
enum Room<'a> {
    /// From a length on, which stays.
    Grows(&'a mut Vec<u8>, usize),
    Fixed(&'a mut [u8]),
}

impl Room<'_> {
    fn of(&mut self, len: usize) -> Option<&mut [u8]> {
        match self {
            Self::Grows(value, start) => {
                value.resize(*start + len, 0);
                Some(&mut value[*start..])
            }
            Self::Fixed(buffer) => buffer.get_mut(..len),
        }
    }

    fn capacity(&self) -> usize {
        match self {
            Self::Grows(value, _) => value.len(),
            Self::Fixed(buffer) => buffer.len(),
        }
    }
}

impl Space {
    /// Copies the page under a key into `page`.
    ///
    /// # Errors
    /// [`GetError`].
    ///
    /// # Concurrency
    /// Allocates nothing. Waits for one write or move of the object, or for a decoder of the codec; never for a
    /// queue of puts. Looks again as often as the page is replaced in the middle of a read.
    pub fn get(&self, key: u64, page: &mut Page) -> Result<(), GetError> {
        self.get_into(key, page)
    }

    /// As [`get`](Self::get), without ever waiting.
    ///
    /// # Errors
    /// [`TryGetError`]. What `page` holds after [`TryGetError::WouldBlock`] is unspecified.
    ///
    /// # Concurrency
    /// Async-signal-safe: no lock, no allocation, no waiting, a bounded number of steps. It may interrupt any method of
    /// the same store in the same thread.
    pub fn try_get(&self, key: u64, page: &mut Page) -> Result<(), TryGetError> {
        self.try_read(key, PAGE_BYTES, |entry| self.store().read(entry, page, Wait::Never))
    }

    /// Reads what is under a key by `attempt`, which never waits, in a bounded number of attempts. `given` is the length of
    /// the destination, for the error.
    fn try_read<R>(
        &self,
        key: u64,
        given: usize,
        mut attempt: impl FnMut(Entry) -> Result<R, ReadError>,
    ) -> Result<R, TryGetError> {
        let Some((key, _operation)) = self.try_begin(key)? else {
            return Err(TryGetError::WouldBlock);
        };
        let began = Instant::now();
        for _ in 0..ROUNDS {
            let Some(found) = self.state().index.try_find(key) else {
                sync::spin_loop();
                continue;
            };
            if found.word.is_empty() {
                return Err(self.absent().into());
            }
            found.mark();
            match attempt(found.word.entry()) {
                Ok(read) => {
                    self.count_hit(began);
                    return Ok(read);
                }
                Err(ReadError::Stale) => sync::spin_loop(),
                Err(ReadError::WouldBlock) => break,
                Err(error) => return Err(self.read_error(error, given).into()),
            }
        }
        self.state().counters.add(Count::WouldBlock, 1);
        Err(TryGetError::WouldBlock)
    }

    /// Reads what is under a key by `attempt`, again as often as it is replaced in the middle of a read, and returns the
    /// word that it was read by as well. `given` is the length of the destination, for the error.
    fn read<R>(
        &self,
        key: u64,
        given: usize,
        mut attempt: impl FnMut(Entry) -> Result<R, ReadError>,
    ) -> Result<(R, Word), GetError> {
        let (key, _operation) = self.begin(key)?;
        let began = Instant::now();
        loop {
            let found = self.state().index.find(key);
            if found.word.is_empty() {
                return Err(self.absent());
            }
            found.mark();
            match attempt(found.word.entry()) {
                Ok(read) => {
                    self.count_hit(began);
                    self.store().add_wanted_context();
                    return Ok((read, found.word));
                }
                Err(ReadError::Stale | ReadError::WouldBlock) => look_again(),
                Err(error) => return Err(self.read_error(error, given)),
            }
        }
    }

    fn count_hit(&self, began: Instant) {
        self.state().counters.add(Count::Hits, 1);
        self.state().counters.get_took(began.elapsed());
    }

    /// As [`get`](Self::get), for a destination whose length is known only at run time.
    ///
    /// # Errors
    /// [`GetError`]; above all `WrongLength` unless `into` has exactly the length of the page or value.
    pub fn get_into(&self, key: u64, into: &mut [u8]) -> Result<(), GetError> {
        self.read_page(key, into).map(drop)
    }

    /// Fills all of `into`, and returns the word that it was read by.
    pub(super) fn read_page(&self, key: u64, into: &mut [u8]) -> Result<Word, GetError> {
        let given = into.len();
        let attempt = |entry| self.store().read(entry, into, Wait::Allowed);
        self.read(key, given, attempt).map(|((), word)| word)
    }

    /// A copy of the value under a key, whatever its length; a page is a value of 4096 bytes.
    ///
    /// # Errors
    /// [`GetError`], but never `WrongLength`.
    pub fn get_bytes(&self, key: u64) -> Result<Vec<u8>, GetError> {
        let mut value = Vec::new();
        self.read_value(key, &mut value)?;
        Ok(value)
    }

    /// Makes `value` what is under the key, and returns the word that it was read by.
    pub(super) fn read_value(&self, key: u64, value: &mut Vec<u8>) -> Result<Word, GetError> {
        self.get_value(key, &mut Room::Grows(value, 0)).map(|(_, word)| word)
    }

    /// Makes what is under the key what `buffer` has from `start` on; its length.
    pub(super) fn append_value(
        &self,
        key: u64,
        buffer: &mut Vec<u8>,
        start: usize,
    ) -> Result<usize, GetError> {
        self.get_value(key, &mut Room::Grows(buffer, start)).map(|(len, _)| len)
    }

    /// Copies the value under a key to the start of `buffer` and returns its length.
    ///
    /// # Errors
    /// [`GetError`]; `WrongLength` when the buffer is shorter than the value.
    ///
    /// # Concurrency
    /// As [`get`](Self::get), but that a compressed value of more than a page that its allocator keeps in several
    /// pieces is gathered on the heap.
    pub fn get_bytes_into(&self, key: u64, buffer: &mut [u8]) -> Result<usize, GetError> {
        self.get_value(key, &mut Room::Fixed(buffer)).map(|(len, _)| len)
    }

    /// Finds the length first, and then reads into as much room.
    fn get_value(&self, key: u64, room: &mut Room<'_>) -> Result<(usize, Word), GetError> {
        let given = room.capacity();
        self.read(key, given, |entry| self.read_into_room(entry, room, Wait::Allowed))
    }

    /// Copies the value under a key to the start of `buffer` without waiting, and returns its length.
    pub(super) fn try_get_value(&self, key: u64, buffer: &mut [u8]) -> Result<usize, TryGetError> {
        let given = buffer.len();
        let mut room = Room::Fixed(buffer);
        self.try_read(key, given, |entry| self.read_into_room(entry, &mut room, Wait::Never))
    }

    fn read_into_room(
        &self,
        entry: Entry,
        room: &mut Room<'_>,
        wait: Wait,
    ) -> Result<usize, ReadError> {
        let len = self.store().len(entry, wait)?;
        let into = room.of(len).ok_or(ReadError::Length(len))?;
        self.store().read(entry, into, wait)?;
        Ok(len)
    }

    /// Gets many pages, each as by [`get`](Self::get), and returns how each of them fared, in order.
    pub fn get_many<'p>(
        &self,
        pages: impl IntoIterator<Item = (u64, &'p mut Page)>,
    ) -> Vec<Result<(), GetError>> {
        pages.into_iter().map(|(key, page)| self.get(key, page)).collect()
    }

    /// The error for a key without an entry: the space was dropped, or the key has nothing.
    pub(super) fn absent(&self) -> GetError {
        if self.state().index.is_closed() {
            return GetError::Key(crate::KeyError::Dropped);
        }
        self.state().counters.add(Count::Misses, 1);
        GetError::Absent
    }

    pub(super) fn read_error(&self, error: ReadError, given: usize) -> GetError {
        if let ReadError::Length(len) = error {
            return GetError::WrongLength { len, given };
        }
        self.state().counters.add(Count::Corrupt, 1);
        GetError::Corrupt
    }
}

/// Waits a moment before the next look. Another thread replaced the object in the middle of the read, so there is progress.
pub(super) fn look_again() {
    #[cfg(loom)]
    sync::yield_now();
    #[cfg(not(loom))]
    sync::spin_loop();
}
