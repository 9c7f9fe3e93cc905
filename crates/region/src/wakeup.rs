//! Wakes the region's threads, from signal handlers too.

use std::time::Duration;

use pagefold_sys::sync::{self, AtomicBool, AtomicUsize, Ordering, fence};

#[derive(Debug)]
pub(crate) struct Wakeup {
    /// Threads.
    asleep: AtomicUsize,
    ended: AtomicBool,
}

impl Wakeup {
    pub(crate) fn new() -> Self {
        Self { asleep: AtomicUsize::new(0), ended: AtomicBool::new(false) }
    }

    fn key(&self) -> usize {
        std::ptr::from_ref(&self.asleep).addr()
    }

    /// Async-signal-safe.
    pub(crate) fn wake(&self) {
        // ORDERING: SeqCst; pairs with the fence in `sleep`: either the sleeper sees what the waker did before, or the waker sees it
        // asleep.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) > 0 {
            sync::wake_all(self.key());
        }
    }

    /// Sleeps until woken, unless `has_work`.
    pub(crate) fn sleep(&self, has_work: impl Fn() -> bool, at_most: Duration) {
        let epoch = sync::epoch(self.key());
        // ORDERING: Relaxed, and the fence; see `wake`.
        self.asleep.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if !self.has_ended() && !has_work() {
            sync::wait_timeout(self.key(), epoch, at_most);
        }
        self.asleep.fetch_sub(1, Ordering::Relaxed);
    }

    /// In the child of a fork: no thread is asleep.
    pub(crate) fn reset(&self) {
        // ORDERING: Relaxed; the process has one thread.
        self.asleep.store(0, Ordering::Relaxed);
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
