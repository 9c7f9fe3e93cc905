//! What the tests of this crate share: an arena with slabs over it, and numbers that follow from a printed seed.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{env, sync::Arc, thread};

use pagefold_frame::{
    Arena, ArenaConfig, DescriptorId, FRAME_BYTES, FrameCount, FrameSource, MemoryBudget, Mobility,
    OutOfFrames, ReserveAccess, Slab, SlabConfig, Tag,
};

/// Descriptors with a number in the body and a word that needs no hold: 16 bytes each.
pub(crate) type Numbered = Slab<u32, 1>;

/// An arena and a slab for each mobility.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) memory: Arc<MemoryBudget>,
    pub(crate) arena: Arc<Arena>,
    pub(crate) movable: Numbered,
    pub(crate) pinned: Numbered,
}

impl Rig {
    pub(crate) const MOVABLE: Tag = Tag::new(1);
    pub(crate) const PINNED: Tag = Tag::new(2);

    /// Over `source`, with a limit of `limit` frames and room for `address_space` bytes.
    pub(crate) fn new(source: Box<dyn FrameSource>, limit: usize, address_space: usize) -> Self {
        let memory = Arc::new(MemoryBudget::new(source, limit));
        let arena =
            Arc::new(Arena::new(&memory, ArenaConfig { address_space }).expect("address space"));
        let slab = |tag, mobility| {
            let config = SlabConfig { tag, mobility, capacity: address_space / FRAME_BYTES };
            Slab::new(&arena, config).expect("address space")
        };
        let (movable, pinned) =
            (slab(Self::MOVABLE, Mobility::Movable), slab(Self::PINNED, Mobility::Pinned));
        Self { memory, arena, movable, pinned }
    }

    /// Frees what only waits to be looked at.
    pub(crate) fn drain_deferred(&self) {
        while self.movable.drain_deferred(&mut |_| {}) || self.pinned.drain_deferred(&mut |_| {}) {}
    }

    /// Checks every invariant. For a quiet rig.
    pub(crate) fn validate(&self) -> Result<(), String> {
        self.arena.validate()?;
        self.movable.validate()?;
        self.pinned.validate()?;
        match self.memory.used() {
            used if used <= self.memory.limit() => Ok(()),
            used => Err(format!("{used} frames charged, the limit is {}", self.memory.limit())),
        }
    }
}

/// A run of `frames` frames filled with `value`, which the body says as well.
pub(crate) fn create(
    slab: &Numbered,
    frames: u32,
    value: u32,
) -> Result<DescriptorId, OutOfFrames> {
    let mut guard = slab.create(FrameCount::new(frames), ReserveAccess::Normal, value)?;
    fill(guard.parts().1, value);
    Ok(guard.id())
}

/// Writes `value` all over `bytes`.
pub(crate) fn fill(bytes: &mut [u8], value: u32) {
    for word in bytes.chunks_exact_mut(4) {
        word.copy_from_slice(&value.to_le_bytes());
    }
}

/// Whether `bytes` are all `value`.
pub(crate) fn is_filled(bytes: &[u8], value: u32) -> bool {
    bytes.chunks_exact(4).all(|word| word == value.to_le_bytes())
}

/// Numbers that follow from a seed (SplitMix64). Says the seed when the test that uses it fails.
#[derive(Debug)]
pub(crate) struct Numbers {
    seed: u64,
    state: u64,
}

impl Numbers {
    /// The numbers of `PAGEFOLD_SEED` if that is set, otherwise of `default`.
    pub(crate) fn for_test(default: u64) -> Self {
        let seed = match env::var("PAGEFOLD_SEED") {
            Ok(text) => text.parse().expect("PAGEFOLD_SEED is a decimal number"),
            Err(_) => default,
        };
        Self { seed, state: seed }
    }

    /// Other numbers of the same seed.
    pub(crate) fn stream(&self, number: u64) -> Self {
        Self {
            seed: self.seed,
            state: self.seed ^ (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        }
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 8).expect("56 bits") % end
    }
}

impl Drop for Numbers {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("seed: PAGEFOLD_SEED={}", self.seed);
        }
    }
}
