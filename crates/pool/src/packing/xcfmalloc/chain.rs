//! The chain of blocks of an object, and its encoding in the entry and in side words.
//!
//! ```text
//!  entry    descriptor id and, as slot:   0..6 unit    6..9 blocks - 1      the first block
//!  word k   0..29 descriptor id    29..35 unit                              block k + 1
//!           35..47 bytes in block k, less 1
//!           47..63 (word 0) bytes of the object; 0: no object
//! ```
//! The last block has the rest of the length. Side words change only under the lock of the lists. (I-CHAIN)

use pagefold_frame::{DescriptorId, OutOfFrames, ReserveAccess, SourceError, WordTable};
use pagefold_sys::sync::Ordering;

use super::{
    blocks::{MAX_BLOCKS, UNIT_BYTES, UNITS},
    header::{header_bytes, units_for},
};
use crate::engine::{Base, Location};

const UNIT_BITS: u32 = 6;
const UNIT_MASK: u32 = UNITS - 1;
const WORD_UNIT_SHIFT: u32 = 29;
const WORD_LEN_SHIFT: u32 = 35;
const WORD_LEN_MASK: u64 = 0xfff;
const TOTAL_SHIFT: u32 = 47;
const PER_PAGE: usize = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChainBlock {
    pub(super) id: DescriptorId,
    pub(super) unit: u32,
    pub(super) len: usize,
}

impl ChainBlock {
    pub(super) fn units(self) -> u32 {
        units_for(self.len)
    }

    pub(super) fn offset(self) -> usize {
        self.unit as usize * UNIT_BYTES
    }

    pub(super) fn header(self, frame: &[u8]) -> &[u8] {
        &frame[self.offset()..self.offset() + header_bytes(self.len)]
    }

    pub(super) fn payload(self, frame: &[u8]) -> &[u8] {
        let start = self.offset() + header_bytes(self.len);
        &frame[start..start + self.len]
    }

    pub(super) fn split(self, frame: &mut [u8]) -> (&mut [u8], &mut [u8]) {
        let header = header_bytes(self.len);
        frame[self.offset()..self.offset() + header + self.len].split_at_mut(header)
    }

    fn is_possible(self) -> bool {
        (1..=pagefold_frame::FRAME_BYTES).contains(&self.len) && self.unit + self.units() <= UNITS
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockChain {
    blocks: [ChainBlock; MAX_BLOCKS],
    count: usize,
}

impl BlockChain {
    pub(super) fn empty() -> Self {
        let none = ChainBlock { id: DescriptorId::new(0), unit: 0, len: 1 };
        Self { blocks: [none; MAX_BLOCKS], count: 0 }
    }

    pub(super) fn blocks(&self) -> &[ChainBlock] {
        &self.blocks[..self.count]
    }

    pub(super) fn push(&mut self, block: ChainBlock) {
        self.blocks[self.count] = block;
        self.count += 1;
    }

    pub(super) fn len(&self) -> usize {
        self.blocks().iter().map(|block| block.len).sum()
    }

    pub(super) fn is_split(&self) -> bool {
        self.count > 1
    }

    pub(super) fn spliced(&self, at: usize, links: &[ChainBlock]) -> Self {
        let (before, after) = (&self.blocks()[..at], &self.blocks()[at + 1..]);
        let mut spliced = Self::empty();
        before.iter().chain(links).chain(after).for_each(|&block| spliced.push(block));
        spliced
    }

    #[expect(clippy::cast_possible_truncation, reason = "6 bits and 3 bits")]
    pub(super) fn location(&self) -> Location {
        let first = self.blocks()[0];
        let slot = first.unit | (self.count as u32 - 1) << UNIT_BITS;
        Location::Slot { id: first.id, slot: slot as u16 }
    }
}

pub(super) fn first_of(location: Location) -> (DescriptorId, u32, usize) {
    match location {
        Location::Slot { id, slot } => {
            let slot = u32::from(slot);
            (id, slot & UNIT_MASK, (slot >> UNIT_BITS) as usize + 1)
        }
        Location::Run { .. } => unreachable!("I-CHAIN: an entry says a block"),
    }
}

#[derive(Debug)]
pub(super) struct Sides {
    table: WordTable,
    each: usize,
}

/// A bit for each usable page.
#[derive(Debug, Default)]
pub(super) struct ReadyPages(Vec<u64>);

impl ReadyPages {
    fn has(&self, page: usize) -> bool {
        self.0.get(page / 64).is_some_and(|word| word >> (page % 64) & 1 == 1)
    }

    fn set(&mut self, page: usize) {
        if self.0.len() <= page / 64 {
            self.0.resize(page / 64 + 1, 0);
        }
        self.0[page / 64] |= 1 << (page % 64);
    }

    fn clear(&mut self, page: usize) {
        if let Some(word) = self.0.get_mut(page / 64) {
            *word &= !(1 << (page % 64));
        }
    }
}

impl Sides {
    pub(super) fn new(base: &Base, objects: usize, max_blocks: usize) -> Result<Self, SourceError> {
        let each = (max_blocks - 1).max(1);
        let capacity =
            objects.checked_mul(each).ok_or(SourceError::Capacity { entries: objects })?;
        Ok(Self { table: WordTable::new(&base.memory, capacity)?, each })
    }

    /// Makes the words usable. The lock keeps `trim` away.
    pub(super) fn ensure(
        &self,
        ready: &mut ReadyPages,
        index: u32,
        access: ReserveAccess,
    ) -> Result<(), OutOfFrames> {
        let first = index as usize * self.each;
        for page in first / PER_PAGE..=(first + self.each - 1) / PER_PAGE {
            if !ready.has(page) {
                self.table.ensure((page * PER_PAGE).max(first), access)?;
                ready.set(page);
            }
        }
        Ok(())
    }

    fn load(&self, index: u32, word: usize) -> u64 {
        let word = self.table.get(index as usize * self.each + word);
        // ORDERING: Acquire; pairs with the Release in `put`. A thread that sees a word of a later life of the index
        // sees in a later load of the entry that this life has ended.
        word.map_or(0, |word| word.load(Ordering::Acquire))
    }

    fn put(&self, index: u32, word: usize, value: u64) {
        let word = self.table.word(index as usize * self.each + word);
        // ORDERING: Release; pairs with the Acquire in `load`.
        word.store(value, Ordering::Release);
    }

    /// The length; 0: no object. Valid if the entry has the same generation before and after.
    #[inline]
    pub(super) fn len(&self, index: u32) -> usize {
        (self.load(index, 0) >> TOTAL_SHIFT) as usize
    }

    /// `None`: not this object's words. Another object's may look right, so the caller locks the frames and compares
    /// the entry again.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the fields are cut out by shifts")]
    pub(super) fn chain(&self, index: u32, location: Location) -> Option<BlockChain> {
        let (id, unit, count) = first_of(location);
        let mut word = self.load(index, 0);
        let mut left = (word >> TOTAL_SHIFT) as usize;
        let mut block = ChainBlock { id, unit, len: left };
        let mut chain = BlockChain::empty();
        let count = count.min(self.each + 1);
        for number in 1..count {
            block.len = (word >> WORD_LEN_SHIFT & WORD_LEN_MASK) as usize + 1;
            left = left.checked_sub(block.len)?;
            block.is_possible().then(|| chain.push(block))?;
            let id = DescriptorId::new(word as u32 & (DescriptorId::COUNT - 1));
            let unit = (word >> WORD_UNIT_SHIFT) as u32 & UNIT_MASK;
            block = ChainBlock { id, unit, len: left };
            if number + 1 < count {
                word = self.load(index, number);
            }
        }
        block.is_possible().then(|| chain.push(block))?;
        Some(chain)
    }

    pub(super) fn store(&self, index: u32, chain: &BlockChain) {
        let blocks = chain.blocks();
        for (number, &block) in blocks.iter().enumerate().take(self.each) {
            let mut word = 0;
            if let Some(next) = blocks.get(number + 1) {
                word |= u64::from(next.id.get()) | u64::from(next.unit) << WORD_UNIT_SHIFT;
                word |= (block.len as u64 - 1) << WORD_LEN_SHIFT;
            }
            if number == 0 {
                word |= (chain.len() as u64) << TOTAL_SHIFT;
            }
            self.put(index, number, word);
        }
    }

    pub(super) fn clear(&self, index: u32) {
        (0..self.each).for_each(|word| self.put(index, word, 0));
    }

    pub(super) fn trim(&self, ready: &mut ReadyPages, cursor: &mut Option<usize>) -> usize {
        self.table.release_vacant(cursor, &mut |words| {
            let page = words.start / PER_PAGE;
            // ORDERING: Relaxed; words change only under the lock that the caller has.
            let is_zero =
                |word| self.table.get(word).is_none_or(|word| word.load(Ordering::Relaxed) == 0);
            let vacant = words.into_iter().all(is_zero);
            if vacant {
                ready.clear(page);
            }
            vacant
        })
    }
}
