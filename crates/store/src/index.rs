//! The index of a space: a word a page in a table that never moves, and how many of each table page are in use.
//!
//! # Protocol
//! - A word changes by compare-and-swap or exchange only. Whoever takes a word out owns what it named: they, and nobody
//!   else, free the object (I-WORD). So a get beside a put finds the old object or the new one, or a stale handle, and
//!   then looks again.
//! - An entry is made under the *shard lock* of its table page: make the page usable, count the entry, exchange. The
//!   count of a table page (*occupancy*) is raised before the word is there and lowered after it is gone, so it is
//!   never below the truth.
//! - Table pages are given back under the same locks, and only while their count is 0 (I-OCCUPANCY). Whoever takes
//!   words out or marks them stores to a page only while they saw an entry in it.
//!
//! Readers take no lock.

use std::{ops::Range, sync::Arc};

use pagefold_frame::{Claim, Memory, OutOfFrames, SourceError, WordTable};
use pagefold_sys::sync::{AtomicBool, AtomicU64, AtomicUsize, Mutex, MutexGuard, Ordering, Padded};

use crate::word::Word;

/// Index words in a page of the table.
pub(crate) const REGION: usize = 512;
/// Locks that the table pages of a space are spread over.
const SHARDS: usize = if cfg!(loom) { 1 } else { 16 };

/// See the module.
#[derive(Debug)]
pub(crate) struct Index {
    words: WordTable,
    /// By table page: how many of its words are in use.
    occupancy: WordTable,
    shards: Box<[Padded<Mutex<()>>]>,
    /// Keys go from 0 to one less than this, which is at most what the table has words for.
    pages: AtomicUsize,
    /// Set when the space is dropped; what is under a shard lock after that finds it set.
    closed: AtomicBool,
}

/// Why a word was not put under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The space was closed.
    Closed,
    /// The key is beyond the space by now.
    Beyond,
    /// There is no memory for a page of the index.
    OutOfFrames,
    /// `admit` said no.
    NotAdmitted,
}

impl Index {
    /// An empty index for `pages` keys.
    pub(crate) fn new(memory: &Arc<Memory>, pages: usize) -> Result<Self, SourceError> {
        Ok(Self {
            words: WordTable::new(memory, pages)?,
            occupancy: WordTable::new(memory, pages.div_ceil(REGION))?,
            shards: (0..SHARDS).map(|_| Padded(Mutex::new(()))).collect(),
            pages: AtomicUsize::new(pages),
            closed: AtomicBool::new(false),
        })
    }

    /// Bytes that lie outside of the tables.
    pub(crate) fn fixed_bytes(&self) -> usize {
        size_of_val(&*self.shards)
    }

    /// Keys go from 0 to one less than this.
    pub(crate) fn pages(&self) -> usize {
        // ORDERING: Relaxed; a hint outside of a shard lock. Under one it is exact, because `set_pages` takes every lock
        // once after it stored.
        self.pages.load(Ordering::Relaxed)
    }

    /// As many as the table has words for.
    pub(crate) fn pages_max(&self) -> usize {
        self.words.capacity()
    }

    /// Changes how many keys there are. When it returns, no entry beyond is made any more; those that were are there.
    pub(crate) fn set_pages(&self, pages: usize) {
        self.pages.store(pages, Ordering::Relaxed);
        for shard in &self.shards {
            drop(shard.lock());
        }
    }

    fn shard(&self, region: usize) -> &Mutex<()> {
        &self.shards[region % self.shards.len()]
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        // ORDERING: Acquire; pairs with the Release in `close`. A hint outside of a shard lock; under one it is
        // exact, because `close` takes every lock once after it stored.
        self.closed.load(Ordering::Acquire)
    }

    /// Lets no entry be made any more. When it returns, nobody is about to make one.
    pub(crate) fn close(&self) -> bool {
        // ORDERING: AcqRel; Release pairs with the Acquire in `is_closed`; Acquire, so that of two callers the
        // second comes after the first.
        let was_open = !self.closed.swap(true, Ordering::AcqRel);
        for shard in &self.shards {
            drop(shard.lock());
        }
        was_open
    }

    /// What is under a key. A key that was never used, or is beyond the space, has nothing.
    #[inline]
    pub(crate) fn load(&self, key: usize) -> Word {
        // ORDERING: Acquire; pairs with the Release in `change`: whoever sees the handle finds the object.
        self.words
            .get(key)
            .map_or(Word::EMPTY, |word| Word::from_bits(word.load(Ordering::Acquire)))
    }

    /// Puts a word under a key if `admit` agrees to its taking the place of the word that it is shown, and returns that
    /// word: what it named is the caller's to free. `undo` takes back an agreement when that word was gone.
    pub(crate) fn publish(
        &self,
        key: usize,
        new: Word,
        admit: &dyn Fn(Word) -> bool,
        undo: &dyn Fn(Word),
    ) -> Result<Word, Refused> {
        let region = key / REGION;
        let _shard = self.shard(region).lock();
        if self.is_closed() {
            return Err(Refused::Closed);
        }
        if key >= self.pages() {
            return Err(Refused::Beyond);
        }
        // A page with an entry is usable, and stays so while its shard is held. (I-OCCUPANCY)
        if !self.is_occupied(region) {
            let usable = self
                .words
                .ensure(key, Claim::Normal)
                .and_then(|()| self.occupancy.ensure(region, Claim::Normal));
            usable.map_err(|OutOfFrames| Refused::OutOfFrames)?;
        }
        let mut old = self.load(key);
        loop {
            if !admit(old) {
                return Err(Refused::NotAdmitted);
            }
            // A word that takes the place of another has been counted with it.
            let counted = old.is_empty();
            if counted {
                self.count(region).fetch_add(1, Ordering::Relaxed);
            }
            match self.change(key, old, new) {
                Ok(replaced) => return Ok(replaced),
                Err(now) => {
                    if counted {
                        self.count(region).fetch_sub(1, Ordering::Relaxed);
                    }
                    undo(old);
                    old = now;
                }
            }
        }
    }

    /// Whether a table page has an entry.
    fn is_occupied(&self, region: usize) -> bool {
        self.occupancy.get(region).is_some_and(|count| count.load(Ordering::Relaxed) > 0)
    }

    // ORDERING of the counts: Relaxed. They are raised under the shard lock that `release` holds when it reads them;
    // one that is lowered late keeps a page a little longer.
    fn count(&self, region: usize) -> &AtomicU64 {
        self.occupancy.word(region)
    }

    /// Takes a word out if it is still `old`, give or take its mark; what it named is then the caller's to free.
    pub(crate) fn take_out(&self, key: usize, old: Word) -> Result<Word, Word> {
        let removed = self.change(key, old, Word::EMPTY)?;
        self.count(key / REGION).fetch_sub(1, Ordering::Relaxed);
        Ok(removed)
    }

    /// Takes out whatever is under a key.
    pub(crate) fn take_any(&self, key: usize) -> Word {
        let mut word = self.load(key);
        while !word.is_empty() {
            match self.take_out(key, word) {
                Ok(removed) => return removed,
                Err(now) => word = now,
            }
        }
        Word::EMPTY
    }

    /// Replaces a word, looking past changes of its mark. Whoever calls it saw an entry in the table page, or holds its
    /// shard lock. (I-OCCUPANCY)
    fn change(&self, key: usize, old: Word, new: Word) -> Result<Word, Word> {
        let word = self.words.word(key);
        let mut expected = old;
        loop {
            // ORDERING: AcqRel; Release pairs with the Acquire in `load`: whoever sees the new handle finds the object.
            // Acquire, also on failure, so that freeing what the old word named comes after it was made.
            let outcome = word.compare_exchange(
                expected.bits(),
                new.bits(),
                Ordering::AcqRel,
                Ordering::Acquire,
            );
            match outcome.map_err(Word::from_bits) {
                Ok(_) => return Ok(expected),
                Err(now) if now.unreferenced() == old.unreferenced() => expected = now,
                Err(now) => return Err(now),
            }
        }
    }

    /// Notes that a page was read. Writes only if that was not noted yet.
    #[inline]
    pub(crate) fn mark(&self, key: usize, word: Word) {
        if !word.is_referenced() {
            // ORDERING: Relaxed; the mark is advice to the eviction order. Lost if the word changed.
            let _ = self.words.word(key).compare_exchange(
                word.bits(),
                word.referenced().bits(),
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
    }

    /// Clears the mark.
    pub(crate) fn unmark(&self, key: usize, word: Word) {
        // ORDERING: Relaxed; as in `mark`.
        let _ = self.words.word(key).compare_exchange(
            word.bits(),
            word.unreferenced().bits(),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }

    /// The first key from `from` on that has something, looking at no more than `budget` words. Table pages without
    /// an entry cost one look each.
    pub(crate) fn next_used(&self, from: usize, budget: &mut usize) -> Option<(usize, Word)> {
        let mut key = from;
        while key < self.pages_max() && *budget > 0 {
            *budget -= 1;
            let region = key / REGION;
            let count = self.occupancy.get(region)?;
            if count.load(Ordering::Relaxed) == 0 {
                key = (region + 1) * REGION;
                continue;
            }
            let word = self.load(key);
            if !word.is_empty() {
                return Some((key, word));
            }
            key += 1;
        }
        None
    }

    /// Keys with something under them; more than the truth while entries come and go.
    pub(crate) fn used(&self, range: Range<usize>) -> u64 {
        range
            .map_while(|region| self.occupancy.get(region))
            .map(|count| count.load(Ordering::Relaxed))
            .sum()
    }

    /// Gives table pages without an entry back to the system, a bounded number a call; returns how many.
    pub(crate) fn release(&self, cursor: &mut Option<usize>) -> usize {
        // The table calls back under its own lock, which `publish` takes under a shard lock: so these are only tried.
        // They are kept until the pages are gone, so that nobody makes an entry in one of them meanwhile.
        let mut held: Vec<Option<MutexGuard<'_, ()>>> = self.shards.iter().map(|_| None).collect();
        self.words.release_vacant(cursor, &mut |words| {
            let region = words.start / REGION;
            let shard = region % self.shards.len();
            if held[shard].is_none() {
                held[shard] = self.shards[shard].try_lock();
            }
            let is_vacant = |count: &AtomicU64| count.load(Ordering::Relaxed) == 0;
            // A page whose count never became usable never got an entry.
            held[shard].is_some() && self.occupancy.get(region).is_none_or(is_vacant)
        })
    }
}
