//! [`RegionAllocator`]: containers in a region.
//!
//! Where blocks lie is kept outside of the region, so that allocating and freeing touch no cold page. A free range is in two
//! ordered sets: by start, to join neighbours, and by length, to find the shortest that is enough.

use std::{
    alloc::Layout,
    collections::{BTreeMap, BTreeSet},
    ptr::NonNull,
    sync::{Arc, Mutex, PoisonError},
};

use allocator_api2::alloc::{AllocError, Allocator};
use pagefold_store::PAGE_BYTES;
use thiserror::Error;

use crate::region::Region;

/// Blocks begin at multiples of this, or of what they ask for.
const ALIGN: usize = 16;

/// A region has no room for a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{free} bytes of the region are free; the longest range has {longest}")]
#[non_exhaustive]
pub struct RegionFull {
    /// Free bytes.
    pub free: usize,
    /// The longest free range.
    pub longest: usize,
}

/// Allocates blocks of a region, for containers that take an allocator (`allocator-api2`). Clones share the region, which lives as long
/// as one of them.
///
/// # Concurrency
/// One lock for all clones. Not for signal handlers.
///
/// # Examples
/// ```
/// use allocator_api2::vec::Vec;
/// use pagefold_region::{Region, RegionAllocator};
///
/// let region = Region::builder(64 << 20).resident_limit(4 << 20).build()?;
/// let allocator = RegionAllocator::new(region);
/// let mut numbers = Vec::new_in(allocator.clone());
/// numbers.extend(0..1_000_000_u64);
/// assert_eq!(numbers.iter().sum::<u64>(), 999_999 * 500_000);
/// # Ok::<(), pagefold_region::BuildRegionError>(())
/// ```
#[derive(Debug, Clone)]
pub struct RegionAllocator {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    region: Region,
    free: Mutex<Free>,
}

/// # Invariants
/// Both have the same ranges, which do not touch each other.
#[derive(Debug, Default)]
struct Free {
    by_start: BTreeMap<usize, usize>,
    by_len: BTreeSet<(usize, usize)>,
}

impl Free {
    fn insert(&mut self, start: usize, len: usize) {
        self.by_start.insert(start, len);
        self.by_len.insert((len, start));
    }

    fn remove(&mut self, start: usize, len: usize) {
        self.by_start.remove(&start);
        self.by_len.remove(&(len, start));
    }

    fn take(&mut self, len: usize, align: usize) -> Option<usize> {
        let slack = |start: usize| start.next_multiple_of(align) - start;
        let fits = |&&(free, start): &&(usize, usize)| free - len >= slack(start);
        let &(free, start) = self.by_len.range((len, 0)..).find(fits)?;
        self.remove(start, free);
        let before = slack(start);
        if before > 0 {
            self.insert(start, before);
        }
        let after = free - before - len;
        if after > 0 {
            self.insert(start + before + len, after);
        }
        Some(start + before)
    }

    /// Takes the free neighbours out; the range that they make with this one.
    fn join(&mut self, mut start: usize, mut len: usize) -> (usize, usize) {
        if let Some((&before, &free)) = self.by_start.range(..start).next_back()
            && before + free == start
        {
            self.remove(before, free);
            (start, len) = (before, len + free);
        }
        if let Some(&free) = self.by_start.get(&(start + len)) {
            self.remove(start + len, free);
            len += free;
        }
        (start, len)
    }
}

impl RegionAllocator {
    /// Allocates all of a region.
    pub fn new(region: Region) -> Self {
        let mut free = Free::default();
        free.insert(0, region.len() / ALIGN * ALIGN);
        Self { shared: Arc::new(Shared { region, free: Mutex::new(free) }) }
    }

    /// The region, for its accounts.
    pub fn region(&self) -> &Region {
        &self.shared.region
    }

    /// What is free.
    pub fn room(&self) -> RegionFull {
        let free = self.shared.free.lock().unwrap_or_else(PoisonError::into_inner);
        let longest = free.by_len.last().map_or(0, |&(len, _)| len);
        RegionFull { free: free.by_start.values().sum(), longest }
    }

    fn block_len(layout: Layout) -> Option<usize> {
        layout.size().max(1).checked_next_multiple_of(ALIGN)
    }
}

// SAFETY: a block lies in the region, at a multiple of its alignment, and overlaps no other: `Free` gives each range once. Clones share the
// region, so blocks stay valid as long as one lives, and moving an allocator moves no block.
unsafe impl Allocator for RegionAllocator {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        // The region begins at a page.
        if layout.align() > PAGE_BYTES {
            return Err(AllocError);
        }
        let len = Self::block_len(layout).ok_or(AllocError)?;
        let mut free = self.shared.free.lock().unwrap_or_else(PoisonError::into_inner);
        let start = free.take(len, layout.align().max(ALIGN)).ok_or(AllocError)?;
        // SAFETY: within the region.
        let block = unsafe { self.shared.region.base().add(start) };
        Ok(NonNull::slice_from_raw_parts(block, layout.size()))
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        let start = block.addr().get() - self.shared.region.base().addr().get();
        let len = Self::block_len(layout).expect("it was allocated with this layout");
        let mut free = self.shared.free.lock().unwrap_or_else(PoisonError::into_inner);
        let (joined, joined_len) = free.join(start, len);
        // Those that this block was the last of. Before others can have them: nothing relies on the content of a freed block.
        let first = joined.div_ceil(PAGE_BYTES).max(start / PAGE_BYTES);
        let end = ((joined + joined_len) / PAGE_BYTES).min((start + len).div_ceil(PAGE_BYTES));
        if first < end {
            self.shared.region.discard_pages(first..end);
        }
        free.insert(joined, joined_len);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_split_and_joined() {
        let mut free = Free::default();
        free.insert(0, 1024);
        assert_eq!(free.take(100, 16), Some(0));
        assert_eq!(free.take(64, 256), Some(256), "aligned");
        assert_eq!(free.take(900, 16), None);
        free = Free::default();
        free.insert(0, 1024);
        let blocks = [0; 4].map(|_| free.take(256, 16).expect("room"));
        assert_eq!(blocks, [0, 256, 512, 768]);
        let mut give = |start, len| {
            let (start, len) = free.join(start, len);
            free.insert(start, len);
            (start, len)
        };
        assert_eq!(give(256, 256), (256, 256));
        assert_eq!(give(768, 256), (768, 256));
        assert_eq!(give(512, 256), (256, 768), "joined with both");
        assert_eq!(give(0, 256), (0, 1024));
    }
}
