//! Closes all gates, and waits for the operations of other threads.

use super::{deadline::Deadline, node::Node};
use crate::sync::Ordering;

/// Closes all gates in order, except those that this thread closed. False if the deadline passes; some are closed then.
pub(super) fn close<I>(nodes: impl Fn() -> I, me: usize, deadline: &Deadline) -> bool
where
    I: Iterator<Item = &'static Node>,
{
    nodes().filter(|node| !node.is_closed_by(me) && !node.is_abandoned()).all(|node| {
        let closed = node.close(me, deadline);
        // ORDERING: Relaxed, as all of `forked`: only the forking thread reads it; the list's lock orders the rest.
        node.forked.store(closed, Ordering::Relaxed);
        closed
    })
}

/// Makes all gates quiet if only this thread's `own` operations are inside.
///
/// All are quiet before the first is counted, so no counter is too low; an exact sum makes each exact.
pub(super) fn try_quiesce<I>(nodes: impl Fn() -> I, own: usize) -> bool
where
    I: Iterator<Item = &'static Node>,
{
    let inside = || nodes().map(Node::inside).sum::<usize>();
    if inside() != own {
        return false;
    }
    closed_by_fork(&nodes).for_each(Node::quiet);
    let counted = nodes().map(|node| {
        let inside = node.inside();
        node.note_own(inside);
        inside
    });
    let empty = counted.sum::<usize>() == own;
    if !empty {
        closed_by_fork(&nodes).for_each(Node::unquiet);
    }
    empty
}

pub(super) fn reopen<I>(nodes: impl Fn() -> I)
where
    I: Iterator<Item = &'static Node>,
{
    for node in closed_by_fork(&nodes) {
        // ORDERING: Relaxed; see `close`.
        node.forked.store(false, Ordering::Relaxed);
        node.open();
    }
}

fn closed_by_fork<I>(nodes: &impl Fn() -> I) -> impl Iterator<Item = &'static Node>
where
    I: Iterator<Item = &'static Node>,
{
    nodes().filter(|node| node.forked.load(Ordering::Relaxed))
}
