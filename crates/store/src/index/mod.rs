//! The index of a space: a word a key, in a tree of nodes that holds what is used and nothing else.
//!
//! ```text
//!  root -> inner node -> leaf     64 words a node, of the store's `Nodes`
//!             '-------> leaf      an inner node has at least two children: chains of single ones are left out
//! ```
//! | module | holds |
//! |---|---|
//! | `nodes` | nodes: made, freed, and read without a lock |
//! | `tree` | leaves in and out, and what inner nodes know of them |
//! | `walk` | the next key that is used, or that eviction can free |
//! | `audit` | whether all of it is true |
//!
//! # Protocol
//! - An index word changes under the *shard lock* of its leaf, except for its mark. The thread that takes a word out owns
//!   what it named, and frees the object (I-WORD). So a get beside a put finds the old object or the new one, or a stale
//!   handle, and then looks again.
//! - A leaf comes and goes under its shard lock and the *tree lock*, inner nodes under the tree lock. A leaf goes with
//!   its last word (I-TREE).
//! - Readers take no lock. They check after each word that the node was still the one they meant (I-STAMP), and start
//!   over if not. A mark that comes late fails, or marks another page of one repeated word: it is advice.
//!
//! The cost of put, get, remove and eviction depends on the number of levels, at most 11, and not on the highest key.

mod audit;
mod nodes;
#[cfg(all(test, not(loom)))]
mod tests;
mod tree;
mod walk;

use std::sync::Arc;

pub(crate) use nodes::Nodes;
use nodes::{Link, NODE_BITS, Node, prefix, slot};
use pagefold_frame::OutOfFrames;
use pagefold_sys::sync::{AtomicBool, AtomicU64, Mutex, Ordering, Padded};

use crate::word::Word;

/// Locks that the leaves of a space are spread over.
const SHARDS: usize = if cfg!(loom) { 2 } else { 16 };

/// See the module.
#[derive(Debug)]
pub(crate) struct Index {
    nodes: Arc<Nodes>,
    /// The link to the top node.
    root: AtomicU64,
    /// Keys go from 0 to one less than this.
    pages: AtomicU64,
    /// The tree lock; see the module.
    tree: Mutex<()>,
    shards: Box<[Padded<Mutex<()>>]>,
    /// Whether inner nodes know which words can be dropped.
    tracks_droppable: bool,
    /// Set when the space is dropped; what is under a shard lock after that finds it set.
    closed: AtomicBool,
}

/// Why a word was not put under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The space was closed.
    Closed,
    /// The space has no such key any more.
    Beyond,
    /// There is no memory for a node.
    OutOfFrames,
    /// `admit` said no.
    NotAdmitted,
}

/// A word as a reader found it, and where.
#[derive(Clone, Copy)]
pub(crate) struct Found<'a> {
    pub(crate) word: Word,
    cell: Option<&'a AtomicU64>,
}

impl Found<'_> {
    const NOTHING: Self = Self { word: Word::EMPTY, cell: None };

    /// Notes that the page was read. Writes only if that was not noted yet.
    #[inline]
    pub(crate) fn mark(self) {
        self.change_mark(!self.word.is_referenced(), self.word.referenced());
    }

    /// Clears the mark.
    pub(crate) fn unmark(self) {
        self.change_mark(self.word.is_referenced(), self.word.unreferenced());
    }

    #[inline]
    fn change_mark(self, wanted: bool, to: Word) {
        if let Some(cell) = self.cell
            && wanted
        {
            // ORDERING: Relaxed; the mark is advice to the eviction order. Lost if the word changed.
            let _ = cell.compare_exchange(
                self.word.bits(),
                to.bits(),
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
    }
}

impl Index {
    /// An empty index for `pages` keys; `tracks_droppable` where eviction is to find its way.
    pub(crate) fn new(nodes: &Arc<Nodes>, pages: u64, tracks_droppable: bool) -> Self {
        Self {
            nodes: Arc::clone(nodes),
            root: AtomicU64::new(0),
            pages: AtomicU64::new(pages),
            tree: Mutex::new(()),
            shards: (0..SHARDS).map(|_| Padded(Mutex::new(()))).collect(),
            tracks_droppable,
            closed: AtomicBool::new(false),
        }
    }

    /// Bytes that lie outside of the nodes.
    pub(crate) fn fixed_bytes(&self) -> usize {
        size_of_val(&*self.shards)
    }

    /// Keys go from 0 to one less than this.
    #[inline]
    pub(crate) fn pages(&self) -> u64 {
        // ORDERING: Relaxed; a number. A put that races with a change of it is decided under its shard lock.
        self.pages.load(Ordering::Relaxed)
    }

    /// Changes how many keys there are. When it returns, no put of a key beyond is under way. What is beyond stays until
    /// it is taken out.
    pub(crate) fn set_pages(&self, pages: u64) {
        // ORDERING: Relaxed; the locks below order it before every later look under one of them.
        self.pages.store(pages, Ordering::Relaxed);
        self.wait_for_puts();
    }

    fn shard(&self, key: u64) -> &Mutex<()> {
        // Fibonacci hashing, so that leaves at equal distances meet in different shards as well.
        let mixed = (key >> NODE_BITS).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
        &self.shards[usize::try_from(mixed).expect("8 bits") % self.shards.len()]
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        // ORDERING: Acquire; pairs with the Release in `close`. A hint outside of a shard lock; under one it is
        // exact, because `close` takes every lock once after it stored.
        self.closed.load(Ordering::Acquire)
    }

    /// Lets no entry be made any more. When it returns, no thread is about to make one.
    pub(crate) fn close(&self) -> bool {
        // ORDERING: AcqRel; Release pairs with the Acquire in `is_closed`; Acquire, so that of two callers the
        // second comes after the first.
        let was_open = !self.closed.swap(true, Ordering::AcqRel);
        self.wait_for_puts();
        was_open
    }

    fn wait_for_puts(&self) {
        for shard in &self.shards {
            drop(shard.lock());
        }
    }

    /// What is under a key. A key that was never used, or is beyond the space, has nothing.
    #[inline]
    pub(crate) fn load(&self, key: u64) -> Word {
        self.find(key).word
    }

    /// As [`load`](Self::load), with the place of the word, for its mark.
    ///
    /// Lock-free: it starts over only when a node on its way was freed meanwhile.
    #[inline]
    pub(crate) fn find(&self, key: u64) -> Found<'_> {
        loop {
            if let Some(found) = self.try_find(key) {
                return found;
            }
        }
    }

    /// As [`find`](Self::find), in a bounded number of steps: `None` when a node on the way was freed meanwhile.
    #[inline]
    pub(crate) fn try_find(&self, key: u64) -> Option<Found<'_>> {
        match self.leaf_of(key)? {
            Some(leaf) => {
                let cell = leaf.cell(slot(key, 0));
                let word = Word::from_bits(leaf.word(slot(key, 0)));
                leaf.is_current().then_some(Found { word, cell: Some(cell) })
            }
            None => Some(Found::NOTHING),
        }
    }

    /// The leaf that a key belongs to, or `Some(None)` if there was none at some moment of the call; `None` when a node
    /// was freed on the way. With the key's shard lock held the leaf stays. (I-TREE)
    #[inline]
    fn leaf_of(&self, key: u64) -> Option<Option<Node<'_>>> {
        // ORDERING: Acquire; pairs with the Release in `Index::set`: with the link comes its node.
        let mut link = Link::from_bits(self.root.load(Ordering::Acquire));
        for _ in 0..nodes::LEVELS_MAX {
            if link.is_none() {
                return Some(None);
            }
            let node = self.nodes.get(link)?;
            if prefix(key, node.level) != node.base {
                return node.is_current().then_some(None);
            }
            if node.level == 0 {
                return Some(Some(node));
            }
            link = node.child(slot(key, node.level));
            if !node.is_current() {
                return None;
            }
        }
        // Levels fall on every way down, so a longer way has met nodes of later lives.
        None
    }

    /// The leaf of a key whose shard lock is held.
    fn leaf_held(&self, key: u64) -> Option<Node<'_>> {
        loop {
            if let Some(leaf) = self.leaf_of(key) {
                return leaf;
            }
        }
    }

    /// Puts a word under a key if `admit` agrees to its taking the place of the word that it is shown, and returns that
    /// word: what it named is the caller's to free. `admit` is called at most once, with the shard lock held.
    pub(crate) fn publish(
        &self,
        key: u64,
        new: Word,
        admit: &dyn Fn(Word) -> bool,
    ) -> Result<Word, Refused> {
        let _shard = self.shard(key).lock();
        if self.is_closed() {
            return Err(Refused::Closed);
        }
        if key >= self.pages() {
            return Err(Refused::Beyond);
        }
        let leaf = match self.leaf_held(key) {
            Some(leaf) => leaf,
            None => self.insert_leaf(key).map_err(|OutOfFrames| Refused::OutOfFrames)?,
        };
        let slot = slot(key, 0);
        if !admit(Word::from_bits(leaf.word(slot))) {
            self.prune(key, leaf);
            return Err(Refused::NotAdmitted);
        }
        let old = self.exchange(key, leaf, new);
        Ok(old)
    }

    /// Takes a word out if it is still `old`, give or take its mark; what it named is then the caller's to free.
    pub(crate) fn take_out(&self, key: u64, old: Word) -> Result<Word, Word> {
        self.take_if(key, |now| now.unreferenced() == old.unreferenced())
    }

    /// Takes out what is under a key, if anything is.
    pub(crate) fn take_any(&self, key: u64) -> Word {
        self.take_if(key, |_| true).unwrap_or(Word::EMPTY)
    }

    fn take_if(&self, key: u64, wanted: impl FnOnce(Word) -> bool) -> Result<Word, Word> {
        let _shard = self.shard(key).lock();
        let Some(leaf) = self.leaf_held(key) else { return Err(Word::EMPTY) };
        let now = Word::from_bits(leaf.word(slot(key, 0)));
        if now.is_empty() || !wanted(now) {
            return Err(now);
        }
        let taken = self.exchange(key, leaf, Word::EMPTY);
        self.prune(key, leaf);
        Ok(taken)
    }

    /// Replaces the word of a key whose shard lock is held, and keeps the bits above it true.
    fn exchange(&self, key: u64, leaf: Node<'_>, new: Word) -> Word {
        let slot = slot(key, 0);
        // ORDERING: AcqRel; Release pairs with the Acquire in `Node::word`: a reader that sees the new handle finds the
        // object. Acquire, so that freeing what the old word named comes after it was made.
        let old = Word::from_bits(leaf.cell(slot).swap(new.bits(), Ordering::AcqRel));
        leaf.set_used(slot, !new.is_empty());
        if self.tracks_droppable {
            let had = leaf.droppable() != 0;
            leaf.set_droppable(slot, new.entry().holds_memory());
            let has = leaf.droppable() != 0;
            if had != has {
                self.tell_droppable(key, has);
            }
        }
        old
    }
}
