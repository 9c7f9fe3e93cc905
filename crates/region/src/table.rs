//! The words of all pages: claims, and waiting for them.
//!
//! # Invariants
//! I-CLAIM: from a successful [`claim`](PageTable::claim) to its [`release`](PageTable::release) the page is `Busy`, and no other
//! thread changes its content, its mapping, or its key in the store. Others only set `WAITED`.

use pagefold_store::Page;
use pagefold_sys::sync::{self, AtomicU64, Ordering};
use xxhash_rust::xxh3::xxh3_64;

use crate::word::{State, Word};

/// The number of a page of the region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PageIndex(pub(crate) usize);

impl PageIndex {
    pub(crate) fn key(self) -> u64 {
        self.0 as u64
    }
}

/// The right to change a page.
#[derive(Debug)]
#[must_use = "a claimed page is released"]
pub(crate) struct Claim {
    pub(crate) page: PageIndex,
    /// As it was before.
    pub(crate) word: Word,
}

#[derive(Debug)]
pub(crate) struct PageTable {
    words: Box<[AtomicU64]>,
    hashes: Hashes,
}

/// Of what the store has, where nothing tells writes: equal hashes are worth a comparison, and never trusted alone.
#[derive(Debug)]
struct Hashes(Box<[std::sync::atomic::AtomicU64]>);

impl PageTable {
    /// `hashes`: whether it keeps a hash of each page, 8 bytes.
    pub(crate) fn new(pages: usize, hashes: bool) -> Self {
        let hashes = if hashes { pages } else { 0 };
        Self {
            words: (0..pages).map(|_| AtomicU64::new(0)).collect(),
            hashes: Hashes((0..hashes).map(|_| Default::default()).collect()),
        }
    }

    /// Notes what the store has of a claimed page.
    pub(crate) fn note_copy(&self, page: PageIndex, content: &Page) {
        if let Some(hash) = self.hashes.0.get(page.0) {
            // ORDERING: Relaxed, here and below; by the owner of the page's claim, which orders them.
            hash.store(xxh3_64(content), Ordering::Relaxed);
        }
    }

    /// Whether the store's copy of a claimed page may be this.
    pub(crate) fn may_be_copy(&self, page: PageIndex, content: &Page) -> bool {
        let hash = self.hashes.0.get(page.0);
        hash.is_some_and(|hash| hash.load(Ordering::Relaxed) == xxh3_64(content))
    }

    pub(crate) fn len(&self) -> usize {
        self.words.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.words) + size_of_val(&*self.hashes.0)
    }

    fn key(&self, page: PageIndex) -> usize {
        std::ptr::from_ref(&self.words[page.0]).addr()
    }

    #[inline]
    pub(crate) fn load(&self, page: PageIndex) -> Word {
        // ORDERING: Relaxed; a claim's exchange decides, and acquires.
        Word(self.words[page.0].load(Ordering::Relaxed))
    }

    /// Claims a page whose word is `seen`, which is not `Busy`. `None` if it has changed.
    pub(crate) fn claim(&self, page: PageIndex, seen: Word) -> Option<Claim> {
        debug_assert_ne!(seen.state(), State::Busy, "a claim is of one thread");
        let busy = seen.with_state(State::Busy).0;
        // ORDERING: Acquire; pairs with the Release in `release`: what its owner did to the page is seen. Relaxed on failure: the
        // caller looks again.
        let claimed =
            self.words[page.0].compare_exchange(seen.0, busy, Ordering::Acquire, Ordering::Relaxed);
        claimed.ok().map(|_| Claim { page, word: seen })
    }

    /// Ends a claim; wakes those that wait.
    pub(crate) fn release(&self, claim: Claim, word: Word) {
        debug_assert_ne!(word.state(), State::Busy, "the claim ends");
        // ORDERING: Release; pairs with the Acquire in `claim`.
        let before = self.words[claim.page.0].swap(word.waited(false).0, Ordering::Release);
        if Word(before).is_waited() {
            sync::wake_all(self.key(claim.page));
        }
    }

    /// In the child of a fork, where no other thread is: the word as it is there.
    pub(crate) fn set(&self, page: PageIndex, word: Word) {
        debug_assert_ne!(word.state(), State::Busy, "a claim is of one thread");
        // ORDERING: Relaxed; threads that see the word are started later.
        self.words[page.0].store(word.0, Ordering::Relaxed);
    }

    /// Changes a page's word without a claim: false if it is `Busy` or no longer `seen`. Not its state.
    pub(crate) fn amend(&self, page: PageIndex, seen: Word, word: Word) -> bool {
        if seen.state() == State::Busy {
            return false;
        }
        debug_assert_eq!(seen.state(), word.state(), "only a claim changes the state");
        // ORDERING: AcqRel; pairs with `claim` and `release`: a thread that pins a page sees what was placed.
        let order = (Ordering::AcqRel, Ordering::Relaxed);
        self.words[page.0].compare_exchange(seen.0, word.0, order.0, order.1).is_ok()
    }

    /// Waits until the page is no longer `Busy`, or for no reason. Async-signal-safe.
    pub(crate) fn wait(&self, page: PageIndex) {
        let key = self.key(page);
        let epoch = sync::epoch(key);
        let word = self.load(page);
        if word.state() != State::Busy {
            return;
        }
        let waited = word.waited(true);
        // ORDERING: Relaxed; the epoch orders the wakeup. The owner sees the mark when it releases, because that is an exchange of the
        // same word.
        let marked = word.is_waited()
            || self.words[page.0]
                .compare_exchange(word.0, waited.0, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if marked {
            sync::wait(key, epoch);
        }
    }
}
