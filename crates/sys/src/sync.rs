//! Atomics, cells, locks and waiting: std's, or loom's in a model. All lock-free protocols use this module.

#[cfg(loom)]
pub use loom::{
    cell::{ConstPtr, MutPtr, UnsafeCell},
    hint::spin_loop,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
    thread::yield_now,
};
#[cfg(not(loom))]
pub use std::{
    hint::spin_loop,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
    thread::yield_now,
};

#[cfg(not(loom))]
pub use cell::{ConstPtr, MutPtr, UnsafeCell};
pub use shared::{RwLock, RwLockReadGuard};
pub use slots::{SlotArray, SlotGuard, default_slot_count};
pub use wait::{epoch, wait, wait_timeout, wake_all};

mod shared;
mod slots;

#[cfg(not(loom))]
mod cell {
    use std::cell;

    /// A cell whose accesses loom can watch.
    #[derive(Debug, Default)]
    #[repr(transparent)]
    pub struct UnsafeCell<T: ?Sized>(cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        /// A cell.
        pub const fn new(value: T) -> Self {
            Self(cell::UnsafeCell::new(value))
        }
    }

    impl<T: ?Sized> UnsafeCell<T> {
        /// A pointer to read through.
        #[inline]
        pub fn get(&self) -> ConstPtr<T> {
            ConstPtr(self.0.get())
        }

        /// A pointer to write through.
        #[inline]
        pub fn get_mut(&self) -> MutPtr<T> {
            MutPtr(self.0.get())
        }

        /// Calls `f` with a pointer to write through.
        #[inline]
        pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }

    /// A watched `*const T`.
    #[derive(Debug)]
    pub struct ConstPtr<T: ?Sized>(*const T);

    impl<T: ?Sized> ConstPtr<T> {
        /// The value.
        ///
        /// # Safety
        /// No thread writes to the cell while the reference lives.
        #[inline]
        pub unsafe fn deref(&self) -> &T {
            // SAFETY: the pointer comes from a live cell; the caller excludes writers.
            unsafe { &*self.0 }
        }
    }

    /// A watched `*mut T`.
    #[derive(Debug)]
    pub struct MutPtr<T: ?Sized>(*mut T);

    impl<T: ?Sized> MutPtr<T> {
        /// The value.
        ///
        /// # Safety
        /// No other thread reads or writes the cell while the reference lives.
        #[inline]
        #[expect(
            clippy::mut_from_ref,
            reason = "the signature of loom's own pointer, so that both are one to callers"
        )]
        pub unsafe fn deref(&self) -> &mut T {
            // SAFETY: the pointer comes from a live cell; the caller excludes all other threads.
            unsafe { &mut *self.0 }
        }
    }
}

/// A value on two cache lines of its own (processors fetch pairs), so that threads do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Padded<T>(pub T);

impl<T> std::ops::Deref for Padded<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

#[cfg(pagefold_tsan)]
mod spin;
#[cfg(pagefold_tsan)]
use spin as locks;
#[cfg(not(any(loom, pagefold_tsan)))]
use std::sync as locks;

/// A lock for leaf structures, never locked while foreign code runs.
///
/// `--cfg pagefold_tsan` uses a spin lock: ThreadSanitizer does not see synchronisation inside a prebuilt std.
#[derive(Debug, Default)]
pub struct Mutex<T> {
    #[cfg(not(loom))]
    inner: locks::Mutex<T>,
    #[cfg(loom)]
    inner: loom::sync::Mutex<T>,
}

/// The guard of a [`Mutex`].
#[cfg(not(loom))]
pub type MutexGuard<'a, T> = locks::MutexGuard<'a, T>;
/// The guard of a [`Mutex`].
#[cfg(loom)]
pub type MutexGuard<'a, T> = loom::sync::MutexGuard<'a, T>;

impl<T> Mutex<T> {
    /// An unlocked lock.
    pub fn new(value: T) -> Self {
        #[cfg(not(loom))]
        return Self { inner: locks::Mutex::new(value) };
        #[cfg(loom)]
        return Self { inner: loom::sync::Mutex::new(value) };
    }

    /// Waits for the lock.
    ///
    /// # Panics
    /// If a thread panicked while it had the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.inner.lock().expect("a thread panicked inside a leaf lock")
    }

    /// Locks if the lock is free.
    ///
    /// # Panics
    /// If a thread panicked while it had the lock.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.inner.try_lock() {
            Ok(guard) => Some(guard),
            Err(std::sync::TryLockError::WouldBlock) => None,
            Err(std::sync::TryLockError::Poisoned(_)) => {
                panic!("a thread panicked inside this lock")
            }
        }
    }
}

/// A number that spreads threads over shards, constant within a thread. Only a hint: two threads may share it.
#[cfg(not(loom))]
pub fn shard_hint() -> usize {
    use std::cell::Cell;

    static NEXT: AtomicUsize = AtomicUsize::new(0);
    // Const-initialised without Drop: the first use allocates and registers nothing.
    thread_local!(static HINT: Cell<usize> = const { Cell::new(usize::MAX) });

    HINT.with(|hint| {
        if hint.get() == usize::MAX {
            // ORDERING: Relaxed; only distinctness matters.
            hint.set(NEXT.fetch_add(1, Ordering::Relaxed) % (usize::MAX - 1));
        }
        hint.get()
    })
}

/// One shard, so that threads meet.
#[cfg(loom)]
pub fn shard_hint() -> usize {
    0
}

#[cfg(not(loom))]
mod wait {
    //! Waiting on a word that has no room for a futex: a fixed table of epochs, hashed by key.
    //!
    //! A waiter reads the [`epoch`], marks the word, checks that it must still wait, and calls [`wait`]. A waker
    //! changes the word and calls [`wake_all`], which advances the epoch; so no wakeup is lost. Words may share an
    //! epoch: expect spurious wakeups.

    use std::time::Duration;

    use super::{AtomicU32, Ordering};

    const EPOCHS: usize = 64;

    #[repr(align(64))]
    struct Epoch(AtomicU32);

    static TABLE: [Epoch; EPOCHS] = [const { Epoch(AtomicU32::new(0)) }; EPOCHS];

    fn slot(key: usize) -> &'static AtomicU32 {
        // Fibonacci hashing: the high bits are spread evenly.
        let hash = (key as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58;
        &TABLE[usize::try_from(hash).expect("six bits") % EPOCHS].0
    }

    /// The epoch of this key. Read it before the check.
    pub fn epoch(key: usize) -> u32 {
        // ORDERING: Acquire; pairs with the Release in `wake_all`, so that the check after it sees the waker's change.
        slot(key).load(Ordering::Acquire)
    }

    /// Sleeps until `wake_all` is called for this key after `epoch` was read. May return early.
    pub fn wait(key: usize, epoch: u32) {
        #[cfg(target_os = "linux")]
        {
            use rustix::thread::futex;
            // The caller checks again after any outcome.
            let _ = futex::wait(slot(key), futex::Flags::PRIVATE, epoch, None);
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = (key, epoch);
            std::thread::yield_now();
        }
    }

    /// As [`wait`], for at most `timeout`.
    pub fn wait_timeout(key: usize, epoch: u32, timeout: Duration) {
        #[cfg(target_os = "linux")]
        {
            use rustix::thread::futex;
            // A time that the system cannot express counts as none: the caller checks its clock.
            let timeout = futex::Timespec::try_from(timeout).ok();
            let _ = futex::wait(slot(key), futex::Flags::PRIVATE, epoch, timeout.as_ref());
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = timeout;
            wait(key, epoch);
        }
    }

    /// Wakes all threads that wait for this key.
    pub fn wake_all(key: usize) {
        // ORDERING: Release; pairs with the Acquire in `epoch`.
        slot(key).fetch_add(1, Ordering::Release);
        #[cfg(target_os = "linux")]
        {
            use rustix::thread::futex;
            let _ = futex::wake(slot(key), futex::Flags::PRIVATE, u32::MAX >> 1);
        }
    }

    #[cfg(test)]
    mod tests {
        use std::{
            sync::atomic::{AtomicBool, AtomicU32, Ordering},
            thread,
        };

        use super::*;

        #[test]
        fn no_wake_up_is_lost() {
            let turn = AtomicU32::new(0);
            let key = std::ptr::from_ref(&turn).addr();
            thread::scope(|scope| {
                for me in 0..2 {
                    let turn = &turn;
                    scope.spawn(move || {
                        for round in 0..2000 {
                            while turn.load(Ordering::SeqCst) != 2 * round + me {
                                let epoch = epoch(key);
                                if turn.load(Ordering::SeqCst) != 2 * round + me {
                                    wait(key, epoch);
                                }
                            }
                            turn.fetch_add(1, Ordering::SeqCst);
                            wake_all(key);
                        }
                    });
                }
            });
            assert_eq!(turn.into_inner(), 4000);
        }

        #[test]
        fn a_stale_epoch_does_not_sleep() {
            let word = AtomicBool::new(false);
            let key = std::ptr::from_ref(&word).addr();
            let epoch = epoch(key);
            wake_all(key);
            wait(key, epoch);
        }

        #[test]
        fn a_wait_with_a_timeout_ends_without_a_wake_up() {
            let word = AtomicBool::new(false);
            let key = std::ptr::from_ref(&word).addr();
            wait_timeout(key, epoch(key), Duration::from_millis(1));
        }
    }
}

#[cfg(loom)]
mod wait {
    //! In a model: runs another thread.

    /// As the real one.
    pub fn epoch(_key: usize) -> u32 {
        0
    }

    /// As the real one.
    pub fn wait(_key: usize, _epoch: u32) {
        loom::thread::yield_now();
    }

    /// As the real one.
    pub fn wait_timeout(key: usize, epoch: u32, _timeout: std::time::Duration) {
        wait(key, epoch);
    }

    /// As the real one.
    pub fn wake_all(_key: usize) {}
}
