//! Staged pages go through the codec: by a worker, by a put that finds the queue full or no room, by `flush` or `maintain`.
//!
//! A turn loads the word, encodes, and replaces the word if it is still the same; otherwise it looks again, because the
//! put that came between pushed no entry of its own (I-STAGE). What a turn stores is never longer than what it frees, so
//! at the limit it takes the overwrite reserve. If even that has no room, or the codec panics, the page stays raw.

#[cfg(not(loom))]
use std::thread;

use pagefold_frame::ReserveAccess;

use super::{SpaceState, StoreState, caught::caught};
use crate::{
    base::AtHand,
    counters::Count,
    encoder::{
        decode::{ReadError, Wait},
        on_base::OnBase,
    },
    page::{PAGE_BYTES, Page},
    spin::look_again,
    staging::{Outcome, Staged},
    word::{Entry, Short, Word, page_len},
};

/// The pages that a put compresses when it finds the queue full.
pub(crate) const BATCH_PAGES: usize = 4;
/// How long a flush sleeps between looks at a turn that another thread has.
#[cfg(not(loom))]
const FLUSH_PAUSE: std::time::Duration = std::time::Duration::from_micros(50);

impl StoreState {
    /// Ends the turn of the page that has waited longest; how many bytes that saved, or `None` if no page waits.
    pub(crate) fn unstage_one(&self, by_caller: bool) -> Option<u64> {
        let staged = self.staging.take()?;
        Some(self.end_turn(&staged, by_caller))
    }

    /// Ends turns until `bytes` of objects are saved or no page waits; returns how many bytes.
    pub(crate) fn unstage(&self, bytes: u64) -> u64 {
        let mut saved = 0;
        while saved < bytes
            && let Some(more) = self.unstage_one(true)
        {
            saved += more;
        }
        saved
    }

    /// Ends turns while the space has pages in staging; whether that saved anything.
    pub(crate) fn unstage_space(&self, space: &SpaceState) -> bool {
        let mut saved = 0;
        while self.staging.capacity() > 0
            && space.counters.sum(Count::Fresh) > 0
            && let Some(more) = self.unstage_one(true)
        {
            saved += more;
        }
        saved > 0
    }

    /// Ends the turns of all pages that wait now, and waits for those that other threads have.
    pub(crate) fn flush(&self) {
        let end = self.staging.next_number();
        while !self.staging.is_past(end) {
            if !self.staging.has_before(end) {
                pause();
            } else if self.unstage_one(true).is_none() {
                continue;
            }
        }
    }

    /// Compresses a fresh page now; its entry in the queue then finds nothing to do.
    pub(crate) fn compress_now(&self, space: &SpaceState, key: u64) {
        self.compress_fresh(space, key, true);
    }

    fn end_turn(&self, staged: &Staged<'_, SpaceState>, by_caller: bool) -> u64 {
        self.compress_fresh(&staged.space, staged.key, by_caller)
    }

    /// Compresses what is under a key, as long as it is fresh; how many bytes that saved.
    fn compress_fresh(&self, space: &SpaceState, key: u64, by_caller: bool) -> u64 {
        loop {
            let word = space.index.load(key);
            let Entry::Fresh(at) = word.entry() else { return 0 };
            let mut page = [0; PAGE_BYTES];
            let outcome = match self.read(word.entry(), &mut page, Wait::Allowed) {
                Ok(()) => self.compress_page(space, key, word, &mut page),
                Err(
                    ReadError::Stale | ReadError::WouldBlock | ReadError::Spilled | ReadError::Base,
                ) => Err(Refused::Changed),
                // A get says so.
                Err(ReadError::Corrupt | ReadError::Length(_)) => Err(Refused::NoRoom),
            };
            let entry = match outcome {
                Ok(entry) => entry,
                Err(Refused::Changed) => {
                    look_again();
                    continue;
                }
                Err(Refused::NoRoom) => {
                    let raw = Entry::Raw(at);
                    if space.index.replace(key, word, Word::new(raw)).is_err() {
                        continue;
                    }
                    raw
                }
            };
            space.count_shrunk(entry.counted_bytes(), PAGE_BYTES as u64);
            space.note_exchange(entry, PAGE_BYTES, word.entry(), PAGE_BYTES);
            let is_raw = matches!(entry, Entry::Raw(_));
            let outcome = if is_raw { Outcome::KeptRaw } else { Outcome::Compressed };
            self.staging.note(outcome, by_caller);
            self.note_compressed(space.number, key, entry);
            return PAGE_BYTES as u64 - entry.counted_bytes();
        }
    }

    /// Against the base page, if the key has one that is at hand.
    fn encode_staged<'p>(&self, space: &SpaceState, key: u64, page: &'p mut Page) -> OnBase<'p> {
        let mapped =
            space.mapping.as_ref().and_then(|mapping| Some((mapping, mapping.page_of(key)?)));
        let Some((mapping, number)) = mapped else {
            return OnBase::Object(self.encoder.encode_page(page));
        };
        let mut base = [0; PAGE_BYTES];
        if !mapping.base.at_hand(number, &mut base, AtHand::Soon) {
            return OnBase::Object(self.encoder.encode_page(page));
        }
        if mapping.samples() {
            let len = page_len(self.encoder.plain_len(page));
            space.counters.add(Count::Sampled, 1);
            space.counters.add(Count::SampledBytes, len);
        }
        self.encoder.encode_page_on(page, &base)
    }

    /// Encodes a page and exchanges its word. `NoRoom` also for a page that does not shrink, or a codec that panics.
    fn compress_page(
        &self,
        space: &SpaceState,
        key: u64,
        word: Word,
        page: &mut Page,
    ) -> Result<Entry, Refused> {
        let encoded = caught(|| self.encode_staged(space, key, page));
        let encoded = encoded.map_err(|_| {
            self.staging.note_failure();
            tracing::error!(space = space.name, "the codec panicked; a staged page stays raw");
            Refused::NoRoom
        })?;
        let object = match encoded {
            OnBase::Object(object) => object,
            OnBase::Equal => {
                let replaced = space.index.replace(key, word, Word::new(Entry::Equal));
                replaced.map_err(|_| Refused::Changed)?;
                self.free(word.entry());
                return Ok(Entry::Equal);
            }
        };
        let (Entry::Page { .. } | Entry::Delta { .. }) = object.entry(Short(0)) else {
            return Err(Refused::NoRoom);
        };
        // The old object is freed before the overwrite reserve is given to the next thread.
        let exchange = |access| {
            let entry = self.store(object, access).ok_or(Refused::NoRoom)?;
            let replaced = space.index.replace(key, word, Word::new(entry));
            self.free(if replaced.is_ok() { word.entry() } else { entry });
            replaced.map(|_| entry).map_err(|_| Refused::Changed)
        };
        match exchange(ReserveAccess::Normal) {
            Err(Refused::NoRoom) => {
                self.with_overwrite_reserve(|| exchange(ReserveAccess::Overwrite))
            }
            outcome => outcome,
        }
    }
}

/// Why a fresh page was not compressed.
enum Refused {
    /// A put or a removal came between.
    Changed,
    /// It stays raw.
    NoRoom,
}

/// Lets the thread get on that has a turn.
fn pause() {
    #[cfg(loom)]
    pagefold_sys::sync::yield_now();
    #[cfg(not(loom))]
    thread::sleep(FLUSH_PAUSE);
}
