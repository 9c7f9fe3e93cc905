//! Decoded base pages in memory: all of a base, or those read of late.
//!
//! The tags beside the slots are hints: a reader looks at the number that lies with the bytes, under their lock. Nothing
//! here waits.

use pagefold_sys::sync::{AtomicU64, Ordering, RwLock};

use crate::page::{PAGE_BYTES, Page};

/// Slots of a set.
const WAYS: usize = if cfg!(loom) { 1 } else { 4 };
const EMPTY: u64 = u64::MAX;
/// In a tag: the page was read since the set was last looked at for room.
const READ: u64 = 1 << 63;

pub(crate) enum Resident {
    /// Sets of [`WAYS`] slots.
    Some(Cache),
    /// All but the holes.
    All(Locked),
}

pub(crate) struct Cache {
    tags: Box<[AtomicU64]>,
    slots: Box<[RwLock<Slot>]>,
}

struct Slot {
    /// Or [`EMPTY`].
    page: u64,
    bytes: Box<Page>,
}

pub(crate) struct Locked {
    /// For each base page where it lies in `bytes`, in pages; of holes anything.
    at: Box<[u32]>,
    bytes: Vec<u8>,
}

impl Resident {
    /// With room for so many pages.
    pub(crate) fn cache(pages: usize) -> Self {
        let slots = pages / WAYS * WAYS;
        let slot = || RwLock::new(Slot { page: EMPTY, bytes: Box::new([0; PAGE_BYTES]) });
        Self::Some(Cache {
            tags: (0..slots).map(|_| AtomicU64::new(EMPTY)).collect(),
            slots: (0..slots).map(|_| slot()).collect(),
        })
    }

    pub(crate) fn cache_bytes(pages: usize) -> usize {
        pages / WAYS * WAYS * (size_of::<AtomicU64>() + size_of::<RwLock<Slot>>() + PAGE_BYTES)
    }

    pub(crate) fn locked_bytes(pages: usize, holes: usize) -> usize {
        pages * size_of::<u32>() + (pages - holes) * PAGE_BYTES
    }

    /// Whether it has the page, which it then copies.
    #[inline]
    pub(crate) fn copy(&self, page: u64, into: &mut Page) -> bool {
        match self {
            Self::Some(cache) => cache.copy(page, into),
            Self::All(locked) => locked.copy(page, into),
        }
    }

    /// Keeps a copy, if the page's set has a slot that no thread uses.
    pub(crate) fn keep(&self, page: u64, bytes: &Page) {
        if let Self::Some(cache) = self {
            cache.keep(page, bytes);
        }
    }

    /// The pages in it.
    pub(crate) fn pages(&self) -> u64 {
        match self {
            // ORDERING: Relaxed; a statistic.
            Self::Some(cache) => {
                cache.tags.iter().filter(|tag| tag.load(Ordering::Relaxed) != EMPTY).count() as u64
            }
            Self::All(locked) => (locked.bytes.len() / PAGE_BYTES) as u64,
        }
    }

    pub(crate) fn is_locked(&self) -> bool {
        matches!(self, Self::All(_))
    }
}

// ORDERING of tags: Relaxed; hints. What they say is looked at again under the lock of the slot.
impl Cache {
    fn set(&self, page: u64) -> std::ops::Range<usize> {
        let sets = (self.slots.len() / WAYS) as u64;
        // Neighbours lie in different sets.
        let first = usize::try_from(page % sets.max(1)).unwrap_or(0) * WAYS;
        first..(first + WAYS).min(self.slots.len())
    }

    fn copy(&self, page: u64, into: &mut Page) -> bool {
        for at in self.set(page) {
            let tag = self.tags[at].load(Ordering::Relaxed);
            if tag == EMPTY || tag & !READ != page {
                continue;
            }
            let Some(slot) = self.slots[at].try_read() else { return false };
            if slot.page != page {
                return false;
            }
            into.copy_from_slice(&slot.bytes[..]);
            if tag & READ == 0 {
                // A slot that was filled anew meanwhile keeps its tag.
                _ = self.tags[at].compare_exchange(
                    tag,
                    tag | READ,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
            }
            return true;
        }
        false
    }

    fn keep(&self, page: u64, bytes: &Page) {
        let Some(at) = self.victim(page) else { return };
        _ = self.slots[at].try_change(|slot| {
            slot.page = page;
            slot.bytes.copy_from_slice(bytes);
            self.tags[at].store(page, Ordering::Relaxed);
        });
    }

    /// A slot of the set that was not read since the last look; `None` if the page is there already.
    fn victim(&self, page: u64) -> Option<usize> {
        let set = self.set(page);
        let mut victim = None;
        for at in set.clone() {
            let tag = self.tags[at].load(Ordering::Relaxed);
            if tag == EMPTY {
                victim = victim.or(Some(at));
            } else if tag & !READ == page {
                return None;
            }
        }
        victim.or_else(|| {
            let len = set.len();
            // Not always the same one first.
            let start = usize::try_from(page / 7 % len.max(1) as u64).unwrap_or(0);
            let in_turn = (0..2 * len).map(|step| set.start + (start + step) % len);
            in_turn.into_iter().find(|&at| {
                let tag = self.tags[at].fetch_and(!READ, Ordering::Relaxed);
                tag == EMPTY || tag & READ == 0
            })
        })
    }
}

impl Locked {
    pub(crate) fn new(pages: usize) -> Self {
        Self { at: vec![0; pages].into(), bytes: Vec::new() }
    }

    pub(crate) fn push(&mut self, page: usize, bytes: &Page) {
        self.at[page] = u32::try_from(self.bytes.len() / PAGE_BYTES).expect("at most 16 TiB");
        self.bytes.extend_from_slice(bytes);
    }

    fn copy(&self, page: u64, into: &mut Page) -> bool {
        let at = usize::try_from(page).ok().and_then(|page| self.at.get(page));
        let bytes = at.and_then(|&at| self.bytes.chunks_exact(PAGE_BYTES).nth(at as usize));
        bytes.is_some_and(|bytes| {
            into.copy_from_slice(bytes);
            true
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn page(number: u64) -> Page {
        std::array::from_fn(|at| (number * 31 + at as u64).to_le_bytes()[0])
    }

    #[test]
    fn what_is_kept_is_copied_and_what_is_read_stays_longer() {
        let resident = Resident::cache(2 * WAYS + 1);
        let mut into = [0; PAGE_BYTES];
        assert!(!resident.copy(7, &mut into));
        let sets = 2;
        for number in 0..WAYS as u64 {
            resident.keep(number * sets, &page(number * sets));
        }
        assert_eq!(resident.pages(), WAYS as u64);
        assert!(resident.copy(0, &mut into) && into == page(0));
        // One page more in the set: not that which was read goes.
        resident.keep(WAYS as u64 * sets, &page(WAYS as u64 * sets));
        assert!(resident.copy(WAYS as u64 * sets, &mut into) && into == page(WAYS as u64 * sets));
        assert!(resident.copy(0, &mut into) && into == page(0));
        assert_eq!(resident.pages(), WAYS as u64);
    }

    #[test]
    fn a_cache_without_room_and_one_with_all() {
        let none = Resident::cache(0);
        none.keep(3, &page(3));
        assert!(!none.copy(3, &mut [0; PAGE_BYTES]));
        let mut locked = Locked::new(10);
        locked.push(3, &page(3));
        locked.push(9, &page(9));
        let all = Resident::All(locked);
        let mut into = [0; PAGE_BYTES];
        assert!(all.copy(9, &mut into) && into == page(9));
        assert!(all.copy(3, &mut into) && into == page(3));
        assert!(!all.copy(10, &mut into) && all.is_locked());
        assert_eq!(all.pages(), 2);
    }
}
