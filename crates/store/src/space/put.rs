//! Pages and values in: encode, store, exchange the index word, free the old object. A same-filled page needs no
//! object.
//!
//! A refused put changes nothing, except that an ephemeral space drops the old value.

use std::{cell::Cell, time::Instant};

use pagefold_codec::same_filled;

use pagefold_frame::{Charge, ReserveAccess};

use super::{
    Space,
    attempt::{ATTEMPTS, Need, Retry},
    version::{Expected, Version},
};
use crate::{
    KeyError, PAGE_BYTES, Page, PreviousValue, PutError, PutIfError, SpaceKind,
    counters::Count,
    encoder::{SCRATCH_BYTES, VALUE_MAX, object::Object},
    index::Refused,
    state::stage::BATCH_PAGES,
    word::{Entry, Short, Word},
};

/// A word that was published, and what it replaced.
struct Published {
    word: Word,
    old: Entry,
}

impl Space {
    /// Puts a page under a key, atomically: a get finds the old page or the new one.
    ///
    /// # Errors
    /// [`PutError`]. After [`Full`](PutError::Full) a persistent space has the old value, an ephemeral one dropped
    /// it.
    ///
    /// # Concurrency
    /// May evict, compact and wait; not for signal handlers.
    pub fn put(&self, key: u64, page: &Page) -> Result<(), PutError> {
        let outcome = self.put_page(key, page, Expected::Anything);
        outcome.map(drop).map_err(PutIfError::unconditional)
    }

    pub(super) fn put_page(
        &self,
        key: u64,
        page: &Page,
        expected: Expected,
    ) -> Result<Version, PutIfError> {
        self.with_retries(|| self.put_page_once(key, page, expected))
    }

    fn put_page_once(
        &self,
        key: u64,
        page: &Page,
        expected: Expected,
    ) -> Result<Version, PutIfError> {
        if let Some(outcome) = self.put_on_base(key, page, expected) {
            return outcome;
        }
        let (key, _operation) = self.begin_change(key)?;
        let began = Instant::now();
        // Before anything is stored: see `version`.
        let epoch = self.store().epoch();
        let outcome = match same_filled(page) {
            Some(pattern) => match Entry::same(pattern) {
                Some(entry) => self.publish_word(Need::of_word(key, expected), entry, PAGE_BYTES),
                None => {
                    let pattern = pattern.to_ne_bytes();
                    let object = Object::pattern(&pattern);
                    self.put_object(Need::of(key, expected, object), object)
                }
            },
            None => match self.stage(key, page, expected) {
                Some(outcome) => outcome,
                None => {
                    let mut copy = *page;
                    let object = self.store().encoder.encode_page(&mut copy);
                    self.put_compressed(key, expected, object)
                }
            },
        };
        self.state().counters.put_took(began.elapsed());
        outcome.map(|word| Version::new(word, epoch))
    }

    /// Stores a page raw, to be compressed later. `None` where it must go through the codec now: staging is off, the
    /// store is near its limit, the space is at its own, or the caller gets a version, which compressing would change.
    pub(super) fn stage(
        &self,
        key: u64,
        page: &Page,
        expected: Expected,
    ) -> Option<Result<Word, PutIfError>> {
        let (store, space) = (self.store(), self.state());
        if expected.depends()
            || store.staging.capacity() == 0
            || store.is_above_high()
            || store.is_above_target()
        {
            return None;
        }
        let object = Object::fresh(page);
        let (need, there) = (Need::of(key, expected, object), space.index.load(key));
        if space.is_over(PAGE_BYTES as u64, there)
            || space.kind == SpaceKind::Persistent && there.is_empty() && !store.accepts_new_pages()
        {
            return None;
        }
        let has_workers = store.workers.goes_on() && store.workers.running() > 0;
        if has_workers && store.staging.overflows() {
            return None;
        }
        let reserved = store.staging.reserve().or_else(|| {
            if has_workers {
                return None;
            }
            (0..BATCH_PAGES).for_each(|_| _ = store.unstage_one(true));
            store.staging.reserve()
        })?;
        let entry = store.store(object, ReserveAccess::Normal)?;
        match self.publish(need, entry, object.original) {
            Ok(Published { word, old }) => {
                store.staging.note_staged();
                // A fresh page that this one replaced has an entry, which now stands for this one.
                if !matches!(old, Entry::Fresh(_)) && reserved.push(space, key) {
                    store.workers.notify();
                }
                Some(Ok(word))
            }
            Err(retry) => {
                // No other thread can know the handle.
                store.free(entry);
                match retry {
                    Retry::Room | Retry::Space => None,
                    Retry::No(error) => Some(Err(error)),
                }
            }
        }
    }

    /// As [`put`](Self::put), for a slice.
    ///
    /// # Errors
    /// [`PutError`]; `WrongLength` unless it has 4096 bytes.
    pub fn put_from(&self, key: u64, page: &[u8]) -> Result<(), PutError> {
        let page = page.try_into().map_err(|_| PutError::WrongLength { len: page.len() })?;
        self.put(key, page)
    }

    /// As [`put`](Self::put), but a refusal drops the old value.
    ///
    /// # Errors
    /// As [`put`](Self::put); after [`Full`](PutError::Full) the key is empty.
    pub fn put_or_remove(&self, key: u64, page: &Page) -> Result<(), PutError> {
        self.put(key, page).map_err(|error| match error {
            PutError::Full { limit, previous: PreviousValue::Kept } => {
                let removed = self.remove(key).unwrap_or(false);
                let previous = if removed { PreviousValue::Dropped } else { PreviousValue::Absent };
                PutError::Full { limit, previous }
            }
            other => other,
        })
    }

    /// Puts a value of 0 bytes to 64 KiB under a key. A value of 4096 bytes is a page.
    ///
    /// # Errors
    /// [`PutError`]; `TooLong` when the encoded value exceeds the allocator's longest object.
    ///
    /// # Concurrency
    /// As [`put`](Self::put). A value longer than a page takes charged scratch from the heap.
    pub fn put_bytes(&self, key: u64, value: &[u8]) -> Result<(), PutError> {
        let outcome = self.put_value(key, value, Expected::Anything);
        outcome.map(drop).map_err(PutIfError::unconditional)
    }

    pub(super) fn put_value(
        &self,
        key: u64,
        value: &[u8],
        expected: Expected,
    ) -> Result<Version, PutIfError> {
        match value.try_into() {
            Ok(page) => self.put_page(key, page, expected),
            Err(_) => self.with_retries(|| self.put_value_once(key, value, expected)),
        }
    }

    /// `value` is no page.
    fn put_value_once(
        &self,
        key: u64,
        value: &[u8],
        expected: Expected,
    ) -> Result<Version, PutIfError> {
        let (key, _operation) = self.begin_change(key)?;
        let began = Instant::now();
        let epoch = self.store().epoch();
        let outcome = match value.len() {
            0 => self.publish_word(Need::of_word(key, expected), Entry::Nil, 0),
            len if len > VALUE_MAX => Err(self.too_long(len, VALUE_MAX).into()),
            len if len > PAGE_BYTES => self.put_long(key, value, expected),
            len => {
                let mut buffer = [0; PAGE_BYTES];
                buffer[..len].copy_from_slice(value);
                let object = self.store().encoder.encode_value(&mut buffer, len);
                self.put_object(Need::of(key, expected, object), object)
            }
        };
        self.state().counters.put_took(began.elapsed());
        outcome.map(|word| Version::new(word, epoch))
    }

    fn too_long(&self, len: usize, max: usize) -> PutError {
        self.state().counters.add(Count::RejectedLong, 1);
        PutError::TooLong { len, max }
    }

    fn put_long(&self, key: u64, value: &[u8], expected: Expected) -> Result<Word, PutIfError> {
        let (store, encoder) = (self.store(), &self.store().encoder);
        // Longer than any object: not for the overwrite reserve.
        let need =
            Need { room_bytes: SCRATCH_BYTES as u64, ..Need::new(key, expected, usize::MAX) };
        self.with_room(need, |_| store.charge_long().map_err(|_| Retry::Room))?;
        let scratch_bytes = 2 * value.len();
        if let Some(_charge) = self.charge_scratch(scratch_bytes) {
            let mut scratch = vec![0; scratch_bytes];
            let object = encoder.encode_long(value, &mut scratch);
            return self.put_object(Need::of(key, expected, object), object);
        }
        // The store's scratch. Drops no page, because a listener may put a long value too.
        encoder.scratch().acquire().with(|scratch| {
            let scratch = scratch.get_or_insert_with(|| vec![0; SCRATCH_BYTES].into());
            let object = encoder.encode_long(value, &mut scratch[..scratch_bytes]);
            self.put_object(Need { drops: false, ..Need::of(key, expected, object) }, object)
        })
    }

    fn charge_scratch(&self, bytes: usize) -> Option<Charge> {
        let store = self.store();
        let charge = || store.memory.charge_beside(bytes).ok();
        charge().or_else(|| {
            (0..ATTEMPTS).find_map(|_| {
                let has_room = store.wait_for_spiller(self.kind())
                    || store.evict_anywhere(2 * bytes as u64) > 0;
                has_room.then(|| store.trim());
                charge()
            })
        })
    }

    pub(super) fn put_object(&self, need: Need, object: Object<'_>) -> Result<Word, PutIfError> {
        let (store, key) = (self.store(), need.key);
        let max = store.pool.max_len();
        if object.bytes.len() > max {
            return Err(self.too_long(object.bytes.len(), max).into());
        }
        let counted = object.entry(Short(0)).counted_bytes();
        self.with_room(need, |access| {
            // A hint; decided under the shard lock.
            if self.state().is_over(counted, self.state().index.load(key)) {
                return Err(Retry::Space);
            }
            if access == ReserveAccess::Normal && store.is_above_target() {
                return Err(Retry::Room);
            }
            let entry = store.store(object, access).ok_or(Retry::Room)?;
            let published = self.publish(need, entry, object.original).inspect_err(|_| {
                // No other thread knows the handle.
                store.free(entry);
            });
            Ok(published?.word)
        })
    }

    pub(super) fn publish_word(
        &self,
        need: Need,
        entry: Entry,
        original: usize,
    ) -> Result<Word, PutIfError> {
        self.with_room(need, |_| Ok(self.publish(need, entry, original)?.word))
    }

    fn publish(&self, need: Need, entry: Entry, original: usize) -> Result<Published, Retry> {
        let (space, key) = (self.state(), need.key);
        let new = entry.counted_bytes();
        let old_bytes = |old: Word| old.entry().counted_bytes();
        let (word, conflict) = (Word::new(entry), Cell::new(false));
        let published = space.index.publish(key, word, &|old| {
            conflict.set(!need.expected.allows(self.store(), old));
            !conflict.get() && space.admit(new, old_bytes(old))
        });
        let taken = published.map_err(|refused| match refused {
            Refused::Closed => Retry::No(KeyError::Dropped.into()),
            Refused::Beyond => {
                Retry::No(KeyError::Beyond { key, pages: space.index.pages() }.into())
            }
            Refused::OutOfFrames => Retry::Room,
            Refused::NotAdmitted if conflict.get() => Retry::No(PutIfError::Conflict),
            Refused::NotAdmitted => Retry::Space,
        })?;
        let old = taken.word;
        space.counters.add(Count::Puts, 1);
        space.count_shrunk(new, old_bytes(old));
        if old.is_empty() {
            space.note_in(entry, original);
        } else {
            space.counters.add(Count::Overwrites, 1);
            space.note_exchange(entry, original, old.entry(), self.store().original(old.entry()));
            self.store().free_taken(taken);
        }
        self.store().after_put();
        Ok(Published { word, old: old.entry() })
    }
}
