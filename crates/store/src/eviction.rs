//! Orders in which ephemeral spaces drop pages.
//!
//! An order sees keys and marks of pages with memory; same-filled pages stay. The index finds the next page in one
//! step.

use std::{
    cell::Cell,
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::index::Index;

/// Looks per choice.
const LOOKS: usize = 512;

/// Chooses the next page that an ephemeral space drops.
///
/// # Concurrency
/// Several threads call it at once, unlocked; it may call the store. Repeated and empty keys are harmless. If it panics
/// or keeps choosing nothing while pages remain, the store counts that
/// ([`SpaceStats::order_failures`](crate::SpaceStats::order_failures)) and uses [`SecondChance`].
pub trait EvictionOrder: Send + Sync + fmt::Debug {
    /// The next key to drop; `None` without looks or pages.
    fn next(&self, pages: &Pages<'_>) -> Option<u64>;
}

/// A page whose object takes memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Candidate {
    /// Its key.
    pub key: u64,
    /// Read since its mark was cleared.
    pub referenced: bool,
}

/// A space's droppable pages, for a bounded number of looks.
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

    /// Keys are below this.
    pub fn capacity(&self) -> u64 {
        self.index.pages()
    }

    /// The first page from `key` on, for one look; `None` at the space's end or without looks.
    pub fn next_from(&self, key: u64) -> Option<Candidate> {
        self.looks.set(self.looks.get().checked_sub(1)?);
        let (key, found) = self.index.next_droppable(key)?;
        Some(Candidate { key, referenced: found.word.is_referenced() })
    }

    /// Whether no looks remain.
    pub fn is_out_of_looks(&self) -> bool {
        self.looks.get() == 0
    }

    /// Clears the mark of a page.
    pub fn clear_referenced(&self, key: u64) {
        self.index.find(key).unmark();
    }
}

/// A clock: pages read since the hand last passed stay another turn.
#[derive(Debug, Default)]
pub struct SecondChance {
    hand: AtomicU64,
}

impl SecondChance {
    /// The hand starts at key 0.
    pub fn new() -> Self {
        Self::default()
    }
}

impl EvictionOrder for SecondChance {
    fn next(&self, pages: &Pages<'_>) -> Option<u64> {
        // ORDERING: Relaxed, here and below; threads at one place drop the same pages, once.
        let mut from = Some(self.hand.load(Ordering::Relaxed));
        let mut turned = false;
        // If every look finds a marked page.
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

/// The next page from a random key: long gaps favour a page.
#[derive(Debug)]
pub struct RandomOrder {
    state: AtomicU64,
}

impl RandomOrder {
    /// Deterministic while one thread asks.
    pub fn new(seed: u64) -> Self {
        Self { state: AtomicU64::new(seed) }
    }

    /// splitmix64.
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
