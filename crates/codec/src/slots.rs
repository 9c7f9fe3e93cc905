//! A fixed array of values, each claimed by compare-and-swap, used by one claimant, and released on drop.
//!
//! # Model
//! A slot is *free* or *taken*. [`Slots::claim`] looks for a free slot, starting at a hint that differs between threads
//! so that they do not collide and each tends to find its own slot warm in cache; the [`Guard`] it gives back is
//! the only way to the value. A nested claim, for example from a signal handler, takes another slot.
//!
//! | from | by | to |
//! |---|---|---|
//! | free | [`claim`](Slots::claim), [`try_claim`](Slots::try_claim) | taken |
//! | taken | drop of the [`Guard`] | free |
//!
//! # Invariants
//! - A slot whose flag is set has exactly one [`Guard`]; a slot whose flag is clear has none.
//! - The array never grows, shrinks or moves; claiming allocates nothing and uses no thread-local. How many of its slots may
//!   be claimed can grow.
//!
//! # Neighbours
//! The codecs keep their contexts here. `tests/loom.rs` proves the mutual exclusion.

use std::sync::atomic::{AtomicBool as PlainBool, AtomicUsize};

use pagefold_sys::sync::{AtomicBool, Ordering, UnsafeCell, spin_loop, yield_now};

/// The passes over all slots, with twice the pause after each, before a waiting claim gives up its time slice. Six
/// passes are about as long as one decompression of a page.
const SPIN_PASSES: u32 = if cfg!(loom) { 1 } else { 6 };

/// As many slots as a codec wants: twice the processors, so that each has one more for a nested use, and at least 4.
pub fn default_count() -> usize {
    std::thread::available_parallelism().map_or(4, |processors| (2 * processors.get()).max(4))
}

/// A fixed array of values of which each is used by one claimant at a time.
///
/// # Concurrency
/// Shared by reference. A claim is one compare-and-swap where nobody collides.
///
/// # Examples
/// ```
/// use pagefold_codec::slots::Slots;
///
/// let counters = Slots::from_fn(2, |_| 0_u32);
/// let mut outer = counters.claim();
/// let mut inner = counters.claim();
/// outer.with(|counter| *counter += 1);
/// inner.with(|counter| *counter += 1);
/// assert!(counters.try_claim().is_none(), "both are taken");
/// ```
#[derive(Debug)]
pub struct Slots<T> {
    slots: Box<[Slot<T>]>,
    /// Slots from the first on that may be claimed. Only grows after the first claim.
    usable: AtomicUsize,
    /// Whether a claim found all of them taken since one was added.
    crowded: PlainBool,
}

/// 128 bytes apart, so that no two flags share a cache line or the line that is fetched beside it.
///
/// # Invariants
/// `taken` is set exactly while a [`Guard`] for this slot lives.
#[derive(Debug)]
#[repr(align(128))]
struct Slot<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached only through a `Guard`, and by the invariant of `Slot` there is at most one: threads
// take turns at the value as if it were sent from one to the next, for which `T: Send` is enough.
unsafe impl<T: Send> Sync for Slot<T> {}

impl<T> Slots<T> {
    /// Makes `count` slots with the values that `make` gives for the indices 0 to `count - 1`.
    ///
    /// # Panics
    /// If `count` is 0: nothing could ever be claimed.
    pub fn from_fn(count: usize, mut make: impl FnMut(usize) -> T) -> Self {
        let slots =
            Self::try_from_fn(count, |index| Ok::<T, std::convert::Infallible>(make(index)));
        match slots {
            Ok(slots) => slots,
        }
    }

    /// As [`from_fn`](Self::from_fn), for values whose making can fail.
    ///
    /// # Errors
    /// The first error of `make`; what was made before it is dropped.
    ///
    /// # Panics
    /// If `count` is 0: nothing could ever be claimed.
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

    // ORDERING of `usable` and `crowded`: Relaxed; all slots are made before they are shared, so a claim that sees an old
    // number has fewer to look at, and nothing else hangs on them.

    /// Slots that may be claimed now.
    pub fn usable(&self) -> usize {
        self.usable.load(Ordering::Relaxed)
    }

    /// Lets only the first `count` slots be claimed, at least one. For before the first claim: a slot that is taken stays
    /// taken.
    pub fn limit(&self, count: usize) {
        self.usable.store(count.clamp(1, self.slots.len()), Ordering::Relaxed);
    }

    /// Whether a claim found all usable slots taken, and there are more.
    pub fn is_crowded(&self) -> bool {
        self.crowded.load(Ordering::Relaxed) && self.usable() < self.slots.len()
    }

    /// Makes one slot more usable; whether there was one.
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

    /// The memory of the array itself in bytes, without what the values own elsewhere.
    pub fn array_bytes(&self) -> usize {
        size_of_val(&*self.slots)
    }

    /// Claims a free slot, waiting for one if all are taken: first spinning, then giving up the processor.
    ///
    /// # Concurrency
    /// Waits as long as all slots stay taken. Code that holds a guard and claims another relies on there being more
    /// slots than such holders.
    pub fn claim(&self) -> Guard<'_, T> {
        self.claim_from(thread_hint())
    }

    /// As [`claim`](Self::claim), looking first at the slot that `hint` (any number) stands for.
    pub fn claim_from(&self, hint: usize) -> Guard<'_, T> {
        let mut pass = 0;
        loop {
            if let Some(guard) = self.try_claim_from(hint) {
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

    /// Claims a free slot, or none if all are taken. Never waits.
    pub fn try_claim(&self) -> Option<Guard<'_, T>> {
        self.try_claim_from(thread_hint())
    }

    /// As [`try_claim`](Self::try_claim), looking first at the slot that `hint` (any number) stands for.
    pub fn try_claim_from(&self, hint: usize) -> Option<Guard<'_, T>> {
        let usable = &self.slots[..self.usable()];
        let (before, from) = usable.split_at(hint % usable.len());
        let claimed = from.iter().chain(before).find_map(Slot::try_claim);
        if claimed.is_none() && !self.crowded.load(Ordering::Relaxed) {
            self.crowded.store(true, Ordering::Relaxed);
        }
        claimed
    }
}

impl<T> Slot<T> {
    fn try_claim(&self) -> Option<Guard<'_, T>> {
        // ORDERING: Relaxed; only a look, so that a search past taken slots does not pull their lines away from their
        // owners. The exchange below decides.
        if self.taken.load(Ordering::Relaxed) {
            return None;
        }
        // ORDERING: Acquire; pairs with the Release store in `Guard::drop`, so the value is seen as the last owner
        // left it. Relaxed on failure: nothing of the slot is then looked at.
        self.taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).ok()?;
        // INVARIANT: the flag went from clear to set by this call and no other, so this is the slot's only guard.
        Some(Guard { slot: self })
    }
}

/// The exclusive use of one slot's value; the slot is released on drop.
#[derive(Debug)]
#[must_use = "the slot is released when the guard is dropped"]
pub struct Guard<'a, T> {
    slot: &'a Slot<T>,
}

impl<T> Guard<'_, T> {
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

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        // INVARIANT: the slot's only guard goes away here, and its flag is cleared.
        // ORDERING: Release; pairs with the Acquire exchange in `Slot::try_claim`.
        self.slot.taken.store(false, Ordering::Release);
    }
}

/// A number that is the same for most calls of one thread and differs between threads: where its stack lies.
///
/// The cheapest such thing that needs neither a thread-local nor a system call, and works in a signal handler. Stacks
/// are at least 64 KiB apart, and a multiplication by 2^64 over the golden ratio spreads their regular distances.
///
/// A model's is always 0: stacks lie elsewhere from run to run, and a model must be the same in each.
fn thread_hint() -> usize {
    if cfg!(loom) {
        return 0;
    }
    let marker = 0_u8;
    let stack = (&raw const marker).addr() as u64 >> 16;
    (stack.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) as usize
}

#[cfg(all(test, not(loom)))]
mod tests;
