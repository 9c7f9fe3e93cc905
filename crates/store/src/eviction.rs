//! The order in which an ephemeral space drops pages to make room.
//!
//! An order sees only keys and marks. The default is [`SecondChance`]; [`RandomOrder`] is another.
//!
//! Raw pages are ordered like all pages, so a space full of incompressible pages does not drop younger ones
//! first. A same-filled page costs no memory and stays. The index finds the next page with memory in one step,
//! however many same-filled pages or unused keys lie before it.

use std::{
    cell::Cell,
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::index::Index;

/// Pages that one choice may look at.
const LOOKS: usize = 512;

/// Chooses which page of an ephemeral space goes next.
///
/// # Concurrency
/// Several threads call an order at once, without a lock of the store; it may call the store. A key that is chosen
/// twice, or is empty by then, does no harm. When an order panics, or keeps choosing nothing while there are pages to
/// drop, the store counts it
/// ([`SpaceStats::order_failures`](crate::SpaceStats::order_failures)) and takes the next page by [`SecondChance`]
/// instead.
pub trait EvictionOrder: Send + Sync + fmt::Debug {
    /// The key of the page to drop next; `None` when the looks are used up or there is no page to drop.
    fn next(&self, pages: &Pages<'_>) -> Option<u64>;
}

/// A page that an order may choose: one whose object takes memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Candidate {
    /// Its key.
    pub key: u64,
    /// Whether it was read since its mark was cleared.
    pub referenced: bool,
}

/// The pages of a space that may be dropped, as an order sees them, with a bounded number of looks.
pub struct Pages<'a> {
    index: &'a Index,
    looks: Cell<usize>,
}

impl fmt::Debug for Pages<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").field("looks", &self.looks).finish_non_exhaustive()
    }
}

impl<'a> Pages<'a> {
    pub(crate) fn new(index: &'a Index) -> Self {
        Self { index, looks: Cell::new(LOOKS) }
    }

    /// Keys go from 0 to one less than this.
    pub fn capacity(&self) -> u64 {
        self.index.pages()
    }

    /// The first page from a key on, and one look less. `None` when there is none up to the end of the space, or when
    /// the looks are used up. What lies between the keys costs nothing: keys without a page, and same-filled pages.
    pub fn next_from(&self, key: u64) -> Option<Candidate> {
        self.looks.set(self.looks.get().checked_sub(1)?);
        let (key, found) = self.index.next_droppable(key)?;
        Some(Candidate { key, referenced: found.word.is_referenced() })
    }

    /// Whether the looks are used up.
    pub fn is_out_of_looks(&self) -> bool {
        self.looks.get() == 0
    }

    /// Clears the mark of a page: it counts as not read until it is read again.
    pub fn clear_referenced(&self, key: u64) {
        self.index.find(key).unmark();
    }
}

/// A clock over the index: a page read since the hand last passed stays for another turn. The mark is a bit of the
/// index word, so it costs no memory.
#[derive(Debug, Default)]
pub struct SecondChance {
    hand: AtomicU64,
}

impl SecondChance {
    /// With the hand at key 0.
    pub fn new() -> Self {
        Self::default()
    }
}

impl EvictionOrder for SecondChance {
    fn next(&self, pages: &Pages<'_>) -> Option<u64> {
        // ORDERING: Relaxed, here and below; two threads that start at the same place drop the same pages, once.
        let mut from = Some(self.hand.load(Ordering::Relaxed));
        let mut turned = false;
        // The first one that was read: taken when all of the looks found pages that were read.
        let mut read = None;
        let chosen = loop {
            let Some(candidate) = from.and_then(|from| pages.next_from(from)) else {
                if turned || pages.is_out_of_looks() {
                    break read;
                }
                (turned, from) = (true, Some(0));
                continue;
            };
            from = candidate.key.checked_add(1);
            if !candidate.referenced {
                break Some(candidate.key);
            }
            pages.clear_referenced(candidate.key);
            read = read.or(Some(candidate.key));
        };
        self.hand.store(from.unwrap_or(0), Ordering::Relaxed);
        chosen
    }
}

/// The next page from a random key on: a page after a long gap has a greater chance. Needs no marks, forgets no scan.
#[derive(Debug)]
pub struct RandomOrder {
    state: AtomicU64,
}

impl RandomOrder {
    /// An order that follows from the seed, as long as one thread asks.
    pub fn new(seed: u64) -> Self {
        Self { state: AtomicU64::new(seed) }
    }

    /// splitmix64: a counter, mixed.
    fn random(&self) -> u64 {
        // ORDERING: Relaxed; any number will do.
        let word = self.state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

impl EvictionOrder for RandomOrder {
    fn next(&self, pages: &Pages<'_>) -> Option<u64> {
        let start = self.random() % pages.capacity().max(1);
        pages.next_from(start).or_else(|| pages.next_from(0)).map(|candidate| candidate.key)
    }
}
