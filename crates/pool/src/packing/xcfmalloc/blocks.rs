//! How a frame is carved into blocks: two words of 64 bits, a pure function.
//!
//! ```text
//!  unit     0    1    2    3    4    5   ..    64 bytes each
//!  starts   1    0    0    1    1    0         a block starts here
//!  used     1    0    0    0    1    0         and is used
//! ```
//! # Invariants (I-BLOCK)
//! - A block starts at unit 0, and only where a block starts can one be used.
//! - No two free blocks are neighbours.

use crate::slices::Slices;

pub(super) const MAX_BLOCKS: usize = Slices::MAX;
pub(super) const UNIT_BYTES: usize = 64;
pub(super) const UNITS: u32 = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) unit: u32,
    pub(super) units: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Blocks {
    pub(super) starts: u64,
    pub(super) used: u64,
}

impl Blocks {
    pub(super) const FREE: Self = Self { starts: 1, used: 0 };
    /// No frame, or one that the pool is freeing.
    pub(super) const NONE: Self = Self { starts: 0, used: 0 };

    fn units_at(self, unit: u32) -> u32 {
        self.next_start(unit) - unit
    }

    fn next_start(self, unit: u32) -> u32 {
        (self.starts & (u64::MAX << unit << 1)).trailing_zeros()
    }

    fn previous_start(self, unit: u32) -> Option<u32> {
        (self.starts & !(u64::MAX << unit)).checked_ilog2()
    }

    fn is_used(self, unit: u32) -> bool {
        self.used >> unit & 1 == 1
    }

    fn blocks_at(self, mut starts: u64) -> impl Iterator<Item = Block> {
        std::iter::from_fn(move || {
            let unit = (starts != 0).then(|| starts.trailing_zeros())?;
            starts &= starts - 1;
            Some(Block { unit, units: self.units_at(unit) })
        })
    }

    pub(super) fn free_blocks(self) -> impl Iterator<Item = Block> {
        self.blocks_at(self.starts & !self.used)
    }

    pub(super) fn used_blocks(self) -> impl Iterator<Item = Block> {
        self.blocks_at(self.used)
    }

    pub(super) fn used_block(self, unit: u32) -> Option<Block> {
        self.is_used(unit).then(|| Block { unit, units: self.units_at(unit) })
    }

    /// Sizes of free blocks: bit `units - 1` each.
    pub(super) fn free_sizes(self) -> u64 {
        self.free_blocks().fold(0, |sizes, block| sizes | 1 << (block.units - 1))
    }

    pub(super) fn used_units(self) -> u32 {
        match self {
            Self::NONE => 0,
            _ => UNITS - self.free_blocks().map(|block| block.units).sum::<u32>(),
        }
    }

    pub(super) fn find_free(self, units: u32) -> Option<Block> {
        self.free_blocks().find(|block| block.units == units)
    }

    /// # Panics
    /// If the block is not a free one of this frame, or too short.
    pub(super) fn take(&mut self, block: Block, units: u32) {
        let Block { unit, units: all } = block;
        let is_free = self.starts >> unit & 1 == 1 && !self.is_used(unit);
        assert!(is_free && self.units_at(unit) == all, "I-BLOCK: {block:?} is a free block");
        assert!(units >= 1 && units <= all, "I-BLOCK: {units} units of {block:?}");
        self.used |= 1 << unit;
        if units < all {
            self.starts |= 1 << (unit + units);
        }
    }

    /// Also joins free neighbours.
    ///
    /// # Panics
    /// If no used block starts at `unit`.
    pub(super) fn give(&mut self, unit: u32) {
        assert!(self.is_used(unit), "I-BLOCK: the block at unit {unit} is freed once");
        self.used &= !(1 << unit);
        let next = self.next_start(unit);
        if next < UNITS && !self.is_used(next) {
            self.starts &= !(1 << next);
        }
        if self.previous_start(unit).is_some_and(|previous| !self.is_used(previous)) {
            self.starts &= !(1 << unit);
        }
    }

    pub(super) fn check(self) -> Result<(), String> {
        if self.starts & 1 == 0 || self.used & !self.starts != 0 {
            return Err(format!("I-BLOCK: no block can be used where none starts: {self:x?}"));
        }
        let (mut before, mut unit) = (true, 0);
        while unit < UNITS {
            let used = self.is_used(unit);
            if !(used || before) {
                return Err(format!("I-BLOCK: free neighbours meet at unit {unit}: {self:x?}"));
            }
            (before, unit) = (used, self.next_start(unit));
        }
        Ok(())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use pagefold_testkit::seed::Seed;
    use rand::RngExt;

    use super::*;

    struct Model([u32; UNITS as usize]);

    impl Model {
        fn stretches(&self) -> Vec<(u32, u32, bool)> {
            let mut found: Vec<(u32, u32, u32)> = Vec::new();
            for (unit, &owner) in (0..).zip(&self.0) {
                match found.last_mut() {
                    Some(last) if last.2 == owner => last.1 += 1,
                    _ => found.push((unit, 1, owner)),
                }
            }
            found.into_iter().map(|(unit, units, owner)| (unit, units, owner == 0)).collect()
        }
    }

    fn agree(blocks: Blocks, model: &Model) {
        assert_eq!(blocks.check(), Ok(()));
        let stretches = model.stretches();
        let of = |free| {
            let kind = stretches.iter().filter(move |stretch| stretch.2 == free);
            kind.map(|&(unit, units, _)| Block { unit, units }).collect::<Vec<_>>()
        };
        assert_eq!(blocks.free_blocks().collect::<Vec<_>>(), of(true));
        assert_eq!(blocks.used_blocks().collect::<Vec<_>>(), of(false));
        let free: u32 = of(true).iter().map(|block| block.units).sum();
        assert_eq!(blocks.used_units(), UNITS - free);
        let sizes = of(true).iter().fold(0, |sizes, block| sizes | 1_u64 << (block.units - 1));
        assert_eq!(blocks.free_sizes(), sizes);
    }

    #[test]
    fn any_order_of_taking_and_giving_agrees_with_an_array() {
        let seed = Seed::for_test(0xb10c);
        let mut rng = seed.rng(0);
        for _ in 0..300 {
            let (mut blocks, mut model) = (Blocks::FREE, Model([0; UNITS as usize]));
            for object in 1..200 {
                let free: Vec<Block> = blocks.free_blocks().collect();
                let used: Vec<Block> = blocks.used_blocks().collect();
                if !free.is_empty() && (used.is_empty() || rng.random_bool(0.6)) {
                    let block = free[rng.random_range(0..free.len())];
                    let units = rng.random_range(1..=block.units);
                    blocks.take(block, units);
                    let range = block.unit as usize..(block.unit + units) as usize;
                    model.0[range].fill(object);
                } else {
                    let block = used[rng.random_range(0..used.len())];
                    blocks.give(block.unit);
                    let range = block.unit as usize..(block.unit + block.units) as usize;
                    model.0[range].fill(0);
                }
                agree(blocks, &model);
            }
            for block in blocks.used_blocks() {
                blocks.give(block.unit);
            }
            assert_eq!(blocks, Blocks::FREE, "whatever is freed is one block again");
        }
    }

    #[test]
    fn the_borders_of_a_frame_are_no_neighbours() {
        let mut blocks = Blocks::FREE;
        blocks.take(Block { unit: 0, units: UNITS }, UNITS);
        assert_eq!(blocks.free_sizes(), 0);
        assert_eq!(blocks.used_block(0), Some(Block { unit: 0, units: UNITS }));
        blocks.give(0);
        assert_eq!(blocks.free_sizes(), 1 << 63);
        blocks.take(Block { unit: 0, units: UNITS }, UNITS - 1);
        let last = blocks.find_free(1).expect("the last unit");
        blocks.take(last, 1);
        blocks.give(0);
        blocks.give(last.unit);
        assert_eq!(blocks, Blocks::FREE);
    }

    #[test]
    fn what_breaks_the_layout_is_noticed() {
        assert!(Blocks { starts: 0b10, used: 0b10 }.check().is_err(), "nothing starts at 0");
        assert!(Blocks { starts: 0b01, used: 0b10 }.check().is_err(), "used without a start");
        assert!(Blocks { starts: 0b11, used: 0 }.check().is_err(), "free neighbours");
        assert!(Blocks { starts: 0b111, used: 0b011 }.check().is_ok());
    }

    #[test]
    #[should_panic(expected = "freed once")]
    fn a_block_is_freed_once() {
        let mut blocks = Blocks::FREE;
        blocks.take(Block { unit: 0, units: UNITS }, 3);
        blocks.give(0);
        blocks.give(0);
    }
}
