//! Detects when no operation runs: a [`Gate`] that each operation passes and that can be closed.
//!
//! ```text
//!              quiesce, or a fork            nothing is inside
//!       OPEN --------------------> CLOSING --------------------> QUIET
//!         ^                           |                            |
//!         +---------------------------+----------------------------+
//!               out of time                  Quiet is dropped
//! ```
//! Each operation has an [`Entered`]. Work that must not run beside an operation has a [`Quiet`].
//!
//! | state | a thread inside no gate | a thread inside some gate, or with a `Quiet` | the thread that closed it |
//! |---|---|---|---|
//! | OPEN | enters | enters | enters |
//! | CLOSING | waits | enters, so that its operation can end | enters |
//! | QUIET | waits | waits | enters |
//!
//! **Fork.** A child has only the thread that forked, so other threads' operations would stay half done. Before a fork,
//! `pthread_atfork` handlers close all gates and wait until only operations of the forking thread are inside; after it
//! they open them. After [`set_fork_wait`] the fork goes on without waiting; in the child all gates are then
//! *abandoned*: they refuse with [`Abandoned`].

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

/// The process was forked while another thread was inside a gate, so the guarded object may be half changed for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "the process was forked while an operation was under way; what it guards cannot be used in the child"
)]
pub struct Abandoned;

/// A gate that every operation on an object passes; [`quiesce`](Self::quiesce) closes it until none is inside.
///
/// # Complexity
/// Entering and leaving are one locked instruction each, on the thread's shard. A gate takes some two KiB, which later
/// gates reuse.
///
/// # Concurrency
/// [`try_enter`](Self::try_enter) and the drop of its result never wait and are async-signal-safe; they may interrupt
/// any method of any gate.
#[derive(Debug)]
pub struct Gate {
    node: &'static Node,
}

impl Gate {
    /// An open gate; closed while a fork is under way.
    ///
    /// # Errors
    /// The system's, if it cannot register the fork handlers.
    pub fn new() -> io::Result<Self> {
        #[cfg(not(loom))]
        return registry::claim().map(|node| Self { node });
        #[cfg(loom)]
        return Ok(Self { node: Box::leak(Box::new(Node::new())) });
    }

    /// Begins an operation, which ends when the guard is dropped. Waits while the gate is closed, unless this thread is
    /// in another operation that must be able to end.
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

    /// As [`enter`](Self::enter), for a thread that operations of others wait for: a closing gate keeps it out for `wait`, and then
    /// admits it as if it were inside another gate. The thread that closes the gate has that time for a look without it.
    ///
    /// # Errors
    /// As [`enter`](Self::enter).
    pub fn enter_to_help(&self, wait: Duration) -> Result<Entered<'_>, Abandoned> {
        if self.node.admit(true) {
            return Ok(self.entered());
        }
        let deadline = Deadline::after(wait);
        loop {
            let epoch = crate::sync::epoch(self.node.key());
            if self.node.admit(true) {
                return Ok(self.entered());
            }
            if self.node.is_abandoned() {
                return Err(Abandoned);
            }
            if !deadline.wait(self.node.key(), epoch) {
                break;
            }
        }
        thread::begin_quiet();
        let entered = self.enter();
        thread::end_quiet();
        entered
    }

    /// Begins an operation; `None` if the gate is closed or abandoned.
    #[inline]
    pub fn try_enter(&self) -> Option<Entered<'_>> {
        self.node.admit(false).then(|| self.entered())
    }

    /// Closes the gate and waits until no operation is inside. It opens when the guard is dropped, or on giving up.
    ///
    /// `None` if that takes longer than `within`. `None` at once if this thread is inside, has closed the gate, or is
    /// in an operation for which a fork waits, and if the gate is abandoned.
    ///
    /// # Concurrency
    /// Callers take turns; operations that waited run before the next. Two threads that each have a [`Quiet`] and enter
    /// the other's gate deadlock: with a `Quiet`, enter no gate that a thread may close that long.
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

    /// Whether a thread waits for the operations under way. A hint, for one that waits inside of its own.
    pub fn is_closing(&self) -> bool {
        self.node.is_closing()
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

/// An operation under way; it ends when its thread drops this.
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

/// Counts the forks since the first gate was made. An owner that stores it detects later that it is in a child.
pub fn fork_generation() -> u64 {
    #[cfg(not(loom))]
    return registry::generation();
    // A model has no forks but those that it makes itself.
    #[cfg(loom)]
    0
}

/// What an owner of memory does around each fork. All run in the thread that forks, while every gate is closed, and must not panic.
#[cfg(not(loom))]
#[derive(Debug, Clone, Copy)]
pub struct ForkHooks {
    /// Before the fork, once no other thread is inside a gate. Not called for a fork that waited too long.
    pub prepare: fn(),
    /// In the parent, after `prepare`, also when the fork failed.
    pub parent: fn(),
    /// In the child, after [`fork_generation`] has advanced; whether `prepare` was called.
    pub child: fn(bool),
}

/// Sets the hooks of all later forks. The process has one set of them, and the first stays; false if there was one.
///
/// They run as handlers of `pthread_atfork` from the first [`Gate`] on. So handlers that were registered before it run, in
/// the child, before `child`.
#[cfg(not(loom))]
pub fn set_fork_hooks(hooks: ForkHooks) -> bool {
    registry::set_hooks(hooks)
}

/// Sets how long later forks wait for operations of other threads. Initially 5 seconds.
#[cfg(not(loom))]
pub fn set_fork_wait(wait: Duration) {
    registry::set_fork_wait(wait);
}

/// In a model: closes these gates, calls `forked` when no other thread is inside, opens them.
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
