//! A counting global allocator. Each thread's counters are `const`-initialised cells without `Drop`: using one
//! neither allocates nor registers a destructor.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    hint::black_box,
};

thread_local! {
    static ALLOCATED: Cell<u64> = const { Cell::new(0) };
    static FREED: Cell<u64> = const { Cell::new(0) };
}

/// The system allocator, counting calls per thread.
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

/// Calls of the global allocator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allocations {
    /// Blocks allocated; a reallocation counts as one.
    pub allocated: u64,
    /// Blocks freed.
    pub freed: u64,
}

impl Allocations {
    /// Counts this thread's calls in `f`, without the drop of its result.
    ///
    /// # Panics
    /// If [`CountingAllocator`] is not installed.
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

// SAFETY: every method passes its arguments unchanged to `System`, a correct allocator, and returns its result;
// counting touches only a thread-local cell and cannot allocate, unwind or re-enter.
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
