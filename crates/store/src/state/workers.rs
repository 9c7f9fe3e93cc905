//! What the workers and the store share.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::wakeup::Wakeup;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    pub(crate) wakeup: Wakeup,
    paused: AtomicBool,
    pub(crate) running: AtomicUsize,
    /// Processor time of all, in nanoseconds.
    pub(crate) time_ns: AtomicU64,
    panics: AtomicU64,
}

// ORDERING (this file): Relaxed; a flag that workers look at between pages, and statistics. The queue's lock orders what
// they work on.
impl Workers {
    /// Asks for work.
    pub(crate) fn notify(&self) {
        self.wakeup.notify();
    }

    pub(crate) fn pause(&self) {
        self.paused.store(true, Ordering::Relaxed);
    }

    pub(crate) fn resume(&self) {
        self.paused.store(false, Ordering::Relaxed);
        self.wakeup.notify();
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// How many run in this process.
    pub(crate) fn running(&self) -> usize {
        if self.wakeup.is_running() { self.running.load(Ordering::Relaxed) } else { 0 }
    }

    /// A bug: the panics of codecs are caught where they run.
    pub(crate) fn note_panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    pub(crate) fn time_ns(&self) -> u64 {
        self.time_ns.load(Ordering::Relaxed)
    }

    pub(crate) fn is_forked(&self) -> bool {
        self.wakeup.is_forked()
    }

    pub(crate) fn stop(&self) {
        self.wakeup.stop();
    }

    pub(crate) fn goes_on(&self) -> bool {
        !self.wakeup.is_stopped() && !self.is_paused()
    }
}
