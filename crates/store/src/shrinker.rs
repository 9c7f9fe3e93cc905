//! The shrinker's thread: it works in pieces from the high watermark down to the low one, and asks the limit source.
//!
//! Puts wake it above the high watermark, and by themselves make room only at the limit, when it did not keep up.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use pagefold_pool::LimitError;
#[cfg(not(loom))]
use pagefold_sys::quiesce::fork_generation;

use crate::{
    inner::{Inner, RETIRED_SHARE},
    limit::LimitSource,
};

/// How often the limit source is asked.
pub(crate) const LIMIT_INTERVAL: Duration = Duration::from_secs(1);
/// A pause after a round of work that won nothing, so that a persistent store that stays above its mark is not
/// walked without end.
const FRUITLESS_PAUSE: Duration = Duration::from_millis(50);

/// A model does not fork.
#[cfg(loom)]
fn fork_generation() -> u64 {
    0
}

/// Wakes the shrinker, and ends it.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    /// Whether somebody asked for work since the shrinker last began. Kept outside of the lock, so that a put above
    /// the watermark costs a load.
    asked: AtomicBool,
    stopped: AtomicBool,
    running: AtomicBool,
    lock: Mutex<()>,
    bell: Condvar,
    /// The fork generation that the thread was started in; it does not exist in a later one.
    generation: AtomicU64,
}

// ORDERING (this file): Relaxed for `asked` and `stopped`: both are set and looked at around the lock, which orders
// them; outside of it they only save the lock.
impl Wake {
    pub(crate) fn wake(&self) {
        if !self.is_running() {
            return;
        }
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

    /// Whether the thread was started and did not end.
    pub(crate) fn is_running(&self) -> bool {
        self.running.load(Ordering::Relaxed) && !self.is_forked()
    }

    /// Whether this process was forked after the thread was started: it has no such thread then, and its lock may be held
    /// for ever.
    pub(crate) fn is_forked(&self) -> bool {
        self.generation.load(Ordering::Relaxed) != fork_generation()
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
    inner.wake.generation.store(fork_generation(), Ordering::Relaxed);
    inner.wake.running.store(true, Ordering::Relaxed);
    let wake = Arc::clone(&inner);
    let thread = thread::Builder::new().name("pagefold-shrinker".to_owned()).spawn(move || {
        run(&inner, source);
        inner.wake.running.store(false, Ordering::Relaxed);
    });
    thread.inspect_err(|_| wake.wake.running.store(false, Ordering::Relaxed))
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
        // Whatever takes a lock is an operation, so that no fork finds the lock taken.
        if let Ok(_operation) = inner.enter() {
            inner.look_at_handles(RETIRED_SHARE);
        }
        inner.recycle_handles(inner.epoch());
        let mut worked = false;
        while !inner.wake.is_stopped() && step(inner) {
            worked = true;
        }
        if worked && let Ok(_operation) = inner.enter() {
            inner.trim_idle();
        } else if inner.is_above_high() {
            inner.wake.pause(FRUITLESS_PAUSE);
        }
        inner.wake.sleep(rest);
    }
}

/// A piece of work; whether another one may win something. One that panics, in a callback of the program or by a defect
/// of ours, is counted, and the thread goes on after a pause.
fn step(inner: &Inner) -> bool {
    let Ok(_operation) = inner.enter() else { return false };
    let step = catch_unwind(AssertUnwindSafe(|| inner.shrink_step()));
    step.unwrap_or_else(|_| {
        inner.work.shrinker_failures.fetch_add(1, Ordering::Relaxed);
        tracing::error!("a piece of the shrinker's work panicked; the shrinker goes on");
        false
    })
}

/// Asks the source, and puts its answer in force as far as what is stored allows.
fn follow(inner: &Inner, source: &mut dyn LimitSource) {
    let asked = catch_unwind(AssertUnwindSafe(|| source.limit(inner.resident())));
    let wanted = asked.unwrap_or_else(|_| {
        inner.work.limit_source_failures.fetch_add(1, Ordering::Relaxed);
        tracing::error!("the limit source panicked; it is asked again");
        None
    });
    let Some(wanted) = wanted else { return };
    let wanted = if wanted > inner.max_limit() {
        inner.work.clamped_limits.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            wanted,
            max = inner.max_limit(),
            "the limit source asks for more than the maximum"
        );
        inner.max_limit()
    } else {
        wanted
    };
    if wanted.abs_diff(inner.limit()) < pagefold_frame::FRAME_BYTES {
        return;
    }
    let Ok(_operation) = inner.enter() else { return };
    match inner.set_limit(wanted) {
        Ok(()) => {}
        // As near as what may not be dropped allows.
        Err(LimitError::InUse { resident, .. }) if resident < inner.limit() => {
            let _ = inner.set_limit(resident);
        }
        Err(error) => tracing::warn!(wanted, %error, "the limit source asks for what cannot be"),
    }
}
