//! The opaque name of an object: index, generation and pool in 64 bits.

use std::{
    num::{NonZeroU16, NonZeroU64},
    sync::Mutex,
};

/// Names an object of one pool, wherever its bytes lie.
///
/// 64 bits: the index of its entry in the pool's handle table (bits 0..32), the generation of that entry
/// (32..48), the pool's number in this process (48..64, never 0). `Option<Handle>` is as small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(NonZeroU64);

/// Index and generation, without the pool.
const SHORT_MASK: u64 = (1 << 48) - 1;

#[expect(clippy::cast_possible_truncation, reason = "the fields are cut out of the word by shifts")]
impl Handle {
    pub(crate) fn new(index: u32, generation: u16, pool: PoolId) -> Self {
        let raw = u64::from(index) | u64::from(generation) << 32 | u64::from(pool.0.get()) << 48;
        Self(NonZeroU64::new(raw).expect("a pool's number is not 0"))
    }

    /// The handle as a word, to keep in an index of one's own.
    pub fn to_raw(self) -> u64 {
        self.0.get()
    }

    /// A handle from a word; `None` for 0. Any word is safe: one that names nothing is an error when it is used.
    pub fn from_raw(raw: u64) -> Option<Self> {
        NonZeroU64::new(raw).map(Self)
    }

    /// The handle without its pool, in the low 48 bits: for an index of one's own that knows the pool anyway.
    pub fn to_short(self) -> u64 {
        self.0.get() & SHORT_MASK
    }

    /// A handle of the same pool as this one, from its [short form](Self::to_short). Bits above the 48 are ignored. Any
    /// word is safe, as with [`from_raw`](Self::from_raw).
    ///
    /// # Examples
    /// ```
    /// use pagefold_pool::{Allocator, PoolBuilder};
    ///
    /// let pool = PoolBuilder::new(Allocator::Nbud).limit(8 << 20).build()?;
    /// let (one, other) = (pool.store(b"one")?, pool.store(b"other")?);
    /// assert_eq!(one.with_short(other.to_short()), other);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_short(self, short: u64) -> Self {
        let raw = self.0.get() & !SHORT_MASK | short & SHORT_MASK;
        Self(NonZeroU64::new(raw).expect("a pool's number is not 0"))
    }

    pub(crate) fn index(self) -> u32 {
        self.0.get() as u32
    }

    pub(crate) fn generation(self) -> u16 {
        (self.0.get() >> 32) as u16
    }

    pub(crate) fn is_of(self, pool: PoolId) -> bool {
        (self.0.get() >> 48) as u16 == pool.0.get()
    }
}

/// A pool's number in this process, part of each of its handles. Numbers of dropped pools come round again as late
/// as possible.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PoolNumber(PoolId);

/// The number as it stands in handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PoolId(NonZeroU16);

/// The numbers of living pools, a bit each, and the last one given out.
struct Numbers {
    taken: [u64; 1024],
    last: u16,
}

static NUMBERS: Mutex<Numbers> = Mutex::new(Numbers { taken: [0; 1024], last: 0 });

impl PoolNumber {
    /// The next free number; `None` when 65 535 pools are alive.
    pub(crate) fn take() -> Option<Self> {
        let mut numbers = NUMBERS.lock().expect("no panic while the numbers were held");
        let last = numbers.last;
        let free = (1..=u16::MAX)
            .map(|step| last.wrapping_add(step))
            .filter_map(NonZeroU16::new)
            .find(|number| {
            numbers.taken[usize::from(number.get() / 64)] >> (number.get() % 64) & 1 == 0
        })?;
        numbers.taken[usize::from(free.get() / 64)] |= 1 << (free.get() % 64);
        numbers.last = free.get();
        Some(Self(PoolId(free)))
    }

    pub(crate) fn id(&self) -> PoolId {
        self.0
    }
}

impl Drop for PoolNumber {
    fn drop(&mut self) {
        let number = self.0.0.get();
        if let Ok(mut numbers) = NUMBERS.lock() {
            numbers.taken[usize::from(number / 64)] &= !(1 << (number % 64));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_a_handle_come_back() {
        let pool = PoolNumber::take().expect("few pools are alive");
        for (index, generation) in [(0, 0), (u32::MAX, u16::MAX), (7, 9)] {
            let handle = Handle::new(index, generation, pool.id());
            assert_eq!((handle.index(), handle.generation()), (index, generation));
            assert!(handle.is_of(pool.id()));
            assert_eq!(Handle::from_raw(handle.to_raw()), Some(handle));
        }
        assert_eq!(size_of::<Option<Handle>>(), 8);
    }

    #[test]
    fn living_pools_have_different_numbers() {
        let first = PoolNumber::take().expect("few pools are alive");
        let second = PoolNumber::take().expect("few pools are alive");
        assert_ne!(first, second);
    }
}
