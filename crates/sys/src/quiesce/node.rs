//! The state word of one gate, and counters of the operations inside.
//!
//! An operation raises a counter, then reads the word; a closer changes the word, then reads the counters. With SeqCst
//! one sees the other: the operation backs out, or the closer waits. A thread lowers the counter that it raised. While
//! quiet, no counter is too low, and an exact one stays exact.

use super::{Abandoned, deadline::Deadline, thread};
use crate::sync::{
    self, AtomicBool, AtomicU32, AtomicUsize, Ordering, Padded, epoch, wait, wake_all,
};

const OPEN: u32 = 0;
/// Open to threads in another operation.
const CLOSING: u32 = 1;
/// Open to its closer alone.
const QUIET: u32 = 2;
/// For ever, in this process.
const ABANDONED: u32 = 3;

/// One in a model, so that its threads meet.
const SHARDS: usize = if cfg!(loom) { 1 } else { 16 };

/// Wait here for an operation of a closed gate to end.
pub(super) const LEFT: usize = 1;

#[derive(Debug)]
pub(super) struct Node {
    state: AtomicU32,
    /// A token, or 0.
    closer: AtomicUsize,
    waiting: AtomicU32,
    shards: [Padded<AtomicUsize>; SHARDS],
    pub(super) forked: AtomicBool,
    /// The forking thread's operations.
    own: AtomicUsize,
}

/// loom weakens SeqCst accesses to AcqRel, but not fences.
#[inline]
fn order_for_loom() {
    #[cfg(loom)]
    sync::fence(Ordering::SeqCst);
}

impl Node {
    pub(super) fn new() -> Self {
        Self {
            state: AtomicU32::new(OPEN),
            closer: AtomicUsize::new(0),
            waiting: AtomicU32::new(0),
            shards: std::array::from_fn(|_| Padded(AtomicUsize::new(0))),
            forked: AtomicBool::new(false),
            own: AtomicUsize::new(0),
        }
    }

    #[inline]
    pub(super) fn key(&self) -> usize {
        std::ptr::from_ref(&self.state).addr()
    }

    /// Counts an operation in if the state admits it. A signal handler passes no `as_closer`: it may interrupt code
    /// that needs the quiet.
    #[inline]
    pub(super) fn admit(&self, as_closer: bool) -> bool {
        // While a fork's child resets the counters, no handler may touch them.
        // ORDERING: Relaxed; the second look decides.
        if !self.admits(self.state.load(Ordering::Relaxed), as_closer) {
            return false;
        }
        // ORDERING: SeqCst, as the next load; pair with the state's store and the counters' loads in `try_quiesce`.
        self.shard().fetch_add(1, Ordering::SeqCst);
        order_for_loom();
        if self.admits(self.state.load(Ordering::SeqCst), as_closer) {
            return true;
        }
        self.leave();
        false
    }

    #[inline]
    fn admits(&self, state: u32, as_closer: bool) -> bool {
        match state {
            OPEN => true,
            CLOSING => thread::is_nested() || as_closer && self.is_closed_by(thread::token()),
            QUIET => as_closer && self.is_closed_by(thread::token()),
            _ => false,
        }
    }

    #[cold]
    pub(super) fn wait_to_enter(&self) -> Result<(), Abandoned> {
        // ORDERING: Relaxed, as all of `waiting`: it only delays closers.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let entered = loop {
            let epoch = epoch(self.key());
            if self.admit(true) {
                break Ok(());
            }
            if self.is_abandoned() {
                break Err(Abandoned);
            }
            wait(self.key(), epoch);
        };
        if self.waiting.fetch_sub(1, Ordering::Relaxed) == 1 {
            wake_all(self.key());
        }
        entered
    }

    #[inline]
    pub(super) fn leave(&self) {
        // ORDERING: SeqCst; Release for the operation's work. Before the load: it sees the closed gate, or the closer
        // the counter. Pairs with `close` and `inside`.
        self.shard().fetch_sub(1, Ordering::SeqCst);
        order_for_loom();
        if self.state.load(Ordering::SeqCst) != OPEN {
            wake_all(LEFT);
        }
    }

    /// False after the deadline, or if abandoned.
    pub(super) fn close(&self, me: usize, deadline: &Deadline) -> bool {
        self.close_when(me, deadline, || true)
    }

    /// After the operations that wait.
    pub(super) fn close_in_turn(&self, me: usize, deadline: &Deadline) -> bool {
        // ORDERING: Relaxed; a missed waiter enters later.
        self.close_when(me, deadline, || self.waiting.load(Ordering::Relaxed) == 0)
    }

    fn close_when(&self, me: usize, deadline: &Deadline, may: impl Fn() -> bool) -> bool {
        loop {
            let epoch = epoch(self.key());
            // A gate made in a fork starts closed.
            if self.is_closed_by(me) {
                return true;
            }
            if may() {
                // ORDERING: SeqCst; before the loads in `inside`, see `leave`. Acquire for the last quiet thread.
                let closed =
                    self.state.compare_exchange(OPEN, CLOSING, Ordering::SeqCst, Ordering::Relaxed);
                match closed {
                    Ok(_) => {
                        order_for_loom();
                        self.set_closer(me);
                        return true;
                    }
                    Err(ABANDONED) => return false,
                    Err(_) => {}
                }
            }
            if !deadline.wait(self.key(), epoch) {
                return false;
            }
        }
    }

    fn set_closer(&self, closer: usize) {
        // ORDERING: Relaxed; only this token's thread stores and removes it.
        self.closer.store(closer, Ordering::Relaxed);
    }

    pub(super) fn is_closing(&self) -> bool {
        // ORDERING: Relaxed; a hint.
        self.state.load(Ordering::Relaxed) == CLOSING
    }

    pub(super) fn is_closed_by(&self, thread: usize) -> bool {
        // ORDERING: Relaxed; see `set_closer`.
        self.closer.load(Ordering::Relaxed) == thread
    }

    pub(super) fn try_quiesce(&self) -> bool {
        if self.inside() != 0 {
            return false;
        }
        self.quiet();
        let empty = self.inside() == 0;
        if !empty {
            self.unquiet();
        }
        empty
    }

    /// Also those backing out; never too few while quiet.
    pub(super) fn inside(&self) -> usize {
        // ORDERING: SeqCst; after the state's store, see `admit`, `leave`. Acquire for the operations' work.
        self.shards.iter().map(|shard| shard.load(Ordering::SeqCst)).sum()
    }

    pub(super) fn quiet(&self) {
        // ORDERING: SeqCst; before the loads in `inside`; pairs with `admit`.
        self.state.store(QUIET, Ordering::SeqCst);
        order_for_loom();
    }

    pub(super) fn unquiet(&self) {
        // ORDERING: SeqCst; one order of all states.
        self.state.store(CLOSING, Ordering::SeqCst);
        wake_all(self.key());
    }

    pub(super) fn open(&self) {
        if self.is_abandoned() {
            return;
        }
        self.set_closer(0);
        // ORDERING: SeqCst; Release for the quiet thread's work; pairs with `admit`.
        self.state.store(OPEN, Ordering::SeqCst);
        wake_all(self.key());
    }

    pub(super) fn is_abandoned(&self) -> bool {
        // ORDERING: Relaxed; set while the process has one thread.
        self.state.load(Ordering::Relaxed) == ABANDONED
    }

    #[inline]
    fn shard(&self) -> &AtomicUsize {
        &self.shards[sync::shard_hint() % SHARDS]
    }

    pub(super) fn note_own(&self, own: usize) {
        // ORDERING: Relaxed, here and below; one thread before and after its fork.
        self.own.store(own, Ordering::Relaxed);
    }
}

#[cfg(not(loom))]
impl Node {
    /// `forker` closes it during a fork.
    pub(super) fn renew(&self, forker: usize) {
        let state = if forker == 0 { OPEN } else { CLOSING };
        self.count_only(0);
        self.set_closer(forker);
        // ORDERING: Relaxed; only a forking thread knows the gate, and takes the list's lock.
        self.forked.store(forker != 0, Ordering::Relaxed);
        self.state.store(state, Ordering::Relaxed);
        // A fork may wait for the node.
        wake_all(self.key());
    }

    /// In the child: other threads had not seen the closed gate.
    pub(super) fn forget_other_threads(&self) {
        self.count_only(self.own.load(Ordering::Relaxed));
    }

    pub(super) fn abandon(&self) {
        self.count_only(thread::entries(self.key()));
        self.set_closer(0);
        // ORDERING: Relaxed; the process has one thread.
        self.forked.store(false, Ordering::Relaxed);
        self.state.store(ABANDONED, Ordering::Relaxed);
    }

    fn count_only(&self, own: usize) {
        // ORDERING: Relaxed; no other thread has the gate.
        self.shards.iter().for_each(|shard| shard.store(0, Ordering::Relaxed));
        self.shard().store(own, Ordering::Relaxed);
        self.waiting.store(0, Ordering::Relaxed);
    }
}
