//! A contiguous range in use.

use std::ops::Range;

use pagefold_sys::sync::Ordering;

use crate::{Arena, FRAME_BYTES, FrameNo};

/// Neighbouring frames for one owner, charged to their arena, freed on drop.
#[derive(Debug)]
pub struct ContiguousRange<'a> {
    pub(super) arena: &'a Arena,
    pub(super) start: FrameNo,
    pub(super) frames: u32,
}

impl ContiguousRange<'_> {
    /// The first frame.
    pub fn start(&self) -> FrameNo {
        self.start
    }

    /// The number of frames.
    pub fn frames(&self) -> usize {
        self.frames as usize
    }

    /// The bytes; zero until written.
    pub fn as_slice(&self) -> &[u8] {
        let base = self.arena.reservation.at(self.start.byte_offset());
        // SAFETY: committed, initialised memory of this range alone, written only through `&mut self`.
        unsafe { std::slice::from_raw_parts(base.as_ptr(), self.frames() * FRAME_BYTES) }
    }

    /// The bytes, writable.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        let base = self.arena.reservation.at(self.start.byte_offset());
        // SAFETY: as in `as_slice`; `&mut self` makes this the only reference.
        unsafe { std::slice::from_raw_parts_mut(base.as_ptr(), self.frames() * FRAME_BYTES) }
    }

    fn range(&self) -> Range<u32> {
        self.start.0..self.start.0 + self.frames
    }
}

impl Drop for ContiguousRange<'_> {
    fn drop(&mut self) {
        let range = self.range();
        self.arena.set_owner(range.clone(), 0);
        // ORDERING: Relaxed; a statistic.
        self.arena.contiguous.fetch_sub(self.frames(), Ordering::Relaxed);
        self.arena.buddy.lock().put_contiguous(&range);
        self.arena.give_back_entirely_free();
    }
}
