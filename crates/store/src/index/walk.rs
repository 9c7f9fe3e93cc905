//! The next key that is used, or that eviction can free. A walk follows the nodes' bits under the tree lock.

use super::{
    Found, Index,
    nodes::{LEVELS_MAX, Node, first_key, prefix, slot},
};
use crate::word::Word;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Want {
    Used,
    Droppable,
}

impl Want {
    fn bits(self, node: &Node<'_>) -> u64 {
        match self {
            Self::Used => node.used(),
            Self::Droppable => node.droppable(),
        }
    }

    fn takes(self, word: Word) -> bool {
        match self {
            Self::Used => !word.is_empty(),
            Self::Droppable => word.entry().holds_memory(),
        }
    }
}

impl Index {
    pub(crate) fn next_used(&self, from: u64) -> Option<(u64, Word)> {
        self.next(from, Want::Used).map(|(key, found)| (key, found.word))
    }

    pub(crate) fn next_droppable(&self, from: u64) -> Option<(u64, Found<'_>)> {
        debug_assert!(self.tracks_droppable, "an index of an ephemeral space");
        self.next(from, Want::Droppable)
    }

    fn next(&self, from: u64, want: Want) -> Option<(u64, Found<'_>)> {
        let _tree = self.tree.lock();
        let mut later = [(None::<Node<'_>>, 0_u64); LEVELS_MAX];
        let mut depth = 0;
        let mut from = from;
        let mut at = self.top()?;
        loop {
            let bits = match prefix(from, at.level).cmp(&at.base) {
                std::cmp::Ordering::Greater => 0,
                std::cmp::Ordering::Equal => want.bits(&at) & u64::MAX << slot(from, at.level),
                std::cmp::Ordering::Less => want.bits(&at),
            };
            if at.level == 0 {
                if let Some(found) = first_of(&at, bits, want) {
                    return Some(found);
                }
            } else if bits != 0 {
                (later[depth], depth) = ((Some(at), bits), depth + 1);
            }
            // Of this node, or the lowest above with a child left.
            let (parent, bits) = loop {
                depth = depth.checked_sub(1)?;
                if let (Some(parent), bits @ 1..) = later[depth] {
                    break (parent, bits);
                }
            };
            let next = bits.trailing_zeros() as usize;
            (later[depth], depth) = ((Some(parent), bits & (bits - 1)), depth + 1);
            from = from.max(first_key(parent.base, parent.level, next));
            at = self.node(parent.child(next)).expect("I-TREE: a bit stands for a child");
        }
    }
}

/// Puts go on meanwhile, so the bits are hints.
fn first_of<'a>(leaf: &Node<'a>, mut bits: u64, want: Want) -> Option<(u64, Found<'a>)> {
    while bits != 0 {
        let slot = bits.trailing_zeros() as usize;
        let word = Word::from_bits(leaf.word(slot));
        if want.takes(word) {
            let found = Found { word, cell: Some(leaf.cell(slot)) };
            return Some((first_key(leaf.base, 0, slot), found));
        }
        bits &= bits - 1;
    }
    None
}
