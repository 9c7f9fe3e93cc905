//! How a cluster is stored: the blocks of a zstd frame, each of which restores 4 KiB.
//!
//! ```text
//!  frame    header (2 bytes) | header (3) | block | header (3) | block | ..
//!  stored                      header (2) | block | header (2) | block | ..
//!  header   bits 0 to 13: a length; 14 and 15: 0 bytes as they are, 1 one byte repeated, 2 compressed
//! ```
//! A block that is not compressed restores as many bytes as its length says. Only the last block may restore less than
//! 4 KiB. The end is not marked: the reader knows the length of the original.

use crate::page_form::FRAME_HEADER_BYTES;

/// The bytes that each block but the last restores.
pub(crate) const BLOCK_BYTES: usize = 4096;
const HEADER_BYTES: usize = 2;
const FRAME_BLOCK_HEADER_BYTES: usize = 3;
const LENGTH_BITS: u32 = 14;
const RAW: u32 = 0;
const REPEATED: u32 = 1;
const COMPRESSED: u32 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Block<'a> {
    Raw(&'a [u8]),
    Repeated { byte: u8, len: usize },
    Compressed(&'a [u8]),
}

/// The first block and the rest. `None` if the bytes are no blocks.
pub(crate) fn split_first(stored: &[u8]) -> Option<(Block<'_>, &[u8])> {
    let (&header, rest) = stored.split_first_chunk::<HEADER_BYTES>()?;
    let header = u32::from(u16::from_le_bytes(header));
    let len = (header & ((1 << LENGTH_BITS) - 1)) as usize;
    match header >> LENGTH_BITS {
        RAW => rest.split_at_checked(len).map(|(bytes, rest)| (Block::Raw(bytes), rest)),
        REPEATED => rest.split_first().map(|(&byte, rest)| (Block::Repeated { byte, len }, rest)),
        COMPRESSED => {
            rest.split_at_checked(len).map(|(bytes, rest)| (Block::Compressed(bytes), rest))
        }
        _ => None,
    }
}

/// Turns a frame of `count` blocks into their stored form, in place; returns its length. `None` for another number, so
/// that a block never restores more or less than [`BLOCK_BYTES`] of its input.
pub(crate) fn pack(frame: &mut [u8], count: usize) -> Option<usize> {
    let (mut from, mut to) = (FRAME_HEADER_BYTES, 0);
    for index in 1..=count {
        let header = frame.get(from..from + FRAME_BLOCK_HEADER_BYTES)?;
        let header = u32::from_le_bytes([header[0], header[1], header[2], 0]);
        let (is_last, kind, len) = (header & 1 == 1, header >> 1 & 3, header >> 3);
        if is_last != (index == count) || len >> LENGTH_BITS != 0 {
            return None;
        }
        let content = from + FRAME_BLOCK_HEADER_BYTES;
        let end = content + if kind == REPEATED { 1 } else { len as usize };
        if end > frame.len() {
            return None;
        }
        let stored = u16::try_from(kind << LENGTH_BITS | len).expect("14 bits and 2");
        frame[to..to + HEADER_BYTES].copy_from_slice(&stored.to_le_bytes());
        frame.copy_within(content..end, to + HEADER_BYTES);
        to += HEADER_BYTES + end - content;
        from = end;
    }
    (from == frame.len()).then_some(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_blocks_of_a_frame_are_those_that_are_read() {
        // Two bytes as they are, a byte repeated 4096 times, one compressed byte (the last).
        let frame = [0, 48, 2 << 3, 0, 0, 8, 9, 1 << 1, 0x80, 0, 7, 1 << 3 | 2 << 1 | 1, 0, 0, 5];
        let mut stored = frame;
        let len = pack(&mut stored, 3).expect("three blocks");
        assert_eq!(stored[..len], [2, 0, 8, 9, 0, 0x50, 7, 1, 0x80, 5]);
        let (first, rest) = split_first(&stored[..len]).expect("a block");
        assert_eq!(first, Block::Raw(&[8, 9]));
        let (second, rest) = split_first(rest).expect("a block");
        assert_eq!(second, Block::Repeated { byte: 7, len: 4096 });
        assert_eq!(split_first(rest), Some((Block::Compressed(&[5]), &[][..])));
        for count in [0, 1, 2, 4] {
            let mut copy = frame;
            assert_eq!(pack(&mut copy, count), None, "{count} blocks");
        }
        for len in 0..frame.len() {
            let mut copy = frame;
            assert_eq!(pack(&mut copy[..len], 3), None, "a frame of {len} bytes");
        }
    }

    #[test]
    fn what_is_no_block_is_noticed() {
        for bytes in [&[][..], &[1], &[1, 0], &[0, 0x40], &[2, 0x80, 1], &[0, 0xc0, 0]] {
            assert_eq!(split_first(bytes), None, "{bytes:?}");
        }
        assert_eq!(split_first(&[0, 0]), Some((Block::Raw(&[]), &[][..])));
    }
}
