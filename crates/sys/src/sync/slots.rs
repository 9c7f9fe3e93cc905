//! A fixed array of values. A thread acquires a free slot by compare-and-swap, uses its value, and releases it.
//!
//! The search starts at the thread's [`shard_hint`](super::shard_hint), so threads seldom collide. A nested use, for
//! example in a signal handler, takes another slot. `tests/loom` proves the mutual exclusion.
//! The array never grows, shrinks or moves.

use std::sync::atomic::{AtomicBool as PlainBool, AtomicUsize};

use super::{AtomicBool, Ordering, UnsafeCell, shard_hint, spin_loop, yield_now};

/// Passes before `acquire` yields; each pause doubles. Six take about one decompression of a page.
const SPIN_PASSES: u32 = if cfg!(loom) { 1 } else { 6 };

/// The slots of a codec: twice the processors, for nested uses, and at least 4.
pub fn default_slot_count() -> usize {
    std::thread::available_parallelism().map_or(4, |processors| (2 * processors.get()).max(4))
}

/// A fixed array of values, each used by one thread at a time.
///
/// # Concurrency
/// Shared by reference. Without collisions, acquiring is one compare-and-swap.
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
    slots: Box<[ArraySlot<T>]>,
    /// The number of slots, from the first, that may be acquired.
    usable: AtomicUsize,
    /// Whether a search found all usable slots taken since one was added.
    crowded: PlainBool,
}

/// 128 bytes apart, so that flags share no pair of cache lines.
///
/// # Invariants
/// `taken` is set exactly while a [`SlotGuard`] for this slot lives.
#[derive(Debug)]
#[repr(align(128))]
struct ArraySlot<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: only a `SlotGuard` reaches the value, and by the invariant of `ArraySlot` there is at most one. So threads take
// turns at the value as if it were sent, for which `T: Send` is enough.
unsafe impl<T: Send> Sync for ArraySlot<T> {}

impl<T> SlotArray<T> {
    /// Makes `count` slots; `make` gives the values.
    ///
    /// # Panics
    /// If `count` is 0.
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
    /// The first error of `make`.
    ///
    /// # Panics
    /// If `count` is 0.
    pub fn try_from_fn<E>(
        count: usize,
        mut make: impl FnMut(usize) -> Result<T, E>,
    ) -> Result<Self, E> {
        assert!(count > 0, "an array of slots has at least one");
        let slots = (0..count).map(|index| {
            // INVARIANT: a new slot has no guard and a clear flag.
            Ok(ArraySlot { taken: AtomicBool::new(false), value: UnsafeCell::new(make(index)?) })
        });
        let slots: Box<[ArraySlot<T>]> = slots.collect::<Result<_, E>>()?;
        let usable = AtomicUsize::new(slots.len());
        Ok(Self { slots, usable, crowded: PlainBool::new(false) })
    }

    // ORDERING of `usable` and `crowded`: Relaxed; slots are made before they are shared, so a search that reads an old
    // number only sees fewer slots.

    /// Slots that may be acquired.
    pub fn usable(&self) -> usize {
        self.usable.load(Ordering::Relaxed)
    }

    /// Makes only the first `count` slots (at least one) usable. Call it before the first use: a taken slot stays
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

    /// The memory of the array, without what the values own elsewhere.
    pub fn array_bytes(&self) -> usize {
        size_of_val(&*self.slots)
    }

    /// Acquires a free slot. While all are taken it spins, then yields.
    ///
    /// # Concurrency
    /// Waits while all slots stay taken. If threads acquire a second slot while they have one, the array needs more
    /// slots than such threads.
    pub fn acquire(&self) -> SlotGuard<'_, T> {
        self.acquire_from(shard_hint())
    }

    /// As [`acquire`](Self::acquire), starting at slot `hint` (any number).
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

    /// Acquires a free slot; `None` if all are taken. Never waits.
    pub fn try_acquire(&self) -> Option<SlotGuard<'_, T>> {
        self.try_acquire_from(shard_hint())
    }

    /// As [`try_acquire`](Self::try_acquire), starting at slot `hint` (any number).
    pub fn try_acquire_from(&self, hint: usize) -> Option<SlotGuard<'_, T>> {
        let usable = &self.slots[..self.usable()];
        let (before, from) = usable.split_at(hint % usable.len());
        let acquired = from.iter().chain(before).find_map(ArraySlot::try_acquire);
        if acquired.is_none() && !self.crowded.load(Ordering::Relaxed) {
            self.crowded.store(true, Ordering::Relaxed);
        }
        acquired
    }

    /// Calls `f` with the value of each usable slot that is free, one after the other. Never waits.
    pub fn visit_free(&self, mut f: impl FnMut(&mut T)) {
        let free = self.slots[..self.usable()].iter().filter_map(ArraySlot::try_acquire);
        free.for_each(|mut slot| slot.with(&mut f));
    }
}

impl<T> ArraySlot<T> {
    fn try_acquire(&self) -> Option<SlotGuard<'_, T>> {
        // ORDERING: Relaxed; a look that leaves the lines of taken slots to their owners. The exchange below decides.
        if self.taken.load(Ordering::Relaxed) {
            return None;
        }
        // ORDERING: Acquire; pairs with the Release store in `SlotGuard::drop`, so the value is seen as the last owner
        // left it. Relaxed on failure: the slot is not used.
        self.taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).ok()?;
        // INVARIANT: this call alone set the flag, so this is the slot's only guard.
        Some(SlotGuard { slot: self })
    }
}

/// Exclusive use of one slot's value; dropping it releases the slot.
#[derive(Debug)]
#[must_use = "the slot is released when the guard is dropped"]
pub struct SlotGuard<'a, T> {
    slot: &'a ArraySlot<T>,
}

impl<T> SlotGuard<'_, T> {
    /// Calls `f` with the value.
    pub fn with<R>(&mut self, f: impl FnOnce(&mut T) -> R) -> R {
        self.slot.value.with_mut(|value| {
            // SAFETY: the pointer comes from the cell, so it is valid while `self` borrows the slot. By the invariant
            // of `ArraySlot` this guard is the only one, and `&mut self` makes this call its only use, so no other reference
            // to the value exists while `f` runs.
            f(unsafe { &mut *value })
        })
    }
}

impl<T> Drop for SlotGuard<'_, T> {
    fn drop(&mut self) {
        // INVARIANT: the slot's only guard ends here and clears the flag.
        // ORDERING: Release; pairs with the Acquire exchange in `ArraySlot::try_acquire`.
        self.slot.taken.store(false, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
