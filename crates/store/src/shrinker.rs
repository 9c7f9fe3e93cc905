//! The shrinker's thread: it works in pieces from the high watermark down to the low one, and asks the limit source.
//!
//! Puts wake it above the high watermark, and by themselves make room only at the limit, when it did not keep up.

use std::{
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use pagefold_pool::LimitError;

use crate::{inner::Inner, limit::LimitSource};

/// How often the limit source is asked.
pub(crate) const LIMIT_INTERVAL: Duration = Duration::from_secs(1);
/// A pause after a round of work that won nothing, so that a persistent store that stays above its mark is not
/// walked without end.
const FRUITLESS_PAUSE: Duration = Duration::from_millis(50);

/// Wakes the shrinker, and ends it.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    /// Whether somebody asked for work since the shrinker last began. Kept outside of the lock, so that a put above
    /// the watermark costs a load.
    asked: AtomicBool,
    stopped: AtomicBool,
    lock: Mutex<()>,
    bell: Condvar,
    /// Held around each piece of the thread's work, so that `validate` finds the pool quiet. Nobody else waits for it.
    work: Mutex<()>,
}

// ORDERING (this file): Relaxed for `asked` and `stopped`: both are set and looked at around the lock, which orders
// them; outside of it they only save the lock.
impl Wake {
    pub(crate) fn wake(&self) {
        if !self.asked.load(Ordering::Relaxed) && !self.asked.swap(true, Ordering::Relaxed) {
            self.ring();
        }
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.ring();
    }

    fn ring(&self) {
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
        self.bell.notify_all();
    }

    /// Keeps the thread from its next piece of work, after the one that it is at.
    pub(crate) fn quiet(&self) -> MutexGuard<'_, ()> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Sleeps until somebody asks for work or the time is over.
    fn sleep(&self, time: Duration) {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |(): &mut ()| !self.asked.load(Ordering::Relaxed) && !self.is_stopped();
        drop(self.bell.wait_timeout_while(guard, time, idle));
    }

    /// Sleeps whoever asks, but not when it is to end.
    fn pause(&self, time: Duration) {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.bell.wait_timeout_while(guard, time, |(): &mut ()| !self.is_stopped()));
    }
}

/// Starts the thread.
pub(crate) fn start(
    inner: Arc<Inner>,
    source: Option<Box<dyn LimitSource>>,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("pagefold-shrinker".to_owned()).spawn(move || run(&inner, source))
}

fn run(inner: &Inner, mut source: Option<Box<dyn LimitSource>>) {
    // Without a source only puts and the end have anything to say.
    let rest = if source.is_some() { LIMIT_INTERVAL } else { Duration::from_secs(60) };
    let mut ask_at = Instant::now();
    while !inner.wake.is_stopped() {
        if let Some(source) = &mut source
            && Instant::now() >= ask_at
        {
            follow(inner, &mut **source);
            ask_at = Instant::now() + LIMIT_INTERVAL;
        }
        inner.wake.asked.store(false, Ordering::Relaxed);
        let mut worked = false;
        while !inner.wake.is_stopped() && step(inner) {
            worked = true;
        }
        if worked {
            let _working = inner.wake.quiet();
            inner.trim_idle();
        } else if inner.is_above_high() {
            inner.wake.pause(FRUITLESS_PAUSE);
        }
        inner.wake.sleep(rest);
    }
}

fn step(inner: &Inner) -> bool {
    let _working = inner.wake.quiet();
    inner.shrink_step()
}

/// Asks the source, and puts its answer in force as far as what is stored allows.
fn follow(inner: &Inner, source: &mut dyn LimitSource) {
    let Some(wanted) = source.limit(inner.resident()) else { return };
    if wanted.abs_diff(inner.limit()) < pagefold_frame::FRAME_BYTES {
        return;
    }
    let _working = inner.wake.quiet();
    match inner.set_limit(wanted) {
        Ok(()) => {}
        // As near as what may not be dropped allows.
        Err(LimitError::InUse { resident, .. }) if resident < inner.limit() => {
            let _ = inner.set_limit(resident);
        }
        Err(error) => tracing::warn!(wanted, %error, "the limit source asks for what cannot be"),
    }
}
