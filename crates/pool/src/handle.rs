//! Handles: index, generation and pool in 64 bits.

use std::{
    num::{NonZeroU16, NonZeroU64},
    sync::Mutex,
};

/// Names an object of one pool, wherever its bytes lie.
///
/// Bits 0..48 are an index into the pool's handle table and, above it, the entry's generation. Bits 48..64 are the
/// pool's
/// number in this process, never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(NonZeroU64);

/// Index and generation.
const SHORT_BITS: u32 = 48;
const SHORT_MASK: u64 = (1 << SHORT_BITS) - 1;

/// The split of 48 bits. In an entry, a descriptor id or a link takes the index's bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HandleBits {
    index: u8,
    generation: u8,
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "an index has at most 32 bits, and the others go to a generation or are masked"
)]
impl HandleBits {
    /// Indices, ids and links are at most `largest`.
    pub(crate) fn new(largest: usize, generation_bits: u32) -> Self {
        let index = (usize::BITS - largest.leading_zeros()).max(1);
        assert!(index <= u32::BITS, "indices and ids are 32 bits at most");
        let generation = generation_bits.clamp(1, SHORT_BITS - index);
        Self { index: index as u8, generation: generation as u8 }
    }

    #[inline]
    pub(crate) fn join(self, low: u32, generation: u64) -> u64 {
        debug_assert!(u64::from(low) & !self.low_mask() == 0, "{low} fits {} bits", self.index);
        u64::from(low) | generation << self.index
    }

    #[inline]
    pub(crate) fn low(self, joined: u64) -> u32 {
        (joined & self.low_mask()) as u32
    }

    #[inline]
    pub(crate) fn generation(self, joined: u64) -> u64 {
        joined >> self.index
    }

    #[inline]
    fn low_mask(self) -> u64 {
        !(u64::MAX << self.index)
    }

    pub(crate) fn largest(self) -> u32 {
        self.low_mask() as u32
    }

    /// An index is retired after it.
    pub(crate) fn last_generation(self) -> u64 {
        (1 << self.generation) - 1
    }
}

impl Handle {
    #[inline]
    pub(crate) fn new(short: u64, pool: PoolId) -> Self {
        assert!(short <= SHORT_MASK, "index and generation are 48 bits");
        let raw = short | u64::from(pool.0.get()) << SHORT_BITS;
        Self(NonZeroU64::new(raw).expect("a pool's number is not 0"))
    }

    /// As a word.
    pub fn to_raw(self) -> u64 {
        self.0.get()
    }

    /// `None` for 0. Any word is safe: one that names nothing is an error in use.
    pub fn from_raw(raw: u64) -> Option<Self> {
        NonZeroU64::new(raw).map(Self)
    }

    /// The low 48 bits; [`PoolId::handle`] restores the handle.
    pub fn to_short(self) -> u64 {
        self.0.get() & SHORT_MASK
    }

    /// `None` for a word that is no handle.
    pub fn pool(self) -> Option<PoolId> {
        NonZeroU16::new((self.0.get() >> SHORT_BITS) as u16).map(PoolId)
    }

    #[inline]
    pub(crate) fn is_of(self, pool: PoolId) -> bool {
        self.0.get() >> SHORT_BITS == u64::from(pool.0.get())
    }
}

/// Reserved while the pool lives. Numbers are reused as late as possible.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PoolNumber(PoolId);

/// A handle's pool. Living pools have different ids, except for [`from_raw`](Self::from_raw).
///
/// # Examples
/// An index of 48 bits:
/// ```
/// use pagefold_pool::{Allocator, PoolBuilder};
///
/// let pool = PoolBuilder::new(Allocator::nbud()).limit(8 << 20).build()?;
/// let handle = pool.store(b"cold bytes")?;
/// assert_eq!(handle.pool(), Some(pool.id()));
///
/// let short = handle.to_short();
/// assert!(short < 1 << 48);
/// assert_eq!(pool.id().handle(short), handle);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PoolId(NonZeroU16);

impl PoolId {
    /// From a [short handle](Handle::to_short). Any word is safe; bits above 48 are ignored.
    #[inline]
    pub fn handle(self, short: u64) -> Handle {
        let raw = short & SHORT_MASK | u64::from(self.0.get()) << SHORT_BITS;
        Handle(NonZeroU64::new(raw).expect("a pool's number is not 0"))
    }

    /// For pools built elsewhere, such as a test's model.
    pub const fn from_raw(number: NonZeroU16) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn to_raw(self) -> NonZeroU16 {
        self.0
    }
}

/// A bit for each living pool.
struct Numbers {
    taken: [u64; 1024],
    last: u16,
}

static NUMBERS: Mutex<Numbers> = Mutex::new(Numbers { taken: [0; 1024], last: 0 });

impl PoolNumber {
    /// `None` when 65 535 pools are alive.
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
        for largest in [1, 2, 80, 65_535, 65_536, u32::MAX as usize] {
            let bits = HandleBits::new(largest, u32::MAX);
            assert!(bits.largest() as usize >= largest, "{largest} fits");
            for low in [0, 1, bits.largest()] {
                for generation in [0, 1, bits.last_generation()] {
                    let handle = Handle::new(bits.join(low, generation), pool.id());
                    let short = handle.to_short();
                    assert_eq!((bits.low(short), bits.generation(short)), (low, generation));
                    assert!(handle.is_of(pool.id()));
                    assert_eq!(handle.pool(), Some(pool.id()));
                    assert_eq!(Handle::from_raw(handle.to_raw()), Some(handle));
                    assert_eq!(pool.id().handle(short | 0xffff << 48), handle);
                }
            }
        }
        assert_eq!(size_of::<Option<Handle>>(), 8);
    }

    #[test]
    fn index_and_generation_use_all_48_bits() {
        for largest in [1, 1000, 1 << 20, u32::MAX as usize] {
            let bits = HandleBits::new(largest, u32::MAX);
            let last = bits.join(bits.largest(), bits.last_generation());
            assert_eq!(last, SHORT_MASK, "{bits:?}");
        }
    }

    #[test]
    fn living_pools_have_different_numbers() {
        let first = PoolNumber::take().expect("few pools are alive");
        let second = PoolNumber::take().expect("few pools are alive");
        assert_ne!(first, second);
    }
}
