//! The layout of a frame: an object at each end. A chunk is 64 bytes.
//!
//! ```text
//!  0             64 * first         4096 - 64 * last             4096
//!  | first object | ..... free ..... | last object            |
//!
//!  slot    side (bit 12)   length - 1 (bits 0..12)            in the handle entry
//!  sides   chunks of the first (0..8), of the last (8..16), under reclaim (16)
//! ```
//! # Invariants (I-SIDE)
//! - The chunks of both sides are at most 64.

use std::ops::Range;

use pagefold_frame::FRAME_BYTES;

pub(super) const CHUNK_BYTES: usize = 64;
pub(super) const CHUNKS: usize = FRAME_BYTES / CHUNK_BYTES;

const SIDE: u16 = 1 << 12;
const CHUNKS_BITS: u32 = 8;
const CHUNKS_MASK: u32 = (1 << CHUNKS_BITS) - 1;
const UNDER_RECLAIM: u32 = 1 << (2 * CHUNKS_BITS);

pub(super) fn chunks_for(len: usize) -> usize {
    len.div_ceil(CHUNK_BYTES)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    First,
    Last,
}

impl Side {
    pub(super) const BOTH: [Self; 2] = [Self::First, Self::Last];

    fn shift(self) -> u32 {
        match self {
            Self::First => 0,
            Self::Last => CHUNKS_BITS,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SideSlot {
    pub(super) side: Side,
    pub(super) len: usize,
}

impl SideSlot {
    /// Every word of 13 bits is a slot.
    #[inline]
    pub(super) fn from_bits(bits: u16) -> Self {
        let side = if bits & SIDE == 0 { Side::First } else { Side::Last };
        Self { side, len: usize::from(bits & (SIDE - 1)) + 1 }
    }

    pub(super) fn bits(self) -> u16 {
        debug_assert!((1..=FRAME_BYTES).contains(&self.len), "an object fits a frame");
        let len = u16::try_from(self.len - 1).expect("less than a frame");
        match self.side {
            Side::First => len,
            Side::Last => len | SIDE,
        }
    }

    pub(super) fn chunks(self) -> usize {
        chunks_for(self.len)
    }

    #[inline]
    pub(super) fn range(self) -> Range<usize> {
        let start = match self.side {
            Side::First => 0,
            Side::Last => FRAME_BYTES - self.chunks() * CHUNK_BYTES,
        };
        start..start + self.len
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SideChunks(u32);

impl SideChunks {
    pub(super) fn from_word(word: u32) -> Self {
        Self(word)
    }

    pub(super) fn word(self) -> u32 {
        self.0
    }

    pub(super) fn chunks(self, side: Side) -> usize {
        (self.0 >> side.shift() & CHUNKS_MASK) as usize
    }

    pub(super) fn with(self, side: Side, chunks: usize) -> Self {
        let field = u32::try_from(chunks).expect("at most 64 chunks") & CHUNKS_MASK;
        Self(self.0 & !(CHUNKS_MASK << side.shift()) | field << side.shift())
    }

    pub(super) fn under_reclaim(self) -> bool {
        self.0 & UNDER_RECLAIM != 0
    }

    pub(super) fn set_under_reclaim(self, on: bool) -> Self {
        Self(if on { self.0 | UNDER_RECLAIM } else { self.0 & !UNDER_RECLAIM })
    }

    pub(super) fn free(self) -> usize {
        CHUNKS - self.chunks(Side::First) - self.chunks(Side::Last)
    }

    pub(super) fn is_empty(self) -> bool {
        Side::BOTH.iter().all(|&side| self.chunks(side) == 0)
    }

    /// The lone and the empty side.
    pub(super) fn lone(self) -> Option<(Side, Side)> {
        match Side::BOTH.map(|side| self.chunks(side) > 0) {
            [true, false] => Some((Side::First, Side::Last)),
            [false, true] => Some((Side::Last, Side::First)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_comes_back_from_its_bits() {
        for side in Side::BOTH {
            for len in 1..=FRAME_BYTES {
                let slot = SideSlot { side, len };
                assert_eq!(SideSlot::from_bits(slot.bits()), slot);
                assert!(slot.bits() < 1 << 13);
            }
        }
    }

    #[test]
    fn an_object_lies_in_its_chunks_at_its_end_of_the_frame() {
        for len in 1..=FRAME_BYTES {
            let [first, last] = Side::BOTH.map(|side| SideSlot { side, len });
            let chunks = first.chunks() * CHUNK_BYTES;
            assert!(len <= chunks && chunks < len + CHUNK_BYTES, "{len} bytes");
            assert_eq!(first.range(), 0..len);
            assert_eq!((last.range().start, last.range().len()), (FRAME_BYTES - chunks, len));
        }
    }

    #[test]
    fn two_objects_whose_chunks_fit_do_not_overlap() {
        for chunks in 1..CHUNKS {
            let first = SideSlot { side: Side::First, len: chunks * CHUNK_BYTES };
            let last = SideSlot { side: Side::Last, len: (CHUNKS - chunks) * CHUNK_BYTES - 63 };
            assert!(first.range().end <= last.range().start, "{chunks} chunks");
        }
    }

    #[test]
    fn a_shape_says_what_was_put_in() {
        let empty = SideChunks::default();
        assert!(empty.is_empty() && empty.lone().is_none() && empty.free() == CHUNKS);
        for side in Side::BOTH {
            let other = if side == Side::First { Side::Last } else { Side::First };
            for chunks in 1..=CHUNKS {
                let lone = empty.with(side, chunks);
                assert_eq!((lone.chunks(side), lone.chunks(other)), (chunks, 0));
                assert_eq!((lone.lone(), lone.free()), (Some((side, other)), CHUNKS - chunks));
                assert!(!lone.is_empty() && !lone.under_reclaim());
                let full = lone.with(other, CHUNKS - chunks).set_under_reclaim(true);
                assert!(full.under_reclaim() && full.free() == 0);
                assert_eq!(full.with(side, 0).with(other, 0).set_under_reclaim(false), empty);
            }
        }
    }
}
