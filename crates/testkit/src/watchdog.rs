//! Turns a deadlock into a failed test.

use std::{
    panic,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

/// Runs `f` in its own thread and returns its result. `allowed` should be far longer than `f` needs.
///
/// # Panics
/// With `f`'s own panic, or with `what` after the time; the stuck thread stays.
///
/// # Examples
/// ```
/// use pagefold_testkit::watchdog;
/// use std::time::Duration;
///
/// assert_eq!(watchdog::within(Duration::from_secs(60), "an addition", || 1 + 1), 2);
/// ```
pub fn within<T: Send + 'static>(
    allowed: Duration,
    what: &str,
    f: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (done, finished) = mpsc::channel::<()>();
    let worker = thread::spawn(move || {
        // Its drop, also on unwinding, wakes the waiter.
        let _done = done;
        f()
    });
    match finished.recv_timeout(allowed) {
        Err(RecvTimeoutError::Timeout) => panic!("{what}: not done after {allowed:?}; a deadlock?"),
        Err(RecvTimeoutError::Disconnected) | Ok(()) => match worker.join() {
            Ok(value) => value,
            Err(payload) => panic::resume_unwind(payload),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex};

    use super::*;

    #[test]
    #[should_panic(expected = "waiting for a lock: not done")]
    fn a_thread_that_waits_for_ever_is_a_failure() {
        within(Duration::from_millis(20), "waiting for a lock", || {
            let lock = Mutex::new(());
            let guard = lock.lock().expect("no other thread uses it");
            let never = Condvar::new();
            drop(never.wait_while(guard, |()| true));
        });
    }

    #[test]
    #[should_panic(expected = "its own words")]
    fn a_panic_is_passed_on() {
        within(Duration::from_secs(60), "panicking", || panic!("its own words"));
    }
}
