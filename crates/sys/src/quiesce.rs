//! Detects when no operation runs: a [`Gate`] that each operation passes and that can be closed.
//!
//! ```text
//!              quiesce, or a fork            nothing is inside
//!       OPEN --------------------> CLOSING --------------------> QUIET
//!         ^                           |                            |
//!         +---------------------------+----------------------------+
//!               out of time                  Quiet is dropped
//! ```
//! An object that threads share (a store) owns a gate. Each of its operations has an [`Entered`]. Work that must not
//! run beside an operation has a [`Quiet`]: a walk that validates, or a take-back of memory that late readers might
//! still read.
//!
//! | state | a thread inside no gate | a thread inside some gate, or with a `Quiet` | the thread that closed it |
//! |---|---|---|---|
//! | OPEN | enters | enters | enters |
//! | CLOSING | waits | enters: its current operation must be able to end | enters |
//! | QUIET | waits | waits: it is inside another gate | enters |
//!
//! **Fork.** A child has only the thread that forked; operations of other threads stay half done in it for ever. So the
//! first gate of a process registers handlers with `pthread_atfork`. Before a fork they close all gates, in the order
//! of their making, and wait until only operations of the forking thread are inside. Parent and child open them again.
//! A callback that blocks inside a gate would block every fork: after [`set_fork_wait`] the fork goes on without it. In
//! the child all gates of that moment are then *abandoned*: they refuse with [`Abandoned`].
//!
//! | file | holds |
//! |---|---|
//! | `node` | the state of one gate |
//! | `thread` | the gates that the calling thread is inside |
//! | `all` | closing all gates and waiting for all of them |
//! | `registry` | the gates of the process, and the handlers of a fork |
//! | `deadline` | when to stop waiting |

use std::{io, marker::PhantomData, time::Duration};

use thiserror::Error;

use self::{
    deadline::Deadline,
    node::{LEFT, Node},
};

mod all;
mod deadline;
mod node;
#[cfg(not(loom))]
mod registry;
mod thread;

/// Why an operation may not begin: the process was forked while another thread stayed inside a gate. What the gate
/// guards may be half changed, and no thread of this process will complete it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "the process was forked while an operation was under way; what it guards cannot be used in the child"
)]
pub struct Abandoned;

/// A gate that every operation on an object passes; [`quiesce`](Self::quiesce) closes it until none is inside.
///
/// # Complexity
/// Entering and leaving are one locked instruction each, on a cache line of the thread's shard. A gate takes some two
/// KiB, which the next gate uses again after this one is dropped.
///
/// # Concurrency
/// [`try_enter`](Self::try_enter) never waits and is async-signal-safe, as is dropping its result; it may interrupt any
/// other method of any gate in the same thread.
#[derive(Debug)]
pub struct Gate {
    node: &'static Node,
}

impl Gate {
    /// An open gate. During a fork it is closed until the fork is over.
    ///
    /// # Errors
    /// What the system says when it cannot register the handlers of a fork (out of memory).
    pub fn new() -> io::Result<Self> {
        #[cfg(not(loom))]
        return registry::claim().map(|node| Self { node });
        #[cfg(loom)]
        return Ok(Self { node: Box::leak(Box::new(Node::new())) });
    }

    /// Begins an operation, which ends when the guard is dropped. Waits while the gate is closed, unless this thread is
    /// in the middle of another operation that must be able to end.
    ///
    /// # Errors
    /// [`Abandoned`], in the child of a fork that did not wait.
    #[inline]
    pub fn enter(&self) -> Result<Entered<'_>, Abandoned> {
        if self.node.admit(true) {
            return Ok(self.entered());
        }
        self.node.wait_to_enter().map(|()| self.entered())
    }

    /// Begins an operation if that is possible at once. `None` if the gate is closed or abandoned.
    #[inline]
    pub fn try_enter(&self) -> Option<Entered<'_>> {
        self.node.admit(false).then(|| self.entered())
    }

    /// Closes the gate and waits until no operation is inside. Operations begin again when the guard is dropped, or
    /// when the call gives up.
    ///
    /// `None` (busy) if that takes longer than `within`. `None` at once if this thread is itself inside, has already
    /// closed the gate, or is in the middle of an operation for which a fork waits, and if the gate is abandoned.
    ///
    /// # Concurrency
    /// Several callers take turns, and operations that waited for one of them run before the next. Two threads that
    /// each have a [`Quiet`] and enter the other's gate would deadlock: with a `Quiet`, enter no other gate that a
    /// thread may close that long.
    pub fn quiesce(&self, within: Duration) -> Option<Quiet<'_>> {
        let me = thread::token();
        if thread::is_inside(self.node.key()) || self.node.is_closed_by(me) {
            return None;
        }
        let deadline = Deadline::after(within);
        #[cfg(not(loom))]
        if !registry::stand_back(me, &deadline) {
            return None;
        }
        if !self.node.close_in_turn(me, &deadline) {
            return None;
        }
        loop {
            let epoch = crate::sync::epoch(LEFT);
            if self.node.try_quiesce() {
                thread::begin_quiet();
                return Some(Quiet { gate: self, of_this_thread: PhantomData });
            }
            if !deadline.wait(LEFT, epoch) {
                self.node.open();
                return None;
            }
        }
    }

    /// Whether a fork left the gate unusable in this process.
    pub fn is_abandoned(&self) -> bool {
        self.node.is_abandoned()
    }

    #[inline]
    fn entered(&self) -> Entered<'_> {
        thread::push(self.node.key());
        Entered { gate: self, of_this_thread: PhantomData }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        #[cfg(not(loom))]
        registry::give_back(self.node);
    }
}

/// An operation that is under way. It ends when this is dropped, by the thread that began it.
#[derive(Debug)]
#[must_use = "the operation ends when the guard is dropped"]
pub struct Entered<'a> {
    gate: &'a Gate,
    of_this_thread: PhantomData<*const ()>,
}

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        thread::pop(self.gate.node.key());
        self.gate.node.leave();
    }
}

/// A closed gate with no operation inside. It opens when this is dropped.
#[derive(Debug)]
#[must_use = "the gate opens when the guard is dropped"]
pub struct Quiet<'a> {
    gate: &'a Gate,
    of_this_thread: PhantomData<*const ()>,
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        thread::end_quiet();
        self.gate.node.open();
    }
}

/// How many forks this process is away from the one that made the first gate. An owner that stores the value and
/// compares it later detects that it was made in a parent process, whose other threads do not exist here.
#[cfg(not(loom))]
pub fn fork_generation() -> u64 {
    registry::generation()
}

/// Sets how long all later forks of this process wait for operations of other threads before they go on without them.
/// Initially 5 seconds.
#[cfg(not(loom))]
pub fn set_fork_wait(wait: Duration) {
    registry::set_fork_wait(wait);
}

/// The effect of a fork on these gates, for a model: closes them, calls `forked` when no other thread is inside, opens
/// them.
#[cfg(loom)]
pub fn model_of_a_fork(gates: &[&Gate], forked: impl FnOnce()) {
    let nodes = || gates.iter().map(|gate| gate.node);
    let me = thread::token();
    assert!(all::close(nodes, me, &Deadline::after(Duration::MAX)), "a model waits for ever");
    loop {
        let epoch = crate::sync::epoch(LEFT);
        if all::try_quiesce(nodes, thread::depth()) {
            break;
        }
        crate::sync::wait(LEFT, epoch);
    }
    forked();
    all::reopen(nodes);
}

#[cfg(all(test, not(loom)))]
mod tests;
