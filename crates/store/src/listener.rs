//! Eviction listeners, called unlocked after the drop.
//!
//! A listener's put may drop pages too: the thread queues those reports until it returns, so listeners never nest.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fmt, mem,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// See [`SpaceConfig::on_evict`](crate::SpaceConfig::on_evict).
pub(crate) struct Listener {
    call: Box<dyn Fn(u64) + Send + Sync>,
    panics: AtomicU64,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("panics", &self.panics()).finish_non_exhaustive()
    }
}

/// Reports queued during a listener.
type Waiting = VecDeque<(Arc<Listener>, u64)>;

thread_local! {
    /// `None` outside of listeners.
    static WAITING: RefCell<Option<Waiting>> = const { RefCell::new(None) };
}

fn with_waiting<R>(f: impl FnOnce(&mut Option<Waiting>) -> R) -> Option<R> {
    WAITING.try_with(|waiting| f(&mut waiting.borrow_mut())).ok()
}

impl Listener {
    pub(crate) fn new(call: Box<dyn Fn(u64) + Send + Sync>) -> Arc<Self> {
        Arc::new(Self { call, panics: AtomicU64::new(0) })
    }

    // ORDERING of `panics`: Relaxed; statistics.

    pub(crate) fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// Reports a key now, or after the running listener. Call it unlocked.
    pub(crate) fn report(self: &Arc<Self>, key: u64) {
        // Without a queue the thread is ending: a thread-local destructor dropped the page.
        let waits = with_waiting(|waiting| match waiting {
            Some(waiting) => {
                waiting.push_back((Arc::clone(self), key));
                true
            }
            None => {
                *waiting = Some(Waiting::new());
                false
            }
        });
        if waits == Some(true) {
            return;
        }
        self.call(key);
        let next = || with_waiting(|waiting| waiting.as_mut()?.pop_front()).flatten();
        while let Some((listener, key)) = next() {
            listener.call(key);
        }
        with_waiting(|waiting| *waiting = None);
    }

    /// Panics must end neither the shrinker nor a put.
    fn call(&self, key: u64) {
        if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(|| (self.call)(key))) {
            // The payload's drop may panic; leak that second payload.
            let dropped = panic::catch_unwind(AssertUnwindSafe(|| drop(payload)));
            dropped.unwrap_or_else(mem::forget);
            self.panics.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(key, "a listener for evicted pages panicked");
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_report_from_inside_a_listener_waits_until_it_returns() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let itself: Arc<Mutex<Option<Arc<Listener>>>> = Arc::default();
        let listener = {
            let (seen, itself) = (Arc::clone(&seen), Arc::clone(&itself));
            Listener::new(Box::new(move |key| {
                seen.lock().expect("no panic").push(("begin", key));
                let itself = itself.lock().expect("no panic").clone().expect("set");
                if key < 10 {
                    itself.report(2 * key);
                    itself.report(2 * key + 1);
                }
                seen.lock().expect("no panic").push(("end", key));
            }))
        };
        *itself.lock().expect("no panic") = Some(Arc::clone(&listener));
        listener.report(5);
        let seen = seen.lock().expect("no panic");
        let expected = [5, 10, 11].map(|key| [("begin", key), ("end", key)]);
        assert_eq!(*seen, expected.concat());
    }

    #[test]
    fn a_listener_that_panics_is_counted_and_called_again() {
        let listener = Listener::new(Box::new(|key| assert!(key == 1, "told to")));
        for key in [0, 1, 2] {
            listener.report(key);
        }
        assert_eq!(listener.panics(), 2);
    }
}
