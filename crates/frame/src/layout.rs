//! The layouts of a descriptor's frames.
//!
//! ```text
//!  Run     state word: first frame, count                            one extent
//!  Chain   state word: first frame, count    further: frames 1..8    an extent each frame
//! ```
//! An *extent* is a run allocated, freed and moved as one. One state word locks a whole chain.
//!
//! # Invariants (I-EXTENT)
//! - A chain's further frames are written before its life begins; later only a mover that isolated and write-locked
//!   the descriptor writes them. They are read under a lock; by that mover before it locks, which then reads them
//!   again; or by the thread that ended the life.

use std::{fmt, marker::PhantomData, sync::atomic::Ordering};

use pagefold_sys::memory::Reservation;

use crate::{FRAME_BYTES, FrameCount, FrameNo, FrameRange, table::GuardedU32};

const FURTHER: usize = Chain::FRAMES_MAX.get() as usize - 1;

/// The layout: [`Run`] or [`Chain`].
pub trait FrameLayout: sealed::Extents {}

/// One run.
#[derive(Debug)]
pub enum Run {}

/// A chain of single frames.
#[derive(Debug)]
pub enum Chain {}

impl Chain {
    /// As many as fit a 64-byte descriptor.
    pub const FRAMES_MAX: FrameCount = FrameCount::new(8);
}

impl FrameLayout for Run {}
impl FrameLayout for Chain {}

/// Sealed: other crates define no layout.
pub(crate) mod sealed {
    use std::fmt::Debug;

    use crate::{FrameCount, FrameNo, FrameRange};

    /// # Safety
    /// Zero bytes are a valid `Further`, which needs no drop.
    pub unsafe trait Extents: Debug + Send + Sync + 'static {
        /// All extents after the first.
        type Further: Debug + Default + Send + Sync;

        const FRAMES_MAX: FrameCount;

        /// All of equal length.
        fn extents(frames: FrameCount) -> u32;

        fn extent(further: &Self::Further, whole: FrameRange, number: u32) -> FrameRange;

        fn put(further: &Self::Further, number: u32, start: FrameNo);
    }
}

// SAFETY: `()` has no bytes.
unsafe impl sealed::Extents for Run {
    type Further = ();

    const FRAMES_MAX: FrameCount = FrameCount::MAX;

    fn extents(_frames: FrameCount) -> u32 {
        1
    }

    #[inline]
    fn extent((): &(), whole: FrameRange, _number: u32) -> FrameRange {
        whole
    }

    fn put((): &(), _number: u32, _start: FrameNo) {
        unreachable!("a run has one extent, and its place is in the state word");
    }
}

// SAFETY: an array of integers.
unsafe impl sealed::Extents for Chain {
    type Further = [GuardedU32; FURTHER];

    const FRAMES_MAX: FrameCount = Self::FRAMES_MAX;

    fn extents(frames: FrameCount) -> u32 {
        frames.get()
    }

    #[inline]
    fn extent(further: &Self::Further, whole: FrameRange, number: u32) -> FrameRange {
        let start = match number {
            0 => whole.start,
            // ORDERING: Relaxed; written before this lock, or read again under one. (I-EXTENT)
            _ => FrameNo(further[number as usize - 1].load(Ordering::Relaxed)),
        };
        FrameRange { start, frames: FrameCount::ONE }
    }

    fn put(further: &Self::Further, number: u32, start: FrameNo) {
        // ORDERING: Relaxed; the write unlock's Release publishes it.
        further[number as usize - 1].store(start.0, Ordering::Relaxed);
    }
}

#[derive(Clone, Copy)]
struct ChainFrames<'a> {
    reservation: &'a Reservation,
    further: &'a [GuardedU32; FURTHER],
    whole: FrameRange,
}

impl ChainFrames<'_> {
    #[inline]
    fn base(&self, number: usize) -> *mut u8 {
        assert!(number < self.whole.frames.get() as usize, "a frame of the chain");
        let number = u32::try_from(number).expect("a chain has at most 8 frames");
        let extent = <Chain as sealed::Extents>::extent(self.further, self.whole, number);
        self.reservation.at(extent.start.byte_offset()).as_ptr()
    }
}

/// The bytes of a read-locked chain, by frame.
#[derive(Clone, Copy)]
pub struct ChainBytes<'a>(ChainFrames<'a>);

impl<'a> ChainBytes<'a> {
    /// # Safety
    /// For `'a` the descriptor is locked and no thread writes these frames.
    pub(crate) unsafe fn new(
        reservation: &'a Reservation,
        further: &'a [GuardedU32; FURTHER],
        whole: FrameRange,
    ) -> Self {
        Self(ChainFrames { reservation, further, whole })
    }

    /// The number of frames.
    pub fn frames(&self) -> usize {
        self.0.whole.frames.get() as usize
    }

    /// The bytes of one frame.
    ///
    /// # Panics
    /// If the chain is shorter.
    #[inline]
    pub fn frame(&self, number: usize) -> &'a [u8] {
        let base = self.0.base(number);
        // SAFETY: committed memory of the descriptor's frame; by `new`'s contract no thread writes or moves it.
        unsafe { std::slice::from_raw_parts(base, FRAME_BYTES) }
    }
}

/// The bytes of a write-locked chain, by frame.
pub struct ChainBytesMut<'a> {
    frames: ChainFrames<'a>,
    exclusive: PhantomData<&'a mut [u8]>,
}

impl<'a> ChainBytesMut<'a> {
    /// # Safety
    /// For `'a` the descriptor is locked, and the caller alone accesses these frames.
    pub(crate) unsafe fn new(
        reservation: &'a Reservation,
        further: &'a [GuardedU32; FURTHER],
        whole: FrameRange,
    ) -> Self {
        Self { frames: ChainFrames { reservation, further, whole }, exclusive: PhantomData }
    }

    /// The number of frames.
    pub fn frames(&self) -> usize {
        self.frames.whole.frames.get() as usize
    }

    /// The bytes of one frame.
    ///
    /// # Panics
    /// If the chain is shorter.
    #[inline]
    pub fn frame(&self, number: usize) -> &[u8] {
        let base = self.frames.base(number);
        // SAFETY: committed memory of the descriptor's frame, by `new`'s contract this view's; `&self` excludes
        // `frame_mut`.
        unsafe { std::slice::from_raw_parts(base, FRAME_BYTES) }
    }

    /// The bytes of one frame, writable.
    ///
    /// # Panics
    /// If the chain is shorter.
    #[inline]
    pub fn frame_mut(&mut self, number: usize) -> &mut [u8] {
        let base = self.frames.base(number);
        // SAFETY: as in `frame`; `&mut self` makes this the only reference.
        unsafe { std::slice::from_raw_parts_mut(base, FRAME_BYTES) }
    }
}

impl fmt::Debug for ChainBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChainBytes").field("frames", &self.frames()).finish_non_exhaustive()
    }
}

impl fmt::Debug for ChainBytesMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChainBytesMut").field("frames", &self.frames()).finish_non_exhaustive()
    }
}
