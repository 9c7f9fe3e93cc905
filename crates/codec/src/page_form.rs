//! How a page is stored: a frame of zstd without the headers that say nothing new.
//!
//! ```text
//!  frame      header (2 bytes) | header of the block (3) | block
//!  stored                                                  block   one compressed block, of a page
//!  or         0x0d | frame                                         all else
//! ```

/// The largest window (log2): 64 KiB.
pub(crate) const WINDOW_LOG_MAX: u8 = 16;
/// RFC 8878, 3.1.1.1: no magic number or flags; 64 KiB window.
const FRAME_HEADER: [u8; 2] = [0, (WINDOW_LOG_MAX - 10) << 3];
pub(crate) const FRAME_HEADER_BYTES: usize = FRAME_HEADER.len();
pub(crate) const HEADERS_BYTES: usize = FRAME_HEADER_BYTES + 3;
const LAST_AND_COMPRESSED: u32 = 1 | 2 << 1;
/// The longest frame that is stored without headers.
pub(crate) const BARE_FRAME_MAX: usize = 4096;
/// First byte of a form with headers, and of a block of one literal 4096 times or more, which also gets headers.
pub(crate) const WITH_HEADERS: u8 = 0x0d;

/// The block of a frame that can be stored without headers.
pub(crate) fn bare(frame: &[u8]) -> Option<&[u8]> {
    let (&[flags, _, low, middle, high], block) = frame.split_first_chunk::<HEADERS_BYTES>()?;
    let header = u32::from_le_bytes([low, middle, high, 0]);
    let expected = LAST_AND_COMPRESSED | u32::try_from(block.len()).ok()? << 3;
    let alone = flags == FRAME_HEADER[0] && header == expected && frame.len() <= BARE_FRAME_MAX;
    (alone && block.first() != Some(&WITH_HEADERS)).then_some(block)
}

/// Writes the frame of a block without headers to `frame`, which has [`HEADERS_BYTES`] more.
pub(crate) fn write_frame(block: &[u8], frame: &mut [u8]) {
    let len = u32::try_from(block.len()).expect("at most a page");
    frame[..FRAME_HEADER_BYTES].copy_from_slice(&FRAME_HEADER);
    frame[FRAME_HEADER_BYTES..HEADERS_BYTES]
        .copy_from_slice(&(LAST_AND_COMPRESSED | len << 3).to_le_bytes()[..3]);
    frame[HEADERS_BYTES..].copy_from_slice(block);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_compressed_block_is_stored_without_headers() {
        assert_eq!(bare(&[0, 0x30, 0x0d, 0, 0, WITH_HEADERS]), None, "it would look like headers");
        assert_eq!(bare(&[0, 0x30, 0x0d, 0, 0, 1]), Some(&[1][..]));
        assert_eq!(bare(&[0, 0x30, 0x0c, 0, 0, 1]), None, "not the last block");
        let mut frame = [0; 6];
        write_frame(&[1], &mut frame);
        assert_eq!(frame, [0, 0x30, 0x0d, 0, 0, 1]);
    }
}
