//! Wakes a thread of the region, from signal handlers too.

use std::time::Duration;

use pagefold_sys::sync::{self, AtomicBool, Ordering, fence};

#[derive(Debug)]
pub(crate) struct Wakeup {
    asleep: AtomicBool,
    ended: AtomicBool,
}

impl Wakeup {
    pub(crate) fn new() -> Self {
        Self { asleep: AtomicBool::new(false), ended: AtomicBool::new(false) }
    }

    fn key(&self) -> usize {
        std::ptr::from_ref(&self.asleep).addr()
    }

    /// Async-signal-safe.
    pub(crate) fn wake(&self) {
        // ORDERING: SeqCst; pairs with the fence in `sleep`: either the sleeper sees what the waker did before, or the waker sees it
        // asleep.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) {
            sync::wake_all(self.key());
        }
    }

    /// Sleeps until woken, unless `has_work`.
    pub(crate) fn sleep(&self, has_work: impl Fn() -> bool, at_most: Duration) {
        let epoch = sync::epoch(self.key());
        // ORDERING: Relaxed, and the fence; see `wake`.
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if !self.has_ended() && !has_work() {
            sync::wait_timeout(self.key(), epoch, at_most);
        }
        self.asleep.store(false, Ordering::Relaxed);
    }

    pub(crate) fn end(&self) {
        // ORDERING: Relaxed; `wake` has the fence.
        self.ended.store(true, Ordering::Relaxed);
        self.wake();
    }

    pub(crate) fn has_ended(&self) -> bool {
        // ORDERING: Relaxed; a flag.
        self.ended.load(Ordering::Relaxed)
    }
}
