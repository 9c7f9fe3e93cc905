//! Spin locks in place of std's, for ThreadSanitizer. They are never poisoned.

use std::{
    cell::UnsafeCell,
    ops::{Deref, DerefMut},
    sync::{
        LockResult, TryLockError, TryLockResult,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

/// As `std::sync::Mutex`.
#[derive(Debug, Default)]
pub struct Mutex<T> {
    locked: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: only a guard reaches the value, and there is one at a time.
unsafe impl<T: Send> Sync for Mutex<T> {}

/// As `std::sync::MutexGuard`.
#[derive(Debug)]
pub struct MutexGuard<'a, T> {
    lock: &'a Mutex<T>,
}

impl<T> Mutex<T> {
    pub(super) fn new(value: T) -> Self {
        Self { locked: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    pub(super) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        loop {
            if let Ok(guard) = self.try_lock() {
                return Ok(guard);
            }
            thread::yield_now();
        }
    }

    pub(super) fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        // ORDERING: Acquire; pairs with the Release in the guard's `drop`.
        match self.locked.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => Ok(MutexGuard { lock: self }),
            Err(_) => Err(TryLockError::WouldBlock),
        }
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: while this guard lives no other exists.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: while this guard lives no other exists, and it is borrowed exclusively.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        // ORDERING: Release; pairs with the Acquire in `try_lock`.
        self.lock.locked.store(false, Ordering::Release);
    }
}

/// As `std::sync::RwLock`.
#[derive(Debug, Default)]
pub struct RwLock<T> {
    /// Readers, or [`WRITES`].
    state: AtomicUsize,
    value: UnsafeCell<T>,
}

const WRITES: usize = usize::MAX;

// SAFETY: readers share the value, and a writer has it alone.
unsafe impl<T: Send + Sync> Sync for RwLock<T> {}

/// As `std::sync::RwLockReadGuard`.
#[derive(Debug)]
pub struct RwLockReadGuard<'a, T> {
    lock: &'a RwLock<T>,
}

/// As `std::sync::RwLockWriteGuard`.
#[derive(Debug)]
pub struct RwLockWriteGuard<'a, T> {
    lock: &'a RwLock<T>,
}

impl<T> RwLock<T> {
    pub(super) fn new(value: T) -> Self {
        Self { state: AtomicUsize::new(0), value: UnsafeCell::new(value) }
    }

    pub(super) fn try_read(&self) -> TryLockResult<RwLockReadGuard<'_, T>> {
        let more = |readers: usize| (readers < WRITES - 1).then(|| readers + 1);
        // ORDERING: Acquire; pairs with the Release in the writer's `drop`.
        match self.state.fetch_update(Ordering::Acquire, Ordering::Relaxed, more) {
            Ok(_) => Ok(RwLockReadGuard { lock: self }),
            Err(_) => Err(TryLockError::WouldBlock),
        }
    }

    pub(super) fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        // ORDERING: Acquire; pairs with the Release in the `drop` of either guard.
        while self.state.compare_exchange(0, WRITES, Ordering::Acquire, Ordering::Relaxed).is_err()
        {
            thread::yield_now();
        }
        Ok(RwLockWriteGuard { lock: self })
    }

    pub(super) fn try_write(&self) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        // ORDERING: Acquire; pairs with the Release in the `drop` of either guard.
        match self.state.compare_exchange(0, WRITES, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => Ok(RwLockWriteGuard { lock: self }),
            Err(_) => Err(TryLockError::WouldBlock),
        }
    }
}

impl<T> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: while this guard lives there is no writer.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: while this guard lives no other exists.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: while this guard lives no other exists, and it is borrowed exclusively.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for RwLockReadGuard<'_, T> {
    fn drop(&mut self) {
        // ORDERING: Release; pairs with the Acquire in `write`.
        self.lock.state.fetch_sub(1, Ordering::Release);
    }
}

impl<T> Drop for RwLockWriteGuard<'_, T> {
    fn drop(&mut self) {
        // ORDERING: Release; pairs with the Acquire in `try_read` and `write`.
        self.lock.state.store(0, Ordering::Release);
    }
}
