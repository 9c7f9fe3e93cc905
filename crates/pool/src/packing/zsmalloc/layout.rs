//! The layout of a zspage: slots of one size over a chain of frames.
//!
//! ```text
//!  frame 0                  frame 1
//!  | slot 0 | slot 1 | slot 2 .. | .. | slot 3 | waste |
//!
//!  slot   handle index (4 bytes), or next free slot + 1   length (2), 0 when free   bytes
//! ```
//! # Invariants (I-LAYOUT)
//! - Slots do not overlap and the last one ends within the chain.
//! - A header lies in one frame, and an object in at most two.

use std::ops::Range;

use pagefold_frame::FRAME_BYTES;

use crate::classes::Class;

/// Index and length.
pub(crate) const HEADER_BYTES: usize = 6;
/// Slot sizes are multiples, so no header lies across two frames.
pub(crate) const GRAIN: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ByteExtent {
    pub(super) frame: usize,
    pub(super) range: Range<usize>,
}

#[inline]
pub(super) fn slot_offset(size: usize, slot: u16) -> usize {
    usize::from(slot) * size
}

/// At most a frame of bytes.
#[inline]
pub(super) fn extents(at: usize, len: usize) -> (ByteExtent, Option<ByteExtent>) {
    debug_assert!(len <= FRAME_BYTES, "at most two frames");
    let (frame, start) = (at / FRAME_BYTES, at % FRAME_BYTES);
    let end = start + len;
    let first = ByteExtent { frame, range: start..end.min(FRAME_BYTES) };
    let rest =
        (end > FRAME_BYTES).then(|| ByteExtent { frame: frame + 1, range: 0..end - FRAME_BYTES });
    (first, rest)
}

#[inline]
pub(super) fn object_extents(
    size: usize,
    slot: u16,
    len: usize,
) -> (ByteExtent, Option<ByteExtent>) {
    extents(slot_offset(size, slot) + HEADER_BYTES, len)
}

pub(super) fn is_split(size: usize, slot: u16, len: usize) -> bool {
    slot_offset(size, slot) % FRAME_BYTES + HEADER_BYTES + len > FRAME_BYTES
}

pub(super) fn check(class: &Class) -> Result<(), String> {
    let bytes = class.frames as usize * FRAME_BYTES;
    let slots = u16::try_from(class.objects).map_err(|_| format!("too many slots: {class:?}"))?;
    if class.size <= HEADER_BYTES {
        return Err(format!("no room beside a header: {class:?}"));
    }
    let mut end = 0;
    for slot in 0..slots {
        let at = slot_offset(class.size, slot);
        if at != end {
            return Err(format!("slot {slot} begins at {at}, not at {end}: {class:?}"));
        }
        if extents(at, HEADER_BYTES).1.is_some() {
            return Err(format!("the header of slot {slot} is in two frames: {class:?}"));
        }
        let len = class.size - HEADER_BYTES;
        let (first, rest) = object_extents(class.size, slot, len);
        let rest_len = rest.as_ref().map_or(0, |rest| rest.range.len());
        if first.range.is_empty() || first.range.len() + rest_len != len {
            return Err(format!("slot {slot} has not all of its bytes: {class:?}"));
        }
        if rest.is_some() != is_split(class.size, slot, len) {
            return Err(format!("slot {slot} is wrongly said to be in one frame: {class:?}"));
        }
        end = at + class.size;
    }
    if end > bytes {
        return Err(format!("the last slot ends at {end} of {bytes}: {class:?}"));
    }
    Ok(())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::classes::{ClassConfig, ClassTable};

    #[test]
    fn every_class_of_every_table_is_laid_out_right() {
        for step in (GRAIN..=4064).step_by(GRAIN).filter(|step| 4064 % step == 0) {
            for chain_max in 1..=8 {
                let config = ClassConfig {
                    step,
                    chain_max,
                    header_bytes: HEADER_BYTES,
                    ..ClassConfig::default()
                };
                let table = ClassTable::new(config).expect("a divisor");
                for class in table.classes().iter().filter(|class| !class.is_huge()) {
                    assert_eq!(check(class), Ok(()), "step {step}, chains of up to {chain_max}");
                }
            }
        }
    }

    #[test]
    fn a_layout_that_is_wrong_is_found() {
        let class = Class { size_min: 48, size: 48, frames: 3, objects: 256 };
        assert_eq!(check(&class), Ok(()));
        for wrong in [
            Class { objects: 257, ..class },
            Class { size: 4092, frames: 8, objects: 8, ..class },
            Class { size: HEADER_BYTES, ..class },
        ] {
            assert!(check(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn pieces_are_the_bytes_in_order() {
        for at in (0..3 * FRAME_BYTES).step_by(7) {
            for len in [1, 2, 100, 2048, 4095, FRAME_BYTES] {
                let (first, rest) = extents(at, len);
                let start = first.frame * FRAME_BYTES + first.range.start;
                assert_eq!(start, at);
                let mut end = start + first.range.len();
                if let Some(rest) = rest {
                    assert_eq!((rest.frame * FRAME_BYTES, rest.range.start), (end, 0));
                    end += rest.range.len();
                }
                assert_eq!(end, at + len);
            }
        }
    }
}
