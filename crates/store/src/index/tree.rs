//! Leaves in and out, and bits of inner nodes, under the tree lock; a leaf's shard lock is taken first.
//!
//! - An inner node has at least two children, whose bases extend its own (I-TREE).
//! - Its `droppable` has the bits of children whose `droppable` is not 0 (I-DROPPABLE), once the thread that changed
//!   a child has told.

use pagefold_frame::OutOfFrames;
use pagefold_sys::sync::Ordering;

use super::{
    Index,
    nodes::{LEVELS_MAX, Link, NODE_BITS, Node, first_key, prefix, slot},
};

/// From the top.
struct Path<'a> {
    nodes: [Option<Node<'a>>; LEVELS_MAX],
    len: usize,
}

impl<'a> Path<'a> {
    fn last(&self) -> Option<Node<'a>> {
        self.nodes[..self.len].last().copied().flatten()
    }

    fn push(&mut self, node: Node<'a>) {
        self.nodes[self.len] = Some(node);
        self.len += 1;
    }

    fn pop(&mut self) -> Option<Node<'a>> {
        self.len = self.len.checked_sub(1)?;
        self.nodes[self.len].take()
    }
}

impl Index {
    /// Under the tree lock.
    pub(super) fn node(&self, link: Link) -> Option<Node<'_>> {
        (!link.is_none()).then(|| self.nodes.get(link).expect("I-TREE: a link names a live node"))
    }

    pub(super) fn top(&self) -> Option<Node<'_>> {
        // ORDERING: Relaxed; changes under the tree lock only.
        self.node(Link::from_bits(self.root.load(Ordering::Relaxed)))
    }

    /// The way to a key, and its end: its leaf, a node that it does not belong below, or none.
    fn descend(&self, key: u64) -> (Path<'_>, Option<Node<'_>>) {
        let mut path = Path { nodes: [None; LEVELS_MAX], len: 0 };
        let mut at = self.top();
        while let Some(node) = at
            && node.level > 0
            && prefix(key, node.level) == node.base
        {
            path.push(node);
            at = self.node(node.child(slot(key, node.level)));
        }
        (path, at)
    }

    fn set(&self, parent: Option<Node<'_>>, key: u64, link: Link) {
        match parent {
            Some(parent) => parent.set_child(slot(key, parent.level), link),
            // ORDERING: Release; pairs with the Acquire in `leaf_of`: a link comes with its node.
            None => self.root.store(link.bits(), Ordering::Release),
        }
    }

    /// For a key without a leaf, under its shard lock.
    #[cold]
    pub(super) fn insert_leaf(&self, key: u64) -> Result<Node<'_>, OutOfFrames> {
        let _tree = self.tree.lock();
        let (path, at) = self.descend(key);
        let leaf = self.nodes.make(0, prefix(key, 0))?;
        let Some(other) = at else {
            self.set(path.last(), key, leaf.link);
            return Ok(leaf);
        };
        // A node above both takes its place, at the lowest level that fits.
        let shared = |level: u32| {
            let steps = NODE_BITS * (level - other.level);
            prefix(key, level) == other.base.checked_shr(steps).unwrap_or(0)
        };
        let level = (other.level + 1..).find(|&level| shared(level)).expect("all keys share none");
        let fork = self.nodes.make(level, prefix(key, level)).inspect_err(|_| {
            // No link to it was published.
            self.nodes.free(leaf);
        })?;
        let other_slot = slot(first_key(other.base, other.level, 0), level);
        fork.set_child(other_slot, other.link);
        // As told: a thread that has yet to tell finds the difference.
        let told = match path.last() {
            Some(parent) => parent.droppable() >> slot(key, parent.level) & 1 == 1,
            None => other.droppable() != 0,
        };
        fork.set_droppable(other_slot, told);
        fork.set_child(slot(key, level), leaf.link);
        self.set(path.last(), key, fork.link);
        Ok(leaf)
    }

    /// Removes an empty leaf, under its shard lock.
    pub(super) fn prune(&self, key: u64, leaf: Node<'_>) {
        if leaf.used() == 0 {
            self.remove_leaf(key, leaf);
        }
    }

    #[cold]
    fn remove_leaf(&self, key: u64, leaf: Node<'_>) {
        let _tree = self.tree.lock();
        let (mut path, at) = self.descend(key);
        debug_assert!(
            at.is_some_and(|at| at.link == leaf.link),
            "I-TREE: the way leads to the leaf"
        );
        let parent = path.pop();
        self.set(parent, key, Link::NONE);
        self.nodes.free(leaf);
        let Some(parent) = parent else { return };
        debug_assert!(parent.used() != 0, "I-TREE: an inner node has two children");
        if parent.used().is_power_of_two() {
            let only = parent.child(parent.used().trailing_zeros() as usize);
            self.set(path.last(), key, only);
            self.nodes.free(parent);
        }
    }

    /// Tells the nodes above whether the leaf has droppable words. The shard lock keeps it true.
    #[cold]
    pub(super) fn tell_droppable(&self, key: u64, on: bool) {
        let _tree = self.tree.lock();
        let (mut path, _) = self.descend(key);
        while let Some(node) = path.pop() {
            let had = node.droppable() != 0;
            node.set_droppable(slot(key, node.level), on);
            if had == (node.droppable() != 0) {
                return;
            }
        }
    }
}
