//! Pages and values in.
//!
//! ```text
//!  same-filled?  -> a word, and no object
//!  otherwise     -> encode in a scratch slot -> pool.store -> exchange the index word -> free the old object
//! ```
//! A put that is not accepted has changed nothing, but for an ephemeral space's old value, which is dropped.

use std::{cell::Cell, time::Instant};

use pagefold_codec::same_filled;

use super::{Kind, Space, Version, update::Expected};
use crate::{
    Before, KeyError, LimitOf, PAGE_BYTES, Page, PutError, PutIfError, PutManyError,
    counters::Count,
    form::{Object, VALUE_MAX},
    index::Refused,
    inner::Inner,
    word::{Kept, Short, Word},
};

/// How often room is made for one put.
const ATTEMPTS: u32 = 8;

impl Space {
    /// Puts a page under a key, whatever was there, at one instant: a get beside it finds the old page or the new one,
    /// and never the old one again once this returned `Ok`.
    ///
    /// # Errors
    /// [`PutError`]. With [`Full`](PutError::Full), in a persistent space the old value is still there; see
    /// [`put_or_remove`](Self::put_or_remove). In an ephemeral space it was dropped.
    ///
    /// # Concurrency
    /// Drops, compacts and waits for encoders if it must; do not call it from a signal handler.
    pub fn put(&self, key: u64, page: &Page) -> Result<(), PutError> {
        let outcome = self.put_page(key, page, Expected::Anything);
        outcome.map(drop).map_err(PutIfError::unconditional)
    }

    /// Puts a page over what is expected; the version that it became.
    pub(super) fn put_page(
        &self,
        key: u64,
        page: &Page,
        expected: Expected,
    ) -> Result<Version, PutIfError> {
        let index = self.key(key)?;
        let began = Instant::now();
        // Before anything is stored: see `update`.
        let epoch = self.inner().epoch();
        let outcome = match same_filled(page) {
            Some(pattern) => match Kept::same(pattern) {
                Some(kept) => self.publish_word(index, kept, PAGE_BYTES, expected),
                None => self.put_object(index, Object::pattern(&pattern.to_ne_bytes()), expected),
            },
            None => self
                .inner()
                .forms
                .with_page(page, |object| self.put_object(index, object, expected)),
        };
        self.tenant().counters.put_took(began.elapsed());
        outcome.map(|word| Version::new(word, epoch))
    }

    /// As [`put`](Self::put), for a page whose length is known only at run time.
    ///
    /// # Errors
    /// [`PutError`]; `WrongLength` unless it has 4096 bytes.
    pub fn put_from(&self, key: u64, page: &[u8]) -> Result<(), PutError> {
        let page = page.try_into().map_err(|_| PutError::WrongLength { len: page.len() })?;
        self.put(key, page)
    }

    /// As [`put`](Self::put), but that the old value goes when the new one cannot be held: nobody reads stale data.
    ///
    /// # Errors
    /// As [`put`](Self::put); after [`Full`](PutError::Full) there is nothing under the key.
    pub fn put_or_remove(&self, key: u64, page: &Page) -> Result<(), PutError> {
        self.put(key, page).map_err(|error| match error {
            PutError::Full { limit, before: Before::Kept } => {
                let removed = self.remove(key).unwrap_or(false);
                let before = if removed { Before::Dropped } else { Before::Absent };
                PutError::Full { limit, before }
            }
            other => other,
        })
    }

    /// Puts a value of 0 bytes to 64 KiB under a key. One of 4096 bytes is a page, and the other way round.
    ///
    /// # Errors
    /// [`PutError`]; `TooLong` when the value, compressed if that helps, is longer than what the allocator takes.
    ///
    /// # Concurrency
    /// As [`put`](Self::put). For a value longer than a page, memory to work in comes from the heap for the time of the
    /// call, and counts against the limit meanwhile.
    pub fn put_bytes(&self, key: u64, value: &[u8]) -> Result<(), PutError> {
        let outcome = self.put_value(key, value, Expected::Anything);
        outcome.map(drop).map_err(PutIfError::unconditional)
    }

    /// Puts a value over what is expected; the version that it became.
    pub(super) fn put_value(
        &self,
        key: u64,
        value: &[u8],
        expected: Expected,
    ) -> Result<Version, PutIfError> {
        if let Ok(page) = value.try_into() {
            return self.put_page(key, page, expected);
        }
        let index = self.key(key)?;
        let began = Instant::now();
        let epoch = self.inner().epoch();
        let outcome = match value.len() {
            0 => self.publish_word(index, Kept::Nil, 0, expected),
            len if len > VALUE_MAX => Err(self.too_long(len, VALUE_MAX).into()),
            len if len > PAGE_BYTES => self.put_long(index, value, expected),
            _ => self
                .inner()
                .forms
                .with_value(value, &mut [], |object| self.put_object(index, object, expected)),
        };
        self.tenant().counters.put_took(began.elapsed());
        outcome.map(|word| Version::new(word, epoch))
    }

    /// Puts many pages, in order, until one is not accepted.
    ///
    /// # Errors
    /// [`PutManyError`] says how many were accepted.
    pub fn put_many<'p>(
        &self,
        pages: impl IntoIterator<Item = (u64, &'p Page)>,
    ) -> Result<usize, PutManyError> {
        let mut accepted = 0;
        for (key, page) in pages {
            self.put(key, page).map_err(|error| PutManyError { accepted, error })?;
            accepted += 1;
        }
        Ok(accepted)
    }

    fn too_long(&self, len: usize, max: usize) -> PutError {
        self.tenant().counters.add(Count::RejectedLong, 1);
        PutError::TooLong { len, max }
    }

    /// A value of more than a page: what it is worked on in is charged for the time of the call.
    fn put_long(&self, index: usize, value: &[u8], expected: Expected) -> Result<Word, PutIfError> {
        let scratch_bytes = 2 * value.len();
        let charge = self.with_room(index, scratch_bytes as u64, expected, || {
            self.inner().charge_long(scratch_bytes).map_err(|_| Retry::Room)
        })?;
        let mut scratch = vec![0; scratch_bytes];
        let outcome = self
            .inner()
            .forms
            .with_value(value, &mut scratch, |object| self.put_object(index, object, expected));
        drop(scratch);
        drop(charge);
        outcome
    }

    /// Stores an object and puts its word under the key.
    fn put_object(
        &self,
        index: usize,
        object: Object<'_>,
        expected: Expected,
    ) -> Result<Word, PutIfError> {
        let inner = self.inner();
        let max = inner.pool.max_len();
        if object.bytes.len() > max {
            return Err(self.too_long(object.bytes.len(), max).into());
        }
        let counted = object.kept(Short(0)).counted_bytes();
        self.with_room(index, object.bytes.len() as u64, expected, || {
            // Looked at before anything is stored; decided under the shard lock.
            if self.tenant().is_over(counted, self.tenant().index.load(index)) {
                return Err(Retry::Space);
            }
            if inner.is_above_target() {
                return Err(Retry::Room);
            }
            let handle = inner.pool.store_resident(object.bytes).map_err(|_| Retry::Room)?;
            let kept = object.kept(Short(handle.to_short()));
            self.publish(index, kept, object.original, expected).inspect_err(|_| {
                // Nobody else can know the handle.
                inner.free(kept);
            })
        })
    }

    /// Puts a word under the key that names no object.
    fn publish_word(
        &self,
        index: usize,
        kept: Kept,
        original: usize,
        expected: Expected,
    ) -> Result<Word, PutIfError> {
        self.with_room(index, PAGE_BYTES as u64, expected, || {
            self.publish(index, kept, original, expected)
        })
    }

    fn publish(
        &self,
        index: usize,
        kept: Kept,
        original: usize,
        expected: Expected,
    ) -> Result<Word, Retry> {
        let tenant = self.tenant();
        let new = kept.counted_bytes();
        let old_bytes = |old: Word| old.kept().counted_bytes();
        let (word, conflict) = (Word::new(kept), Cell::new(false));
        let published = tenant.index.publish(
            index,
            word,
            &|old| {
                conflict.set(!expected.allows(self.inner(), old));
                !conflict.get() && tenant.admit(new, old_bytes(old))
            },
            &|old| tenant.unadmit(new, old_bytes(old)),
        );
        let old = published.map_err(|refused| match refused {
            Refused::Closed => Retry::No(KeyError::Dropped.into()),
            Refused::Beyond => {
                let pages = tenant.index.pages() as u64;
                Retry::No(KeyError::Beyond { key: index as u64, pages }.into())
            }
            Refused::OutOfFrames => Retry::Room,
            Refused::NotAdmitted if conflict.get() => Retry::No(PutIfError::Conflict),
            Refused::NotAdmitted => Retry::Space,
        })?;
        tenant.counters.add(Count::Puts, 1);
        tenant.settle(new, old_bytes(old));
        if old.is_empty() {
            tenant.note_in(kept, original);
        } else {
            tenant.counters.add(Count::Overwrites, 1);
            tenant.note_exchange(kept, original, old.kept(), self.inner().original(old.kept()));
            self.inner().free(old.kept());
        }
        self.inner().after_put();
        Ok(word)
    }

    /// Tries `attempt`, and makes room before it is tried again, a bounded number of times, as long as what is expected
    /// is under the key.
    fn with_room<R>(
        &self,
        index: usize,
        bytes: u64,
        expected: Expected,
        mut attempt: impl FnMut() -> Result<R, Retry>,
    ) -> Result<R, PutIfError> {
        let (inner, tenant) = (self.inner(), self.tenant());
        let is_new = || tenant.index.load(index).is_empty();
        let was_new = is_new();
        if tenant.kind == Kind::Persistent && !inner.gate.lets_in(inner) && is_new() {
            return Err(self.full(index, LimitOf::Threshold, expected, was_new));
        }
        let mut limit = LimitOf::Store;
        for round in 0..=ATTEMPTS {
            if !expected.allows(inner, tenant.index.load(index)) {
                return Err(PutIfError::Conflict);
            }
            match attempt() {
                Ok(done) => return Ok(done),
                Err(Retry::No(error)) => return Err(error),
                Err(Retry::Room) => {
                    limit = LimitOf::Store;
                    if round == ATTEMPTS || !inner.make_room(tenant, bytes, round) {
                        break;
                    }
                }
                Err(Retry::Space) => {
                    limit = LimitOf::Space;
                    let may_drop = tenant.kind == Kind::Ephemeral && round < ATTEMPTS;
                    if !may_drop || inner.evict_from(tenant, 2 * bytes) == 0 {
                        break;
                    }
                }
            }
        }
        if tenant.kind == Kind::Persistent && limit == LimitOf::Store {
            // Overwriting gives as it takes: it may use frames that new pages may not.
            if !is_new() && !inner.is_above_target() {
                match inner.with_ballast(&mut attempt) {
                    Ok(done) => return Ok(done),
                    Err(Retry::No(error)) => return Err(error),
                    Err(Retry::Room | Retry::Space) => {}
                }
            }
            inner.gate.close(inner);
        }
        Err(self.full(index, limit, expected, was_new))
    }

    /// The error for a put that cannot be held, after what it means for the old value. `was_new` says whether there was
    /// none when the put began: what was dropped since made room for it, or was to.
    fn full(&self, index: usize, limit: LimitOf, expected: Expected, was_new: bool) -> PutIfError {
        let tenant = self.tenant();
        let there = tenant.index.load(index);
        if !expected.allows(self.inner(), there) {
            return PutIfError::Conflict;
        }
        let before = match tenant.kind {
            Kind::Persistent if there.is_empty() => Before::Absent,
            Kind::Persistent => Before::Kept,
            Kind::Ephemeral => {
                let dropped = match expected {
                    Expected::Anything => self.inner().remove(tenant, index, Count::Evicted),
                    Expected::Nothing => false,
                    // Never what another thread has put meanwhile.
                    Expected::Version(_) => match tenant.index.take_out(index, there) {
                        Ok(taken) => {
                            tenant.counters.add(Count::Evicted, 1);
                            self.inner().retire(tenant, taken);
                            true
                        }
                        Err(_) => return PutIfError::Conflict,
                    },
                };
                if dropped {
                    tenant.report_evicted(index as u64);
                }
                if dropped || !was_new { Before::Dropped } else { Before::Absent }
            }
        };
        let count = match limit {
            LimitOf::Store => Count::RejectedStore,
            LimitOf::Threshold => Count::RejectedThreshold,
            LimitOf::Space => Count::RejectedSpace,
        };
        tenant.counters.add(count, 1);
        PutError::Full { limit, before }.into()
    }
}

/// Why an attempt to put did not get on.
enum Retry {
    /// The store has no room.
    Room,
    /// The space's limit leaves none.
    Space,
    /// Nothing would help.
    No(PutIfError),
}

impl Inner {
    /// What a put owes to others when it is done: the shrinker is woken above the high watermark.
    fn after_put(&self) {
        if self.is_above_high() {
            self.wake.wake();
        }
    }
}
