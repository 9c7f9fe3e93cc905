//! The wakeup of the shrinker: puts notify it, and the last handle stops it.

use std::{
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

#[cfg(not(loom))]
use pagefold_sys::quiesce::fork_generation;

/// A model does not fork.
#[cfg(loom)]
fn fork_generation() -> u64 {
    0
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Wakeup {
    /// Whether a put asked for work since the shrinker last began. It lies outside of the lock, so that a put above the
    /// watermark pays for one load.
    asked: AtomicBool,
    stopped: AtomicBool,
    running: AtomicBool,
    lock: Mutex<()>,
    condvar: Condvar,
    /// The fork generation in which the thread was started; it does not exist in a later one.
    generation: AtomicU64,
}

// ORDERING (this file): Relaxed. `asked` and `stopped` are set and tested around the lock, which orders them; the tests
// outside of it only save the lock. `running` and `generation` are set before the thread starts, which orders them.
impl Wakeup {
    /// Asks the shrinker for work.
    pub(crate) fn notify(&self) {
        if !self.is_running() {
            return;
        }
        if !self.asked.load(Ordering::Relaxed) && !self.asked.swap(true, Ordering::Relaxed) {
            self.notify_all();
        }
    }

    /// Ends the shrinker.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.notify_all();
    }

    fn notify_all(&self) {
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
        self.condvar.notify_all();
    }

    /// Notes that the thread is started in this process.
    pub(crate) fn note_start(&self) {
        self.generation.store(fork_generation(), Ordering::Relaxed);
        self.running.store(true, Ordering::Relaxed);
    }

    /// Notes that the thread ended, or was not started.
    pub(crate) fn note_end(&self) {
        self.running.store(false, Ordering::Relaxed);
    }

    /// Notes that the shrinker begins; what is asked from now on needs another round.
    pub(crate) fn note_round(&self) {
        self.asked.store(false, Ordering::Relaxed);
    }

    /// Whether the thread was started and has not ended.
    pub(crate) fn is_running(&self) -> bool {
        self.running.load(Ordering::Relaxed) && !self.is_forked()
    }

    /// Whether this process was forked after the thread was started. It has no such thread then, and `lock` may stay locked
    /// for ever.
    pub(crate) fn is_forked(&self) -> bool {
        self.generation.load(Ordering::Relaxed) != fork_generation()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Sleeps until a put asks for work, the store ends, or the time is over.
    pub(crate) fn sleep(&self, time: Duration) {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |(): &mut ()| !self.asked.load(Ordering::Relaxed) && !self.is_stopped();
        drop(self.condvar.wait_timeout_while(guard, time, idle));
    }

    /// Sleeps until the store ends or the time is over, even if puts ask for work.
    pub(crate) fn pause(&self, time: Duration) {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.condvar.wait_timeout_while(guard, time, |(): &mut ()| !self.is_stopped()));
    }
}
