//! The opaque name of an object: index, generation and pool in 64 bits.

use std::num::{NonZeroU16, NonZeroU64};

/// Names an object of one pool, wherever its bytes lie.
///
/// 64 bits: the index of its entry in the pool's handle table (bits 0..32), the generation of that entry
/// (32..48), the pool's number in this process (48..64, never 0). `Option<Handle>` is as small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(NonZeroU64);

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
}

/// A pool's number in this process, part of each of its handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PoolId(NonZeroU16);
