//! Ages of pages: which were not read between two passes, and the exchange of several words at once.
//!
//! A pass visits each leaf once. Each page that is there loses its mark and becomes *cold*. A page that has no mark and
//! was cold is *idle*: no call read or put it for a whole generation. Each exchange of a word forgets its age.

use super::{
    Index, Taken,
    nodes::{NODE_WORDS, first_key, prefix, slot},
};
use crate::word::{Entry, Word};

/// A leaf, as a pass found it.
pub(crate) struct Aged {
    /// The key of the first word.
    pub(crate) first: u64,
    pub(crate) words: [Word; NODE_WORDS],
    /// A bit for each word that a call read since the last pass; that is idle; that is tried.
    pub(crate) read: u64,
    pub(crate) idle: u64,
    pub(crate) tried: u64,
    /// The last pass found it idle, and no call read it since.
    pub(crate) was_idle: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    Only,
    AndAge,
}

/// A word to replace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    pub(crate) key: u64,
    pub(crate) old: Word,
    pub(crate) new: Word,
}

impl Aged {
    /// The keys of a leaf.
    pub(crate) const KEYS: u64 = NODE_WORDS as u64;
}

impl Index {
    /// Ages the leaf of the first used key from `from` on. With [`Look::Only`] it stays as it is.
    pub(crate) fn age(&self, from: u64, look: Look) -> Option<Aged> {
        let (key, _) = self.next_used(from)?;
        let first = first_key(prefix(key, 0), 0, 0);
        let words = [Word::EMPTY; NODE_WORDS];
        let mut aged = Aged { first, words, read: 0, idle: 0, tried: 0, was_idle: 0 };
        let _shard = self.shard(key).lock();
        // A removal may have been faster.
        let Some(leaf) = self.leaf_held(key) else { return Some(aged) };
        let Some(ages) = self.nodes.ages_of(leaf.link) else { return Some(aged) };
        let mut there = 0;
        for (slot, word) in aged.words.iter_mut().enumerate() {
            *word = Word::from_bits(leaf.word(slot));
            there |= u64::from(!word.is_empty()) << slot;
            if word.is_referenced() {
                aged.read |= 1 << slot;
            }
            if word.is_referenced() && look == Look::AndAge {
                super::Found { word: *word, cell: Some(leaf.cell(slot)) }.unmark();
            }
        }
        let unmarked = there & !aged.read;
        aged.idle = unmarked & ages.cold();
        aged.tried = ages.tried() & unmarked;
        aged.was_idle = ages.idle() & unmarked;
        if look == Look::Only {
            return Some(aged);
        }
        ages.set_cold(there);
        ages.set_idle(aged.idle);
        // A page that was read is looked at again.
        ages.set_tried(aged.tried);
        Some(aged)
    }

    /// The words that name the cluster of `word`, which is under `key`; none if that is no longer so.
    pub(crate) fn words_of_cluster(&self, key: u64, word: Word) -> Vec<(u64, Word)> {
        let words = self.words_beside(key, |entry| entry.shares_cluster(word.entry()));
        let is_there =
            |&(other, now): &(u64, Word)| other == key && now.unreferenced() == word.unreferenced();
        if words.iter().any(is_there) { words } else { Vec::new() }
    }

    /// The words of a key's leaf that `is_wanted` accepts, all of one moment.
    pub(crate) fn words_beside(
        &self,
        key: u64,
        is_wanted: impl Fn(Entry) -> bool,
    ) -> Vec<(u64, Word)> {
        let _shard = self.shard(key).lock();
        let Some(leaf) = self.leaf_held(key) else { return Vec::new() };
        let first = first_key(prefix(key, 0), 0, 0);
        let words = (0..NODE_WORDS).map(|slot| (first + slot as u64, leaf.word(slot)));
        words
            .map(|(key, bits)| (key, Word::from_bits(bits)))
            .filter(|(_, word)| is_wanted(word.entry()))
            .collect()
    }

    /// Notes that a pass has nothing more to do for these words of a leaf, as long as they stay.
    pub(crate) fn note_tried(&self, words: &[(u64, Word)]) {
        let Some(&(key, _)) = words.first() else { return };
        let _shard = self.shard(key).lock();
        let Some(leaf) = self.leaf_held(key) else { return };
        let Some(ages) = self.nodes.ages_of(leaf.link) else { return };
        let mut tried = ages.tried();
        for &(key, word) in words {
            let slot = slot(key, 0);
            if Word::from_bits(leaf.word(slot)).unreferenced() == word.unreferenced() {
                tried |= 1 << slot;
            }
        }
        ages.set_tried(tried);
    }

    /// Replaces words of one leaf, all or none: if one is not, marks aside, what it was, none is replaced. New words
    /// keep the marks. The caller frees what the old ones named.
    pub(crate) fn replace_all(&self, words: &[Change]) -> Option<Vec<Taken>> {
        let key = words.first()?.key;
        debug_assert!(
            words.iter().all(|word| prefix(word.key, 0) == prefix(key, 0)),
            "of one leaf"
        );
        let _shard = self.shard(key).lock();
        let leaf = self.leaf_held(key)?;
        let now = |key| Word::from_bits(leaf.word(slot(key, 0)));
        let are_same = words.iter().all(|word| {
            let now = now(word.key);
            !now.is_empty() && now.unreferenced() == word.old.unreferenced()
        });
        let exchange = |word: &Change| {
            let mark = now(word.key).is_referenced();
            let new = if mark { word.new.referenced() } else { word.new };
            self.exchange(word.key, leaf, new)
        };
        are_same.then(|| words.iter().map(exchange).collect())
    }
}
