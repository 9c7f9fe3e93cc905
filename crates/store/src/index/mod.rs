//! The index of a space: one word per key, in a tree of 64-word nodes. An inner node has at least two children.
//!
//! - Under the *shard lock* of its leaf, a thread changes a word, except for its mark. The thread that takes a word
//!   out frees its object (I-WORD). The words of a cluster lie in one leaf, so under its lock that thread knows whether
//!   it takes out the last one, and only then frees (I-CLUSTER).
//! - Under the *tree lock* it adds or frees nodes, for a leaf under its shard lock too. A leaf goes with its last
//!   word (I-TREE).
//! - A reader takes no lock. After each word it checks the node's stamp (I-STAMP), and starts over if it changed.
//! - Marks are advice; a late one may fail or mark another page.
//!
//! An operation costs the levels of the tree, at most 11.

mod audit;
mod idle;
mod nodes;
#[cfg(all(test, not(loom)))]
mod tests;
mod tree;
mod walk;

use std::sync::Arc;

pub(crate) use idle::{Aged, Change, Look};
use nodes::{Link, NODE_BITS, Node, prefix, slot};
pub(crate) use nodes::{NODE_WORDS, Nodes};
use pagefold_frame::OutOfFrames;
use pagefold_sys::sync::{AtomicBool, AtomicU64, Mutex, Ordering, Padded};

use crate::word::{Entry, Part, Word};

const SHARDS: usize = if cfg!(loom) { 2 } else { 16 };

#[derive(Debug)]
pub(crate) struct Index {
    nodes: Arc<Nodes>,
    root: AtomicU64,
    /// Keys are below this.
    pages: AtomicU64,
    tree: Mutex<()>,
    shards: Box<[Padded<Mutex<()>>]>,
    tracks_droppable: bool,
    closed: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Closed,
    Beyond,
    OutOfFrames,
    NotAdmitted,
}

/// A word that was taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) word: Word,
    /// Whether no word names its object any more: the thread that took it out frees the object.
    pub(crate) is_last: bool,
}

impl Taken {
    const NOTHING: Self = Self { word: Word::EMPTY, is_last: true };
}

#[derive(Clone, Copy)]
pub(crate) struct Found<'a> {
    pub(crate) word: Word,
    cell: Option<&'a AtomicU64>,
}

impl Found<'_> {
    const NOTHING: Self = Self { word: Word::EMPTY, cell: None };

    #[inline]
    pub(crate) fn mark(self) {
        self.change_mark(!self.word.is_referenced(), self.word.referenced());
    }

    pub(crate) fn unmark(self) {
        self.change_mark(self.word.is_referenced(), self.word.unreferenced());
    }

    #[inline]
    fn change_mark(self, wanted: bool, to: Word) {
        if let Some(cell) = self.cell
            && wanted
        {
            // ORDERING: Relaxed; the mark is advice.
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

    pub(crate) fn fixed_bytes(&self) -> usize {
        size_of_val(&*self.shards)
    }

    /// Keys are below this.
    #[inline]
    pub(crate) fn pages(&self) -> u64 {
        // ORDERING: Relaxed; a put that races with a change is decided under its shard lock.
        self.pages.load(Ordering::Relaxed)
    }

    /// Afterwards no put of a key beyond is under way. Entries beyond stay.
    pub(crate) fn set_pages(&self, pages: u64) {
        // ORDERING: Relaxed; the locks below order it before later looks under one of them.
        self.pages.store(pages, Ordering::Relaxed);
        self.wait_for_puts();
    }

    fn shard(&self, key: u64) -> &Mutex<()> {
        // Fibonacci hashing spreads leaves at equal distances.
        let mixed = (key >> NODE_BITS).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
        &self.shards[usize::try_from(mixed).expect("8 bits") % self.shards.len()]
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        // ORDERING: Acquire; pairs with the Release in `close`. A hint outside of a shard lock; exact under one,
        // because `close` takes every lock after its store.
        self.closed.load(Ordering::Acquire)
    }

    /// Afterwards no thread makes an entry.
    pub(crate) fn close(&self) -> bool {
        // ORDERING: AcqRel; Release pairs with the Acquire in `is_closed`. Acquire orders the second of two callers
        // after the first.
        let was_open = !self.closed.swap(true, Ordering::AcqRel);
        self.wait_for_puts();
        was_open
    }

    fn wait_for_puts(&self) {
        for shard in &self.shards {
            drop(shard.lock());
        }
    }

    #[inline]
    pub(crate) fn load(&self, key: u64) -> Word {
        self.find(key).word
    }

    /// Lock-free: starts over only when a node on the way was freed.
    #[inline]
    pub(crate) fn find(&self, key: u64) -> Found<'_> {
        loop {
            if let Some(found) = self.try_find(key) {
                return found;
            }
            // A model lets the thread that frees the node get on.
            #[cfg(loom)]
            pagefold_sys::sync::yield_now();
        }
    }

    /// `None` when a node on the way was freed.
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

    /// `Some(None)` if there was no leaf at some moment of the call; `None` when a node on the way was freed. The
    /// key's shard lock keeps the leaf (I-TREE).
    #[inline]
    fn leaf_of(&self, key: u64) -> Option<Option<Node<'_>>> {
        // ORDERING: Acquire; pairs with the Release in `Index::set`: a link comes with its node.
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
        None
    }

    /// Under the key's shard lock.
    fn leaf_held(&self, key: u64) -> Option<Node<'_>> {
        loop {
            if let Some(leaf) = self.leaf_of(key) {
                return leaf;
            }
        }
    }

    /// Exchanges a word if `admit` accepts the old one; the caller frees that one's object. Calls `admit` at most
    /// once, under the shard lock.
    pub(crate) fn publish(
        &self,
        key: u64,
        new: Word,
        admit: &dyn Fn(Word) -> bool,
    ) -> Result<Taken, Refused> {
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
        Ok(self.exchange(key, leaf, new))
    }

    /// Replaces a word if, marks aside, it is still `old`; the new word keeps the mark. The caller owns what `old` named.
    pub(crate) fn replace(&self, key: u64, old: Word, new: Word) -> Result<Taken, Word> {
        let _shard = self.shard(key).lock();
        let Some(leaf) = self.leaf_held(key) else { return Err(Word::EMPTY) };
        let now = Word::from_bits(leaf.word(slot(key, 0)));
        if now.is_empty() || now.unreferenced() != old.unreferenced() {
            return Err(now);
        }
        Ok(self.exchange(key, leaf, if now.is_referenced() { new.referenced() } else { new }))
    }

    /// Takes a word out if, marks aside, it is still `old`; the caller frees its object.
    pub(crate) fn take_out(&self, key: u64, old: Word) -> Result<Taken, Word> {
        self.take_if(key, |now| now.unreferenced() == old.unreferenced())
    }

    pub(crate) fn take_any(&self, key: u64) -> Taken {
        self.take_if(key, |_| true).unwrap_or(Taken::NOTHING)
    }

    fn take_if(&self, key: u64, wanted: impl FnOnce(Word) -> bool) -> Result<Taken, Word> {
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

    /// Under the shard lock.
    fn exchange(&self, key: u64, leaf: Node<'_>, new: Word) -> Taken {
        let slot = slot(key, 0);
        // ORDERING: AcqRel; Release pairs with the Acquire in `Node::word`: a reader that sees the new handle finds
        // the object. Acquire: the old object was made before this thread frees it.
        let old = Word::from_bits(leaf.cell(slot).swap(new.bits(), Ordering::AcqRel));
        leaf.set_used(slot, !new.is_empty());
        if let Some(ages) = self.nodes.ages_of(leaf.link) {
            ages.forget(1 << slot);
        }
        if self.tracks_droppable {
            let had = leaf.droppable() != 0;
            leaf.set_droppable(slot, new.entry().holds_memory());
            let has = leaf.droppable() != 0;
            if had != has {
                self.tell_droppable(key, has);
            }
        }
        let is_last = match old.entry() {
            entry @ (Entry::Member { .. } | Entry::Spilled { part: Part::Member(_), .. }) => {
                !leaf.names_cluster_of(entry)
            }
            _ => true,
        };
        Taken { word: old, is_last }
    }
}
