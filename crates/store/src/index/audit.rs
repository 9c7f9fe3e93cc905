//! Checks the invariants of an index, while no other thread changes it.

use super::{
    Index,
    nodes::{NODE_BITS, Node},
};
use crate::word::Word;

impl Index {
    pub(crate) fn audit(&self) -> Result<usize, String> {
        let _tree = self.tree.lock();
        self.top().map_or(Ok(0), |top| self.audit_node(&top))
    }

    fn audit_node(&self, node: &Node<'_>) -> Result<usize, String> {
        let wrong = |invariant: &str, what: &str| {
            let (level, base) = (node.level, node.base);
            Err(format!("{invariant}: node of level {level} for the keys from {base:#x}: {what}"))
        };
        if node.used() == 0 {
            return wrong("I-TREE", "it is empty");
        }
        if node.level > 0 && node.used().is_power_of_two() {
            return wrong("I-TREE", "it has one child");
        }
        let mut nodes = 1;
        for slot in 0..super::nodes::NODE_WORDS {
            let used = node.used() >> slot & 1 == 1;
            let droppable = node.droppable() >> slot & 1 == 1;
            if used != (node.word(slot) != 0) {
                return wrong("I-TREE", "a bit of `used` is not what its word says");
            }
            let mut holds = Word::from_bits(node.word(slot)).entry().holds_memory();
            if node.level > 0 {
                let child = self.nodes.get(node.child(slot));
                if used && child.is_none() {
                    return wrong("I-STAMP", "a link names a node that was freed");
                }
                holds = child.is_some_and(|child| child.droppable() != 0);
                if let Some(child) = child.filter(|_| used) {
                    if child.level >= node.level {
                        return wrong("I-TREE", "a child is not below it");
                    }
                    let steps = NODE_BITS * (node.level - child.level - 1);
                    let above = child.base >> steps;
                    let expected = node.base.checked_shl(NODE_BITS).unwrap_or(0) | slot as u64;
                    if above != expected {
                        return wrong("I-TREE", "a child has keys of another");
                    }
                    nodes += self.audit_node(&child)?;
                }
            }
            if droppable != (holds && self.tracks_droppable) {
                return wrong("I-DROPPABLE", "a bit of `droppable` is not what is below it");
            }
        }
        Ok(nodes)
    }
}
