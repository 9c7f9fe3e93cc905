//! The shrinker thread makes room in steps, from the high watermark to the low one, and asks the limit source.
//!
//! Puts wake it above the high watermark, and make room themselves only at the limit.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use pagefold_pool::LimitError;

use crate::{
    limit::LimitSource,
    state::{RETIRED_SHARE, StoreState},
};

pub(crate) const LIMIT_INTERVAL: Duration = Duration::from_secs(1);
/// Keeps a persistent store above its watermark from spinning.
const FRUITLESS_PAUSE: Duration = Duration::from_millis(50);

pub(crate) fn start(
    store: Arc<StoreState>,
    source: Option<Box<dyn LimitSource>>,
) -> io::Result<JoinHandle<()>> {
    store.wakeup.note_start();
    let state = Arc::clone(&store);
    let thread = thread::Builder::new().name("pagefold-shrinker".to_owned()).spawn(move || {
        run(&store, source);
        store.wakeup.note_end();
    });
    thread.inspect_err(|_| state.wakeup.note_end())
}

fn run(store: &StoreState, mut source: Option<Box<dyn LimitSource>>) {
    // Without a source, puts and shutdown wake it.
    let rest = if source.is_some() { LIMIT_INTERVAL } else { Duration::from_secs(60) };
    let mut ask_at = Instant::now();
    while !store.wakeup.is_stopped() {
        if let Some(source) = &mut source
            && Instant::now() >= ask_at
        {
            follow(store, &mut **source);
            ask_at = Instant::now() + LIMIT_INTERVAL;
        }
        store.wakeup.note_round();
        // An operation, so that a fork finds its locks free.
        if let Ok(_operation) = store.enter() {
            store.look_at_handles(RETIRED_SHARE);
        }
        store.recycle_handles(store.epoch());
        store.retire_codecs();
        let mut worked = false;
        while !store.wakeup.is_stopped() && step(store) {
            worked = true;
        }
        if worked && let Ok(_operation) = store.enter() {
            store.trim_idle();
        } else if store.is_above_high() {
            store.wakeup.pause(FRUITLESS_PAUSE);
        }
        store.wakeup.sleep(rest);
    }
}

/// One piece of work; whether another may free more. Counts a panic.
fn step(store: &StoreState) -> bool {
    let Ok(_operation) = store.enter() else { return false };
    let step = catch_unwind(AssertUnwindSafe(|| store.shrink_step()));
    step.unwrap_or_else(|_| {
        store.work.shrinker_failures.fetch_add(1, Ordering::Relaxed);
        tracing::error!("a piece of the shrinker's work panicked; the shrinker goes on");
        false
    })
}

/// Sets the limit as near to the source's answer as possible.
fn follow(store: &StoreState, source: &mut dyn LimitSource) {
    let asked = catch_unwind(AssertUnwindSafe(|| source.limit(store.resident())));
    let wanted = asked.unwrap_or_else(|_| {
        store.work.limit_source_failures.fetch_add(1, Ordering::Relaxed);
        tracing::error!("the limit source panicked; it is asked again");
        None
    });
    let Some(wanted) = wanted else { return };
    let wanted = if wanted > store.max_limit() {
        store.work.clamped_limits.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            wanted,
            max = store.max_limit(),
            "the limit source asks for more than the maximum"
        );
        store.max_limit()
    } else {
        wanted
    };
    if wanted.abs_diff(store.limit()) < pagefold_frame::FRAME_BYTES {
        return;
    }
    let Ok(_operation) = store.enter() else { return };
    match store.set_limit(wanted) {
        Ok(()) => {}
        Err(LimitError::InUse { resident, .. }) if resident < store.limit() => {
            let _ = store.set_limit(resident);
        }
        Err(error) => tracing::warn!(wanted, %error, "the limit of the limit source cannot be set"),
    }
}
