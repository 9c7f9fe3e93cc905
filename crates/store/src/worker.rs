//! The workers: threads that compress what puts have staged, train on it, and make idle pages denser.
//!
//! A put wakes them when it finds the queue empty, and when it fills half of it. A worker that wakes first lets a burst
//! gather: pages that are overwritten meanwhile cost no codec, and puts make fewer system calls.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    thread::{self, JoinHandle},
    time::Duration,
};

use pagefold_sys::clock::thread_time;

use crate::state::StoreState;

// ORDERING (this file): Relaxed; statistics.

/// How long a burst may gather.
const GATHER: Duration = Duration::from_millis(1);
const AFTER_PANIC: Duration = Duration::from_millis(50);
/// Puts and shutdown end a rest.
const REST: Duration = Duration::from_secs(60);

/// Starts `count` workers. If one cannot be started, those before it end.
pub(crate) fn start(store: &Arc<StoreState>, count: u8) -> io::Result<Vec<JoinHandle<()>>> {
    let mut threads = Vec::new();
    if count > 0 {
        store.workers.wakeup.note_start();
    }
    for _ in 0..count {
        let own = Arc::clone(store);
        store.workers.running.fetch_add(1, Ordering::Relaxed);
        let thread =
            thread::Builder::new().name("pagefold-worker".to_owned()).spawn(move || run(&own));
        match thread {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                store.workers.stop();
                threads.into_iter().for_each(|thread| _ = thread.join());
                return Err(error);
            }
        }
    }
    Ok(threads)
}

fn run(store: &StoreState) {
    let workers = &store.workers;
    while !workers.wakeup.is_stopped() {
        workers.wakeup.note_round();
        workers.wakeup.sleep(GATHER);
        workers.wakeup.note_round();
        let began = thread_time();
        let rest = work(store);
        let took = thread_time().saturating_sub(began).as_nanos();
        workers.time_ns.fetch_add(u64::try_from(took).unwrap_or(u64::MAX), Ordering::Relaxed);
        workers.wakeup.sleep(rest.min(REST));
    }
    workers.running.fetch_sub(1, Ordering::Relaxed);
}

/// Works until nothing is due; how long. Staged pages come first, idle ones last.
fn work(store: &StoreState) -> Duration {
    let workers = &store.workers;
    while workers.goes_on() {
        let is_overdue = store.training.is_overdue();
        if !is_overdue
            && step(store, |store| store.unstage_one(false).is_some() || store.return_one())
        {
            continue;
        }
        store.train_if_due(&|| workers.goes_on());
        store.retire_codecs();
        if is_overdue {
            continue;
        }
        let Ok(operation) = store.enter() else { break };
        let rest = store.idle_wait();
        drop(operation);
        if let Some(rest) = rest {
            return rest;
        }
        step(store, |store| {
            store.idle_step();
            true
        });
    }
    REST
}

/// A piece of work; whether there was any. Each is an operation, so that a fork finds no lock held.
fn step(store: &StoreState, work: fn(&StoreState) -> bool) -> bool {
    let worked = {
        let Ok(_operation) = store.enter() else { return false };
        // The codec's panics are caught where it runs; this is for a bug here.
        catch_unwind(AssertUnwindSafe(|| work(store)))
    };
    worked.unwrap_or_else(|_| {
        store.workers.note_panic();
        tracing::error!("a worker panicked over a page; it goes on with the next");
        // A panic that repeats takes little of the processor.
        store.workers.wakeup.pause(AFTER_PANIC);
        true
    })
}
