//! A fixed array of values. A thread acquires a free slot by compare-and-swap, uses its value, and releases it.
//!
//! # Model
//! A slot is *free* or *taken*. [`SlotArray::acquire`] searches from the thread's [`shard_hint`](super::shard_hint), so
//! that threads seldom collide and tend to find their own slot warm in cache. Only the [`SlotGuard`] gives access to
//! the value. A nested use, for example in a signal handler, takes another slot.
//!
//! | from | by | to |
//! |---|---|---|
//! | free | [`acquire`](SlotArray::acquire), [`try_acquire`](SlotArray::try_acquire) | taken |
//! | taken | drop of the [`SlotGuard`] | free |
//!
//! # Invariants
//! - A taken slot has exactly one [`SlotGuard`]; a free slot has none.
//! - The array never grows, shrinks or moves, and acquiring allocates nothing. The number of usable slots can grow.
//!
//! # Neighbours
//! Codecs keep contexts here, and a store its buffers. `tests/loom` proves the mutual exclusion.

use std::sync::atomic::{AtomicBool as PlainBool, AtomicUsize};

use super::{AtomicBool, Ordering, UnsafeCell, shard_hint, spin_loop, yield_now};

/// Passes over all slots before `acquire` yields its time slice; each pause is twice the last. Six passes take about as
/// long as one decompression of a page.
const SPIN_PASSES: u32 = if cfg!(loom) { 1 } else { 6 };

/// The number of slots for a codec: twice the processors, so that each has one more for a nested use, and at least 4.
pub fn default_slot_count() -> usize {
    std::thread::available_parallelism().map_or(4, |processors| (2 * processors.get()).max(4))
}

/// A fixed array of values, each used by one thread at a time.
///
/// # Concurrency
/// Shared by reference. Acquiring a slot is one compare-and-swap where threads do not collide.
///
/// # Examples
/// ```
/// use pagefold_sys::sync::SlotArray;
///
/// let counters = SlotArray::from_fn(2, |_| 0_u32);
/// let mut outer = counters.acquire();
/// let mut inner = counters.acquire();
/// outer.with(|counter| *counter += 1);
/// inner.with(|counter| *counter += 1);
/// assert!(counters.try_acquire().is_none(), "both are taken");
/// ```
#[derive(Debug)]
pub struct SlotArray<T> {
    slots: Box<[Slot<T>]>,
    /// The first slots, which may be acquired. Only grows after the first use.
    usable: AtomicUsize,
    /// Whether a search found all usable slots taken since one was added.
    crowded: PlainBool,
}

/// 128 bytes apart, so that no two flags share a cache line or a prefetched pair of lines.
///
/// # Invariants
/// `taken` is set exactly while a [`SlotGuard`] for this slot lives.
#[derive(Debug)]
#[repr(align(128))]
struct Slot<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached only through a `SlotGuard`, and by the invariant of `Slot` there is at most one: threads
// take turns at the value as if it were sent from one to the next, for which `T: Send` is enough.
unsafe impl<T: Send> Sync for Slot<T> {}

impl<T> SlotArray<T> {
    /// Makes `count` slots; `make` gives the values for the indices 0 to `count - 1`.
    ///
    /// # Panics
    /// If `count` is 0: no slot could ever be acquired.
    pub fn from_fn(count: usize, mut make: impl FnMut(usize) -> T) -> Self {
        let slots =
            Self::try_from_fn(count, |index| Ok::<T, std::convert::Infallible>(make(index)));
        match slots {
            Ok(slots) => slots,
        }
    }

    /// As [`from_fn`](Self::from_fn), for a `make` that can fail.
    ///
    /// # Errors
    /// The first error of `make`; values made before it are dropped.
    ///
    /// # Panics
    /// If `count` is 0: no slot could ever be acquired.
    pub fn try_from_fn<E>(
        count: usize,
        mut make: impl FnMut(usize) -> Result<T, E>,
    ) -> Result<Self, E> {
        assert!(count > 0, "an array of slots has at least one");
        let slots = (0..count).map(|index| {
            // INVARIANT: a new slot has no guard and its flag is clear.
            Ok(Slot { taken: AtomicBool::new(false), value: UnsafeCell::new(make(index)?) })
        });
        let slots: Box<[Slot<T>]> = slots.collect::<Result<_, E>>()?;
        let usable = AtomicUsize::new(slots.len());
        Ok(Self { slots, usable, crowded: PlainBool::new(false) })
    }

    // ORDERING of `usable` and `crowded`: Relaxed; all slots are made before they are shared, so a search that sees an
    // old number looks at fewer slots. No other memory depends on them.

    /// Slots that may be acquired now.
    pub fn usable(&self) -> usize {
        self.usable.load(Ordering::Relaxed)
    }

    /// Lets only the first `count` slots be acquired, at least one. Call it before the first use: a taken slot stays
    /// taken.
    pub fn limit(&self, count: usize) {
        self.usable.store(count.clamp(1, self.slots.len()), Ordering::Relaxed);
    }

    /// Whether a search found all usable slots taken, and the array has more.
    pub fn is_crowded(&self) -> bool {
        self.crowded.load(Ordering::Relaxed) && self.usable() < self.slots.len()
    }

    /// Makes one more slot usable. `false` if all are.
    pub fn add(&self) -> bool {
        self.crowded.store(false, Ordering::Relaxed);
        let more = |usable: usize| (usable < self.slots.len()).then_some(usable + 1);
        self.usable.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// The number of slots.
    #[expect(clippy::len_without_is_empty, reason = "there is always at least one")]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// The memory of the array itself in bytes, without memory that the values own elsewhere.
    pub fn array_bytes(&self) -> usize {
        size_of_val(&*self.slots)
    }

    /// Acquires a free slot. While all are taken it spins, then yields.
    ///
    /// # Concurrency
    /// Waits as long as all slots stay taken. Code that acquires a second slot while it has one needs more slots than
    /// such users.
    pub fn acquire(&self) -> SlotGuard<'_, T> {
        self.acquire_from(shard_hint())
    }

    /// As [`acquire`](Self::acquire), starting at the slot of `hint` (any number).
    pub fn acquire_from(&self, hint: usize) -> SlotGuard<'_, T> {
        let mut pass = 0;
        loop {
            if let Some(guard) = self.try_acquire_from(hint) {
                return guard;
            }
            if pass < SPIN_PASSES {
                (0..1_u32 << pass).for_each(|_| spin_loop());
                pass += 1;
            } else {
                yield_now();
            }
        }
    }

    /// Acquires a free slot, or `None` when all are taken. Never waits.
    pub fn try_acquire(&self) -> Option<SlotGuard<'_, T>> {
        self.try_acquire_from(shard_hint())
    }

    /// As [`try_acquire`](Self::try_acquire), starting at the slot of `hint` (any number).
    pub fn try_acquire_from(&self, hint: usize) -> Option<SlotGuard<'_, T>> {
        let usable = &self.slots[..self.usable()];
        let (before, from) = usable.split_at(hint % usable.len());
        let acquired = from.iter().chain(before).find_map(Slot::try_acquire);
        if acquired.is_none() && !self.crowded.load(Ordering::Relaxed) {
            self.crowded.store(true, Ordering::Relaxed);
        }
        acquired
    }
}

impl<T> Slot<T> {
    fn try_acquire(&self) -> Option<SlotGuard<'_, T>> {
        // ORDERING: Relaxed; only a look, so that a search past taken slots does not pull their lines away from their
        // owners. The exchange below decides.
        if self.taken.load(Ordering::Relaxed) {
            return None;
        }
        // ORDERING: Acquire; pairs with the Release store in `SlotGuard::drop`, so the value is seen as the last owner
        // left it. Relaxed on failure: nothing of the slot is then looked at.
        self.taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).ok()?;
        // INVARIANT: the flag went from clear to set by this call and no other, so this is the slot's only guard.
        Some(SlotGuard { slot: self })
    }
}

/// Exclusive use of one slot's value; dropping it releases the slot.
#[derive(Debug)]
#[must_use = "the slot is released when the guard is dropped"]
pub struct SlotGuard<'a, T> {
    slot: &'a Slot<T>,
}

impl<T> SlotGuard<'_, T> {
    /// Calls `f` with the value.
    pub fn with<R>(&mut self, f: impl FnOnce(&mut T) -> R) -> R {
        self.slot.value.with_mut(|value| {
            // SAFETY: the pointer comes from the cell, so it is valid and aligned for as long as the slot, which
            // `self` borrows. By the invariant of `Slot` this guard is the only one, and `&mut self` makes this call
            // the only one on it, so no other reference to the value exists while `f` runs.
            f(unsafe { &mut *value })
        })
    }
}

impl<T> Drop for SlotGuard<'_, T> {
    fn drop(&mut self) {
        // INVARIANT: the slot's only guard goes away here, and its flag is cleared.
        // ORDERING: Release; pairs with the Acquire exchange in `Slot::try_acquire`.
        self.slot.taken.store(false, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
