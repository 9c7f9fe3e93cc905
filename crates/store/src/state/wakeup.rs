//! The wakeup of the shrinker: puts notify it, the last handle stops it.

use std::{
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use pagefold_sys::quiesce::fork_generation;

#[derive(Debug, Default)]
pub(crate) struct Wakeup {
    asked: AtomicBool,
    stopped: AtomicBool,
    running: AtomicBool,
    lock: Mutex<()>,
    condvar: Condvar,
    /// The thread does not exist in a later fork generation.
    generation: AtomicU64,
}

// ORDERING (this file): Relaxed. The lock orders `asked` and `stopped`; tests outside of it only save the lock. The
// start of the thread orders `running` and `generation`.
impl Wakeup {
    pub(crate) fn notify(&self) {
        if !self.is_running() {
            return;
        }
        if !self.asked.load(Ordering::Relaxed) && !self.asked.swap(true, Ordering::Relaxed) {
            self.notify_all();
        }
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.notify_all();
    }

    fn notify_all(&self) {
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
        self.condvar.notify_all();
    }

    pub(crate) fn note_start(&self) {
        self.generation.store(fork_generation(), Ordering::Relaxed);
        self.running.store(true, Ordering::Relaxed);
    }

    pub(crate) fn note_end(&self) {
        self.running.store(false, Ordering::Relaxed);
    }

    /// Later requests need another round.
    pub(crate) fn note_round(&self) {
        self.asked.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.load(Ordering::Relaxed) && !self.is_forked()
    }

    /// A forked process has no such thread, and `lock` may stay locked for ever.
    pub(crate) fn is_forked(&self) -> bool {
        self.generation.load(Ordering::Relaxed) != fork_generation()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(crate) fn sleep(&self, time: Duration) {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |(): &mut ()| !self.asked.load(Ordering::Relaxed) && !self.is_stopped();
        drop(self.condvar.wait_timeout_while(guard, time, idle));
    }

    /// Ignores `asked`.
    pub(crate) fn pause(&self, time: Duration) {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.condvar.wait_timeout_while(guard, time, |(): &mut ()| !self.is_stopped()));
    }
}
