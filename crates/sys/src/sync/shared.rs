//! A lock that readers share and never wait for.

#[cfg(pagefold_tsan)]
use super::spin as locks;
#[cfg(loom)]
use loom::sync as locks;
#[cfg(not(any(loom, pagefold_tsan)))]
use std::sync as locks;

/// A value that is read often and without waiting, and replaced seldom.
///
/// # Concurrency
/// [`try_read`](Self::try_read) and the drop of its guard are async-signal-safe.
#[derive(Debug)]
pub struct RwLock<T> {
    inner: locks::RwLock<T>,
}

/// The guard of a reader of an [`RwLock`].
pub type RwLockReadGuard<'a, T> = locks::RwLockReadGuard<'a, T>;

impl<T> RwLock<T> {
    /// An unlocked lock.
    pub fn new(value: T) -> Self {
        Self { inner: locks::RwLock::new(value) }
    }

    /// Locks for reading, beside other readers. `None` while a thread writes or waits to write.
    ///
    /// # Panics
    /// If a thread panicked while it wrote.
    pub fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
        match self.inner.try_read() {
            Ok(guard) => Some(guard),
            Err(std::sync::TryLockError::WouldBlock) => None,
            Err(std::sync::TryLockError::Poisoned(_)) => {
                panic!("a thread panicked inside this lock")
            }
        }
    }

    /// Changes the value if no thread reads or writes it; `None` otherwise. Never waits.
    ///
    /// # Panics
    /// When `f` does, or another thread's did.
    pub fn try_change<R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        match self.inner.try_write() {
            Ok(mut guard) => Some(f(&mut guard)),
            Err(std::sync::TryLockError::WouldBlock) => None,
            Err(std::sync::TryLockError::Poisoned(_)) => {
                panic!("a thread panicked inside this lock")
            }
        }
    }

    /// Replaces the value; returns the old one. Waits for readers.
    ///
    /// # Panics
    /// If a thread panicked while it wrote.
    pub fn replace(&self, value: T) -> T {
        let mut guard = self.inner.write().expect("a thread panicked inside a leaf lock");
        std::mem::replace(&mut *guard, value)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn readers_share_it_and_a_writer_waits_for_them() {
        let lock = RwLock::new(1);
        let (one, two) = (lock.try_read().expect("free"), lock.try_read().expect("shared"));
        assert_eq!((*one, *two), (1, 1));
        assert_eq!(lock.try_change(|value| *value = 3), None, "it is read");
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| lock.replace(2));
            drop((one, two));
            assert_eq!(writer.join().expect("no panic"), 1);
        });
        assert_eq!(lock.try_read().as_deref(), Some(&2));
        assert_eq!(lock.try_change(|value| std::mem::replace(value, 3)), Some(2));
        assert_eq!(lock.try_read().as_deref(), Some(&3));
    }
}
