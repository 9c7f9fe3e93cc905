//! The nodes of all indices of a store: made and freed under one lock, read without one.
//!
//! ```text
//!  words   of a leaf, index words; of an inner node, links; zero in a free node
//!  metas   header: stamp << 8 | level << 1 | live      base: the key prefix shared below
//!          used, droppable: a bit per word that is not empty, that eviction can free
//!  ages    of a leaf: cold, tried (see `idle`)
//! ```
//! A [`Link`] names one life of a node: number and *stamp*. Stamps repeat after 2^38 nodes. A reader that loads a
//! word and then finds the link's stamp has read a word of that life (I-STAMP).
//!
//! The lowest free number is used first, so the tables empty from the end.

use std::sync::Arc;

use pagefold_frame::{BitForest, MemoryBudget, OutOfFrames, ReserveAccess, SourceError, WordTable};
use pagefold_sys::sync::{AtomicU64, Mutex, Ordering};

use crate::word::{Entry, Word};

pub(super) const NODE_BITS: u32 = if cfg!(loom) { 2 } else { 6 };
/// At most 64, the bits of `used`.
pub(crate) const NODE_WORDS: usize = 1 << NODE_BITS;
pub(super) const LEVELS_MAX: usize = 64_usize.div_ceil(NODE_BITS as usize);
const META_WORDS: usize = 4;
/// Three are used; a page of words has none that cross its end.
const AGE_WORDS: usize = 4;
const PAGE_WORDS: usize = 512;

const ID_BITS: u32 = 26;
const STAMP_BITS: u32 = 64 - ID_BITS;
const STAMP_SHIFT: u32 = 8;
const LIVE: u64 = 1;

/// For 2^32 neighbouring keys.
const NODES_MAX: usize = 1 << ID_BITS;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link(u64);

impl Link {
    pub(super) const NONE: Self = Self(0);

    fn new(id: usize, stamp: u64) -> Self {
        Self(id as u64 | stamp << ID_BITS)
    }

    pub(super) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(super) fn bits(self) -> u64 {
        self.0
    }

    pub(super) fn is_none(self) -> bool {
        self.0 == 0
    }

    fn id(self) -> usize {
        (self.0 & ((1 << ID_BITS) - 1)) as usize
    }

    fn stamp(self) -> u64 {
        self.0 >> ID_BITS
    }
}

/// What all keys below a node of `level` share.
#[inline]
pub(super) fn prefix(key: u64, level: u32) -> u64 {
    key.checked_shr(NODE_BITS * (level + 1)).unwrap_or(0)
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "masked to the bits of a node")]
pub(super) fn slot(key: u64, level: u32) -> usize {
    (key >> (NODE_BITS * level)) as usize & (NODE_WORDS - 1)
}

pub(super) fn first_key(base: u64, level: u32, slot: usize) -> u64 {
    let above = base.checked_shl(NODE_BITS * (level + 1)).unwrap_or(0);
    above | (slot as u64) << (NODE_BITS * level)
}

#[derive(Debug)]
pub(crate) struct Nodes {
    words: WordTable,
    metas: WordTable,
    /// `None`: pages do not age.
    ages: Option<WordTable>,
    free: Mutex<Free>,
}

#[derive(Debug)]
struct Free {
    /// Set 0: free nodes below `end`.
    nodes: BitForest,
    /// From here on, no node was used since the last release.
    end: usize,
    last_stamp: u64,
    /// Since the last release.
    freed: usize,
}

/// A reader without its lock checks [`is_current`](Self::is_current) afterwards.
#[derive(Clone, Copy)]
pub(super) struct Node<'a> {
    pub(super) link: Link,
    pub(super) level: u32,
    pub(super) base: u64,
    metas: &'a [AtomicU64; META_WORDS],
    words: &'a [AtomicU64; NODE_WORDS],
}

impl Nodes {
    pub(crate) fn new(
        memory: &Arc<MemoryBudget>,
        bytes: usize,
        has_ages: bool,
    ) -> Result<Self, SourceError> {
        let capacity = (bytes / (NODE_WORDS * size_of::<u64>())).clamp(PAGE_WORDS, NODES_MAX);
        Ok(Self {
            words: WordTable::new(memory, capacity * NODE_WORDS)?,
            metas: WordTable::new(memory, capacity * META_WORDS)?,
            ages: has_ages.then(|| WordTable::new(memory, capacity * AGE_WORDS)).transpose()?,
            free: Mutex::new(Free {
                nodes: BitForest::new(memory, capacity, 1)?,
                end: 0,
                last_stamp: 0,
                freed: 0,
            }),
        })
    }

    #[inline]
    pub(super) fn get(&self, link: Link) -> Option<Node<'_>> {
        let id = link.id();
        let metas = self.metas.array::<META_WORDS>(id * META_WORDS)?;
        let words = self.words.array::<NODE_WORDS>(id * NODE_WORDS)?;
        // ORDERING: Acquire; pairs with the Release in `make`: this stamp comes with this base, or a later one, which
        // `is_current` tells.
        let header = metas[0].load(Ordering::Acquire);
        if header & LIVE == 0 || header >> STAMP_SHIFT != link.stamp() {
            return None;
        }
        let level = (header >> 1 & 0x7f) as u32;
        // ORDERING: Acquire; pairs with the Release in `make`: a later life's base comes with the end of this one.
        let base = metas[1].load(Ordering::Acquire);
        Some(Node { link, level, base, metas, words })
    }

    pub(super) fn make(&self, level: u32, base: u64) -> Result<Node<'_>, OutOfFrames> {
        let mut free = self.free.lock();
        let id = match free.nodes.first(0) {
            Some(id) => {
                self.ensure(id)?;
                free.nodes.remove(0, id);
                id
            }
            None => {
                self.ensure(free.end)?;
                free.nodes.ensure(free.end, ReserveAccess::Normal)?;
                free.end += 1;
                free.end - 1
            }
        };
        free.last_stamp = (free.last_stamp + 1) & ((1 << STAMP_BITS) - 1);
        // A link of node 0 and stamp 0 is none.
        free.last_stamp = free.last_stamp.max(1);
        let link = Link::new(id, free.last_stamp);
        drop(free);
        let metas = self.metas.array(id * META_WORDS).expect("made usable above");
        let words = self.words.array(id * NODE_WORDS).expect("made usable above");
        let node = Node { link, level, base, metas, words };
        // ORDERING: Release, here and below; pairs with the Acquire in `get` and `Node::word`: a reader that sees
        // part of a new life sees the end of the one before, in `free`.
        metas[1].store(base, Ordering::Release);
        metas[2].store(0, Ordering::Release);
        metas[3].store(0, Ordering::Release);
        if let Some(ages) = self.ages_of(link) {
            ages.forget(u64::MAX);
        }
        let header = link.stamp() << STAMP_SHIFT | u64::from(level) << 1 | LIVE;
        metas[0].store(header, Ordering::Release);
        Ok(node)
    }

    fn ensure(&self, id: usize) -> Result<(), OutOfFrames> {
        self.words.ensure(id * NODE_WORDS, ReserveAccess::Normal)?;
        self.metas.ensure(id * META_WORDS, ReserveAccess::Normal)?;
        match &self.ages {
            Some(ages) => ages.ensure(id * AGE_WORDS, ReserveAccess::Normal),
            None => Ok(()),
        }
    }

    /// Under the shard lock of a leaf.
    pub(super) fn ages_of(&self, link: Link) -> Option<Ages<'_>> {
        self.ages.as_ref()?.array(link.id() * AGE_WORDS).map(Ages)
    }

    /// No link may name the node.
    pub(super) fn free(&self, node: Node<'_>) {
        // ORDERING: AcqRel; Release pairs with the Acquire in `get`. Being a read-modify-write before the stores
        // below, each reader that sees one of them sees it.
        node.metas[0].swap(0, Ordering::AcqRel);
        for word in node.words {
            // ORDERING: Relaxed load: only a late mark changes the word, and only from what it expects. Release
            // store; pairs with the Acquire in `Node::word`: a reader that sees the 0 sees the end above.
            if word.load(Ordering::Relaxed) != 0 {
                word.store(0, Ordering::Release);
            }
        }
        let mut free = self.free.lock();
        let fresh = free.nodes.insert(0, node.link.id());
        assert!(fresh, "I-STAMP: a node is freed once");
        free.freed += 1;
    }

    pub(crate) fn release(&self) -> usize {
        let mut free = self.free.lock();
        if free.freed == 0 {
            return 0;
        }
        free.freed = 0;
        while free.end > 0 && free.nodes.remove(0, free.end - 1) {
            free.end -= 1;
        }
        let is_free = |id: usize| id >= free.end || free.nodes.contains(0, id);
        let release = |table: &WordTable, a_node: usize| {
            let (mut cursor, mut pages) = (Some(0), 0);
            while cursor.is_some() {
                // The lock keeps `make` out, and a free node is not written.
                pages += table.release_vacant(&mut cursor, &mut |words| {
                    (words.start / a_node..words.end.div_ceil(a_node)).all(is_free)
                });
            }
            pages
        };
        let ages = self.ages.as_ref().map_or(0, |ages| release(ages, AGE_WORDS));
        release(&self.words, NODE_WORDS) + release(&self.metas, META_WORDS) + ages
    }

    pub(crate) fn in_use(&self) -> usize {
        let free = self.free.lock();
        let given_back = (0..free.end).filter(|&id| free.nodes.contains(0, id)).count();
        free.end - given_back
    }
}

impl<'a> Node<'a> {
    /// Whether words read before belong to the link's life.
    #[inline]
    pub(super) fn is_current(&self) -> bool {
        // ORDERING: Acquire; the Acquire loads before it stay before it. Pairs with the swap in `Nodes::free`: a
        // reader that saw a word of a later life sees the end of this one.
        self.metas[0].load(Ordering::Acquire) >> STAMP_SHIFT == self.link.stamp()
    }

    pub(super) fn cell(&self, slot: usize) -> &'a AtomicU64 {
        &self.words[slot]
    }

    #[inline]
    pub(super) fn word(&self, slot: usize) -> u64 {
        // ORDERING: Acquire; pairs with the Release of word stores and exchanges: a link comes with its node, a
        // handle with its object.
        self.words[slot].load(Ordering::Acquire)
    }

    /// Whether a word names the cluster of this one. Under the shard lock.
    pub(super) fn names_cluster_of(&self, entry: Entry) -> bool {
        // ORDERING: Relaxed; the lock orders all changes but marks.
        let mut words = self.words.iter().map(|word| Word::from_bits(word.load(Ordering::Relaxed)));
        words.any(|word| word.entry().shares_cluster(entry))
    }

    pub(super) fn child(&self, slot: usize) -> Link {
        Link::from_bits(self.word(slot))
    }

    pub(super) fn set_child(&self, slot: usize, link: Link) {
        // ORDERING: Release; pairs with the Acquire in `word`.
        self.words[slot].store(link.bits(), Ordering::Release);
        self.set_used(slot, !link.is_none());
    }

    // ORDERING of the bits: Relaxed. An index lock orders their changes; walks take them as hints.

    pub(super) fn used(&self) -> u64 {
        self.metas[2].load(Ordering::Relaxed)
    }

    pub(super) fn droppable(&self) -> u64 {
        self.metas[3].load(Ordering::Relaxed)
    }

    pub(super) fn set_used(&self, slot: usize, on: bool) {
        set_bit(&self.metas[2], slot, on);
    }

    pub(super) fn set_droppable(&self, slot: usize, on: bool) {
        set_bit(&self.metas[3], slot, on);
    }
}

/// Bits for each word of a leaf: *cold*, it was there when a pass looked last; *tried*, a pass tried to make the page
/// denser; *idle*, the last pass found it so.
pub(super) struct Ages<'a>(&'a [AtomicU64; AGE_WORDS]);

// ORDERING: Relaxed; the shard lock of the leaf orders all uses. A new leaf is cleared before its link is published.
impl Ages<'_> {
    /// Words in `mask` were changed.
    pub(super) fn forget(&self, mask: u64) {
        for bits in self.0 {
            let before = bits.load(Ordering::Relaxed);
            if before & mask != 0 {
                bits.store(before & !mask, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn cold(&self) -> u64 {
        self.0[0].load(Ordering::Relaxed)
    }

    pub(super) fn set_cold(&self, bits: u64) {
        self.0[0].store(bits, Ordering::Relaxed);
    }

    pub(super) fn tried(&self) -> u64 {
        self.0[1].load(Ordering::Relaxed)
    }

    pub(super) fn set_tried(&self, bits: u64) {
        self.0[1].store(bits, Ordering::Relaxed);
    }

    pub(super) fn idle(&self) -> u64 {
        self.0[2].load(Ordering::Relaxed)
    }

    pub(super) fn set_idle(&self, bits: u64) {
        self.0[2].store(bits, Ordering::Relaxed);
    }
}

/// The caller has the node's lock.
fn set_bit(bits: &AtomicU64, slot: usize, on: bool) {
    let before = bits.load(Ordering::Relaxed);
    let after = if on { before | 1 << slot } else { before & !(1 << slot) };
    if after != before {
        bits.store(after, Ordering::Relaxed);
    }
}
