//! A lock that threads get in the order of their requests.
//!
//! With std's mutex, a thread that compacts in a loop can keep all others out for minutes.

use std::{
    ops::{Deref, DerefMut},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

/// A thread that panics with it leaves it poisoned: half a change can make the next one loop for ever.
#[derive(Debug, Default)]
pub(super) struct FairMutex<T> {
    turns: Mutex<Turns>,
    changed: Condvar,
    value: Mutex<T>,
}

/// A thread takes the next ticket and waits its turn.
#[derive(Debug, Default)]
struct Turns {
    next: u64,
    served: u64,
}

#[derive(Debug)]
pub(super) struct FairGuard<'a, T> {
    lock: &'a FairMutex<T>,
    /// Dropped before the next thread's turn.
    value: Option<MutexGuard<'a, T>>,
}

impl<T> FairMutex<T> {
    pub(super) fn new(value: T) -> Self {
        Self { turns: Mutex::default(), changed: Condvar::new(), value: Mutex::new(value) }
    }

    /// # Panics
    /// After a thread panicked with the lock, unless this one is unwinding.
    pub(super) fn lock(&self) -> FairGuard<'_, T> {
        let mut turns = self.turns();
        let ticket = turns.next;
        turns.next += 1;
        while turns.served != ticket {
            turns = self.changed.wait(turns).unwrap_or_else(PoisonError::into_inner);
        }
        drop(turns);
        let (value, is_poisoned) = match self.value.lock() {
            Ok(value) => (value, false),
            Err(poisoned) => (poisoned.into_inner(), true),
        };
        let guard = FairGuard { lock: self, value: Some(value) };
        assert!(
            !is_poisoned || thread::panicking(),
            "another thread panicked while it changed the pool"
        );
        guard
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for FairGuard<'_, T> {
    fn drop(&mut self) {
        drop(self.value.take());
        let mut turns = self.lock.turns();
        turns.served += 1;
        if turns.next != turns.served {
            self.lock.changed.notify_all();
        }
    }
}

impl<T> Deref for FairGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("taken out by drop alone")
    }
}

impl<T> DerefMut for FairGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("taken out by drop alone")
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn after_a_panic_in_a_change_the_next_one_does_not_begin() {
        struct Unwinding<'a>(&'a FairMutex<u32>);
        impl Drop for Unwinding<'_> {
            fn drop(&mut self) {
                *self.0.lock() += 1;
            }
        }
        let lock = FairMutex::new(0);
        for rounds in 1..4 {
            let ended = catch_unwind(AssertUnwindSafe(|| {
                let _later = Unwinding(&lock);
                let _held = lock.lock();
                panic!("in a change");
            }));
            assert!(ended.is_err());
            let next = catch_unwind(AssertUnwindSafe(|| *lock.lock()));
            let payload = next.expect_err("half changed");
            let said = payload.downcast_ref::<&str>().expect("words");
            assert!(said.contains("another thread panicked"), "{said}");
            let turns = lock.turns();
            assert_eq!(turns.next, turns.served, "no turn is lost");
            drop(turns);
            let value = lock.value.lock().unwrap_or_else(PoisonError::into_inner);
            assert_eq!(*value, rounds, "what unwinds may lock");
        }
    }

    #[test]
    fn a_thread_that_locks_again_does_not_pass_one_that_waits() {
        let lock = FairMutex::new(0);
        thread::scope(|scope| {
            for turn in 1..=100 {
                let held = lock.lock();
                let waiter = scope.spawn(|| *lock.lock() += 1);
                let comes = || {
                    let turns = lock.turns();
                    turns.next == turns.served + 2
                };
                while !comes() {
                    thread::yield_now();
                }
                drop(held);
                assert_eq!(*lock.lock(), turn, "the waiter was passed");
                waiter.join().expect("no panic");
            }
        });
    }
}
