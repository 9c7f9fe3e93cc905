//! The bytes of a block: a header, then its part of the object.
//!
//! ```text
//!  | index of the handle entry (4) | sentinel (4) if enabled | bytes of the object ...
//! ```
//! A block of a whole frame has none; its descriptor has the index. With debug assertions or `paranoid`, a sentinel
//! shows a write beyond the block before it.

use pagefold_frame::{DescriptorId, FRAME_BYTES};
use thiserror::Error;

use super::blocks::{UNIT_BYTES, UNITS};

pub(super) const PARANOID: bool = cfg!(any(debug_assertions, feature = "paranoid"));
const INDEX_BYTES: usize = 4;
pub(super) const HEADER_BYTES: usize = if PARANOID { 8 } else { INDEX_BYTES };

const SENTINEL: u32 = 0x5eb1_0c5d;

pub(super) const fn capacity(units: u32) -> usize {
    if units == UNITS { FRAME_BYTES } else { units as usize * UNIT_BYTES - HEADER_BYTES }
}

pub(super) fn units_for(len: usize) -> u32 {
    debug_assert!((1..=FRAME_BYTES).contains(&len), "a block holds 1 to 4096 bytes");
    let units = (len + HEADER_BYTES).div_ceil(UNIT_BYTES);
    u32::try_from(units).unwrap_or(UNITS).min(UNITS)
}

pub(super) fn header_bytes(len: usize) -> usize {
    if len > capacity(UNITS - 1) { 0 } else { HEADER_BYTES }
}

fn sentinel(index: u32) -> [u8; 4] {
    (index.rotate_left(16) ^ SENTINEL).to_le_bytes()
}

pub(super) fn write_header(header: &mut [u8], index: u32) {
    if let Some((first, rest)) = header.split_first_chunk_mut::<INDEX_BYTES>() {
        *first = index.to_le_bytes();
        if PARANOID {
            rest.copy_from_slice(&sentinel(index));
        }
    }
}

pub(super) fn read_index(header: &[u8]) -> Option<u32> {
    header.first_chunk().map(|index| u32::from_le_bytes(*index))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "I-BLOCK: the sentinel of the object with handle index {index} is broken, in frame {} at offset {offset}; \
     a write went beyond the end of the block before it",
    frame.get()
)]
pub(super) struct Broken {
    pub(super) index: u32,
    pub(super) frame: DescriptorId,
    /// Of the block in the frame.
    pub(super) offset: usize,
}

pub(super) fn is_intact(header: &[u8], index: u32) -> bool {
    match header.split_first_chunk::<INDEX_BYTES>() {
        Some((first, rest)) => {
            *first == index.to_le_bytes() && (!PARANOID || *rest == sentinel(index))
        }
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_gets_the_smallest_block_that_holds_it() {
        for len in 1..=FRAME_BYTES {
            let units = units_for(len);
            assert!(capacity(units) >= len, "{len} bytes in {units} units");
            assert!(units == 1 || capacity(units - 1) < len, "{len} bytes in {units} units");
            assert_eq!(header_bytes(len) == 0, units == UNITS, "{len} bytes");
            assert!(header_bytes(len) + len <= units as usize * UNIT_BYTES);
        }
        for units in 1..=UNITS {
            assert_eq!(units_for(capacity(units)), units, "a full block of {units} units");
        }
    }

    #[test]
    fn any_broken_byte_of_a_header_is_noticed() {
        for index in [0, 1, 0x1234_5678, u32::MAX] {
            let mut header = [0; HEADER_BYTES];
            write_header(&mut header, index);
            assert_eq!(read_index(&header), Some(index));
            assert!(is_intact(&header, index) && !is_intact(&header, index ^ 1));
            for byte in 0..HEADER_BYTES {
                for bit in 0..8 {
                    let mut broken = header;
                    broken[byte] ^= 1 << bit;
                    assert!(!is_intact(&broken, index), "bit {bit} of byte {byte}");
                }
            }
        }
        assert_eq!(read_index(&[]), None);
        assert!(is_intact(&[], 7), "a whole frame has no header");
    }
}
