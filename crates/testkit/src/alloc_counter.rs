//! A global allocator that counts, to show that a path allocates nothing.
//!
//! Each thread has its counters, so concurrent tests do not disturb them. They are `const`-initialised cells without
//! `Drop`: touching one neither allocates nor registers a destructor, so the allocator may use them at any moment of a
//! thread's life. A test binary installs [`CountingAllocator`]; without it [`Allocations::of`] panics.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    hint::black_box,
};

thread_local! {
    static ALLOCATED: Cell<u64> = const { Cell::new(0) };
    static FREED: Cell<u64> = const { Cell::new(0) };
}

/// The system allocator, with every call counted in its thread.
///
/// ```
/// use pagefold_testkit::alloc_counter::{Allocations, CountingAllocator};
///
/// #[global_allocator]
/// static ALLOCATOR: CountingAllocator = CountingAllocator;
///
/// assert_eq!(Allocations::of(|| 1 + 1), Allocations { allocated: 0, freed: 0 });
/// assert_eq!(Allocations::of(|| vec![0; 10]).allocated, 1);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct CountingAllocator;

/// How often a piece of code called the global allocator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allocations {
    /// Blocks asked for; moving one to another size counts as one more.
    pub allocated: u64,
    /// Blocks given back.
    pub freed: u64,
}

impl Allocations {
    /// Counts the calls that `f` makes in this thread. Dropping what `f` returns is not counted.
    ///
    /// # Panics
    /// If [`CountingAllocator`] is not this program's global allocator.
    pub fn of<T>(f: impl FnOnce() -> T) -> Self {
        let before = Self::so_far();
        drop(black_box(Box::new(0_u64)));
        let start = Self::so_far();
        assert!(
            start.allocated > before.allocated,
            "CountingAllocator is not the #[global_allocator] of this program"
        );
        let result = f();
        let end = Self::so_far();
        drop(result);
        Self { allocated: end.allocated - start.allocated, freed: end.freed - start.freed }
    }

    fn so_far() -> Self {
        Self { allocated: ALLOCATED.get(), freed: FREED.get() }
    }
}

fn count(counter: &'static std::thread::LocalKey<Cell<u64>>) {
    counter.set(counter.get() + 1);
}

// SAFETY: every method passes its arguments unchanged to `System`, which is a correct allocator, and returns what it
// returned; counting touches only a thread-local cell and cannot allocate, unwind or re-enter.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(&ALLOCATED);
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc` (a layout of non-zero size).
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(&ALLOCATED);
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc_zeroed` (a layout of non-zero size).
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(&FREED);
        // SAFETY: `block` came from this allocator with `layout`, hence from `System` with the same layout.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(&ALLOCATED);
        // SAFETY: `block` came from `System` with `layout`, and the caller vouches for `new_size`.
        unsafe { System.realloc(block, layout, new_size) }
    }
}
