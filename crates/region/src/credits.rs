//! Page credits: a page comes into memory only with one, so memory never has more pages than credits were made.
//!
//! ```text
//!  used + n <= limit ? ----yes----> used += n      a fault, before it places a page
//!        | no
//!        +--> waiters += 1; wait for the epoch     the evictor gives: used -= n, wake if waiters > 0
//! ```

use pagefold_sys::sync::{self, AtomicUsize, Ordering};

#[derive(Debug)]
pub(crate) struct Credits {
    used: AtomicUsize,
    limit: AtomicUsize,
    waiters: AtomicUsize,
}

impl Credits {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            used: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
            waiters: AtomicUsize::new(0),
        }
    }

    fn key(&self) -> usize {
        std::ptr::from_ref(&self.used).addr()
    }

    pub(crate) fn used(&self) -> usize {
        // ORDERING: Relaxed; a hint.
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn limit(&self) -> usize {
        // ORDERING: Relaxed; a number.
        self.limit.load(Ordering::Relaxed)
    }

    pub(crate) fn set_limit(&self, limit: usize) {
        // ORDERING: SeqCst; as `give`: one that waits must see more credits.
        self.limit.store(limit, Ordering::SeqCst);
        self.wake();
    }

    pub(crate) fn free(&self) -> usize {
        self.limit().saturating_sub(self.used())
    }

    pub(crate) fn has_waiters(&self) -> bool {
        // ORDERING: SeqCst; see `give`.
        self.waiters.load(Ordering::SeqCst) > 0
    }

    /// One credit, if there is one.
    pub(crate) fn try_take(&self) -> bool {
        let limit = self.limit();
        // ORDERING: SeqCst; see `give`.
        let take = |used: usize| (used < limit).then_some(used + 1);
        self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok()
    }

    /// One credit. Calls `ask` before it waits. Async-signal-safe.
    pub(crate) fn take(&self, ask: impl Fn()) {
        if self.try_take() {
            return;
        }
        // ORDERING: SeqCst; with the load in `wake`: either the giver sees this waiter, or this waiter's next try sees the credits.
        self.waiters.fetch_add(1, Ordering::SeqCst);
        loop {
            let epoch = sync::epoch(self.key());
            if self.try_take() {
                break;
            }
            ask();
            sync::wait(self.key(), epoch);
        }
        // ORDERING: SeqCst; as above.
        self.waiters.fetch_sub(1, Ordering::SeqCst);
    }

    pub(crate) fn give(&self, count: usize) {
        if count == 0 {
            return;
        }
        // ORDERING: SeqCst; before the load of `waiters`, which pairs with `take`.
        let before = self.used.fetch_sub(count, Ordering::SeqCst);
        debug_assert!(before >= count, "credits that were taken");
        self.wake();
    }

    /// In the child of a fork: so many are used, and no thread waits.
    pub(crate) fn reset(&self, used: usize) {
        // ORDERING: Relaxed; the process has one thread.
        self.used.store(used, Ordering::Relaxed);
        self.waiters.store(0, Ordering::Relaxed);
    }

    fn wake(&self) {
        if self.has_waiters() {
            sync::wake_all(self.key());
        }
    }
}
