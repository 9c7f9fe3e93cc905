//! The shrinker: a thread that makes room, in pieces, from the high watermark down to the low one, and asks the limit source.
//!
//! Puts wake it above the high watermark. They make room themselves only at the limit, when the shrinker did not keep up.

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

/// How often the limit source is asked.
pub(crate) const LIMIT_INTERVAL: Duration = Duration::from_secs(1);
/// The pause after a round that freed nothing, so that a persistent store above its watermark is not walked without end.
const FRUITLESS_PAUSE: Duration = Duration::from_millis(50);

/// Starts the thread.
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
    // Without a source, only puts and the end of the store wake it.
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
        // A fork waits for operations; so it finds no lock held that an operation takes.
        if let Ok(_operation) = store.enter() {
            store.look_at_handles(RETIRED_SHARE);
        }
        store.recycle_handles(store.epoch());
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

/// Does a piece of work; whether another one may free more. A panic, in a callback of the program or by a bug here, is
/// counted, and the thread goes on after a pause.
fn step(store: &StoreState) -> bool {
    let Ok(_operation) = store.enter() else { return false };
    let step = catch_unwind(AssertUnwindSafe(|| store.shrink_step()));
    step.unwrap_or_else(|_| {
        store.work.shrinker_failures.fetch_add(1, Ordering::Relaxed);
        tracing::error!("a piece of the shrinker's work panicked; the shrinker goes on");
        false
    })
}

/// Asks the source, and sets the limit as near to its answer as the stored pages allow.
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
        // As near as the persistent pages allow.
        Err(LimitError::InUse { resident, .. }) if resident < store.limit() => {
            let _ = store.set_limit(resident);
        }
        Err(error) => tracing::warn!(wanted, %error, "the limit of the limit source cannot be set"),
    }
}
