//! Which base page a key of a space has.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use super::{fault::MappingError, state::BaseState};

/// Of so many puts that end equal or as a delta, one also runs the plain codec.
const SAMPLED_ONE_IN: u32 = 64;

/// A base and the keys on it.
pub(crate) struct Mapping {
    pub(crate) base: Arc<BaseState>,
    /// Ascending, apart from each other.
    ranges: Box<[Mapped]>,
    puts: AtomicU32,
}

struct Mapped {
    keys: Range<u64>,
    /// Of the first key.
    page: u64,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.base.counts.spaces.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Mapping {
    /// `ranges`: keys, and the base page of the first. Without any, each key below the number of base pages has that page.
    pub(crate) fn new(
        base: Arc<BaseState>,
        mut ranges: Vec<(Range<u64>, u64)>,
    ) -> Result<Self, MappingError> {
        if ranges.is_empty() {
            ranges.push((0..base.pages(), 0));
        }
        ranges.retain(|(keys, _)| !keys.is_empty());
        ranges.sort_unstable_by_key(|(keys, _)| keys.start);
        for pair in ranges.windows(2) {
            if pair[1].0.start < pair[0].0.end {
                return Err(MappingError::Twice { key: pair[1].0.start });
            }
        }
        let pages = base.pages();
        for (keys, page) in &ranges {
            let last = page.saturating_add(keys.end - keys.start - 1);
            if last >= pages {
                return Err(MappingError::BeyondBase { page: pages.max(*page), pages });
            }
        }
        let ranges = ranges.into_iter().map(|(keys, page)| Mapped { keys, page }).collect();
        // ORDERING: Relaxed; a statistic, here and in `drop`.
        base.counts.spaces.fetch_add(1, Ordering::Relaxed);
        Ok(Self { base, ranges, puts: AtomicU32::new(0) })
    }

    #[inline]
    pub(crate) fn page_of(&self, key: u64) -> Option<u64> {
        let at = self.ranges.partition_point(|mapped| mapped.keys.end <= key);
        let mapped = self.ranges.get(at).filter(|mapped| mapped.keys.contains(&key))?;
        Some(mapped.page + (key - mapped.keys.start))
    }

    /// Whether this put also runs the plain codec, to tell what a base saves.
    pub(crate) fn samples(&self) -> bool {
        // ORDERING: Relaxed; any put may be the one.
        self.puts.fetch_add(1, Ordering::Relaxed).is_multiple_of(SAMPLED_ONE_IN)
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.ranges)
    }
}
