//! Pages and values out, without a lock. When another thread replaced the object meanwhile, its handle is stale, and
//! the get starts over.

use std::time::Instant;

use pagefold_sys::sync;

use super::{Space, on_base::Beside};
use crate::{
    GetError, PAGE_BYTES, Page, TryGetError,
    counters::Count,
    encoder::decode::{ReadError, Wait},
    spin::look_again,
    state::spill::{Along, Fetch, Fetched},
    word::{Entry, Word},
};

const ROUNDS: usize = 16;

pub(super) enum Room<'a> {
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
    /// Waits for a write or move of the object, or a decoder. Starts over when the page is replaced. Allocates nothing, unless the page
    /// is spilled: then it waits for the backing, until the read deadline.
    pub fn get(&self, key: u64, page: &mut Page) -> Result<(), GetError> {
        self.get_into(key, page)
    }

    /// As [`get`](Self::get), without waiting.
    ///
    /// # Errors
    /// [`TryGetError`]. After [`TryGetError::WouldBlock`] the content of `page` is unspecified.
    ///
    /// # Concurrency
    /// Async-signal-safe: no lock, allocation or waiting; bounded steps. May interrupt any method of the store.
    pub fn try_get(&self, key: u64, page: &mut Page) -> Result<(), TryGetError> {
        self.try_read(key, PAGE_BYTES, |entry| self.read_entry(key, entry, None, page, Wait::Never))
    }

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
                Err(ReadError::WouldBlock | ReadError::Spilled | ReadError::Base) => break,
                Err(error) => return Err(self.read_error(error, given).into()),
            }
        }
        self.state().counters.add(Count::WouldBlock, 1);
        Err(TryGetError::WouldBlock)
    }

    /// Reads by `attempt`, again if the object is replaced. `given`: the destination's length. `along`: whether a read of the backing
    /// brings others.
    fn read<R>(
        &self,
        key: u64,
        given: usize,
        along: Along,
        fetched: Option<Fetched>,
        mut attempt: impl FnMut(Word, &Beside) -> Result<R, ReadError>,
    ) -> Result<(R, Word), GetError> {
        let mut beside = Beside::new(fetched);
        let (key, mut operation) = self.begin(key)?;
        let began = Instant::now();
        let mut mark_is_own = false;
        loop {
            let found = self.state().index.find(key);
            if found.word.is_empty() {
                return Err(self.absent());
            }
            found.mark();
            let word = if mark_is_own { found.word.unreferenced() } else { found.word };
            match attempt(word, &beside) {
                Err(ReadError::Spilled) => {
                    mark_is_own |= !found.word.is_referenced();
                    // The backing keeps no fork and no quiescence waiting.
                    drop(operation);
                    beside.fetched = self.fetch(found.word, along)?;
                    (_, operation) = self.begin(key)?;
                }
                Err(ReadError::Base) => {
                    mark_is_own |= !found.word.is_referenced();
                    drop(operation);
                    self.load_base(key, &mut beside)?;
                    (_, operation) = self.begin(key)?;
                }
                Ok(read) => {
                    self.count_hit(began);
                    self.note_read(key, found.word);
                    self.store().add_wanted_context();
                    if let Some(fetched) = beside.fetched {
                        self.store().bring_along(self.state(), key, fetched);
                    }
                    return Ok((read, found.word));
                }
                Err(ReadError::Stale | ReadError::WouldBlock) => look_again(),
                Err(error) => return Err(self.read_error(error, given)),
            }
        }
    }

    /// A spilled object. Not inside an operation.
    pub(super) fn fetch(&self, word: Word, along: Along) -> Result<Option<Fetched>, GetError> {
        let started = self.store().start_fetch(word.entry(), along);
        started.map_or(Ok(None), |fetch| self.finish_fetch(fetch))
    }

    /// A page of a cluster that was read before in this generation leaves it, by a worker's hand.
    #[inline]
    fn note_read(&self, key: u64, word: Word) {
        if word.is_referenced() && matches!(word.entry(), Entry::Member { .. }) {
            let store = self.store();
            if store.idle.note_read_twice(self.state().number, key) {
                store.workers.notify();
            }
        }
    }

    fn count_hit(&self, began: Instant) {
        self.state().counters.add(Count::Hits, 1);
        self.state().counters.get_took(began.elapsed());
    }

    /// As [`get`](Self::get), for a slice.
    ///
    /// # Errors
    /// [`GetError`]; `WrongLength` unless `into` has the length of the page or value.
    pub fn get_into(&self, key: u64, into: &mut [u8]) -> Result<(), GetError> {
        self.read_page(key, into).map(drop)
    }

    pub(super) fn read_page(&self, key: u64, into: &mut [u8]) -> Result<Word, GetError> {
        self.read_page_with(key, into, None)
    }

    /// With what was read from the backing already.
    pub(super) fn read_page_with(
        &self,
        key: u64,
        into: &mut [u8],
        fetched: Option<Fetched>,
    ) -> Result<Word, GetError> {
        let given = into.len();
        let attempt = |word: Word, beside: &Beside| {
            self.read_entry(key, word.entry(), Some(beside), into, Wait::Allowed)?;
            self.come_back(key, word, beside.fetched.as_ref(), into);
            Ok(())
        };
        self.read(key, given, Along::Followers, fetched, attempt).map(|((), word)| word)
    }

    /// What was read before in this turn of the order gets an object in memory again.
    fn come_back(&self, key: u64, word: Word, fetched: Option<&Fetched>, bytes: &[u8]) {
        if let (Some(fetched), true) = (fetched, word.is_referenced()) {
            self.store().come_back(self.state(), key, word, fetched, bytes);
        }
    }

    /// A copy of the value under a key; a page is a value of 4096 bytes.
    ///
    /// # Errors
    /// [`GetError`], never `WrongLength`.
    pub fn get_bytes(&self, key: u64) -> Result<Vec<u8>, GetError> {
        let mut value = Vec::new();
        self.read_value(key, &mut value)?;
        Ok(value)
    }

    pub(super) fn read_value(&self, key: u64, value: &mut Vec<u8>) -> Result<Word, GetError> {
        self.get_value(key, &mut Room::Grows(value, 0)).map(|(_, word)| word)
    }

    pub(super) fn append_value(
        &self,
        key: u64,
        buffer: &mut Vec<u8>,
        start: usize,
    ) -> Result<usize, GetError> {
        self.get_value(key, &mut Room::Grows(buffer, start)).map(|(len, _)| len)
    }

    /// Copies the value under a key to the start of `buffer`; returns its length.
    ///
    /// # Errors
    /// [`GetError`]; `WrongLength` when the buffer is too short.
    ///
    /// # Concurrency
    /// As [`get`](Self::get), but may allocate for a compressed value of more than a page.
    pub fn get_bytes_into(&self, key: u64, buffer: &mut [u8]) -> Result<usize, GetError> {
        self.get_value(key, &mut Room::Fixed(buffer)).map(|(len, _)| len)
    }

    fn get_value(&self, key: u64, room: &mut Room<'_>) -> Result<(usize, Word), GetError> {
        self.get_value_with(key, room, Along::Followers, None)
    }

    /// Brings no others along.
    pub(super) fn read_value_alone(&self, key: u64, value: &mut Vec<u8>) -> Result<Word, GetError> {
        let room = &mut Room::Grows(value, 0);
        self.get_value_with(key, room, Along::Nothing, None).map(|(_, word)| word)
    }

    pub(super) fn get_value_with(
        &self,
        key: u64,
        room: &mut Room<'_>,
        along: Along,
        fetched: Option<Fetched>,
    ) -> Result<(usize, Word), GetError> {
        let given = room.capacity();
        self.read(key, given, along, fetched, |word, beside| {
            let len = self.store().len(word.entry(), Wait::Allowed)?;
            let into = room.of(len).ok_or(ReadError::Length(len))?;
            self.read_entry(key, word.entry(), Some(beside), into, Wait::Allowed)?;
            self.come_back(key, word, beside.fetched.as_ref(), into);
            Ok(len)
        })
    }

    pub(super) fn try_get_value(&self, key: u64, buffer: &mut [u8]) -> Result<usize, TryGetError> {
        let given = buffer.len();
        let mut room = Room::Fixed(buffer);
        self.try_read(key, given, |entry| {
            let len = self.store().len(entry, Wait::Never)?;
            let into = room.of(len).ok_or(ReadError::Length(len))?;
            self.read_entry(key, entry, None, into, Wait::Never)?;
            Ok(len)
        })
    }

    pub(super) fn finish_fetch(&self, started: Fetch<'_>) -> Result<Option<Fetched>, GetError> {
        self.note_fetched(started.finish())
    }

    fn note_fetched(
        &self,
        fetched: Result<Option<Fetched>, GetError>,
    ) -> Result<Option<Fetched>, GetError> {
        fetched.inspect_err(|error| {
            if *error == GetError::Corrupt {
                self.state().counters.add(Count::Corrupt, 1);
            }
        })
    }

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
