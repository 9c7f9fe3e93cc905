//! Frames, counts and runs, as distinct types.

/// Bytes in a frame, whatever the system's page size.
pub const FRAME_BYTES: usize = 4096;
/// Frames in a pageblock (2 MiB): the grain of an arena's growth.
pub const PAGEBLOCK_FRAMES: u32 = 512;
pub(crate) const PAGEBLOCK_ORDER: u32 = 9;

/// The number of a frame in its arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameNo(pub(crate) u32);

impl FrameNo {
    /// The byte offset in its arena.
    #[inline]
    pub fn byte_offset(self) -> usize {
        self.0 as usize * FRAME_BYTES
    }

    /// The number, for messages.
    pub fn get(self) -> u32 {
        self.0
    }

    pub(crate) fn pageblock(self) -> u32 {
        self.0 / PAGEBLOCK_FRAMES
    }

    pub(crate) fn in_pageblock(self) -> u32 {
        self.0 % PAGEBLOCK_FRAMES
    }
}

/// A number of frames, at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameCount(u32);

impl FrameCount {
    /// The longest run of a descriptor (256 KiB): six bits of its state word.
    pub const MAX: Self = Self(64);
    /// One frame.
    pub const ONE: Self = Self(1);

    /// A count of `frames`.
    ///
    /// # Panics
    /// If it is 0 or above [`MAX`](Self::MAX).
    #[inline]
    pub const fn new(frames: u32) -> Self {
        assert!(frames >= 1 && frames <= Self::MAX.0, "a run has 1 to 64 frames");
        Self(frames)
    }

    /// The count as an integer.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The bytes of these frames.
    #[inline]
    pub const fn bytes(self) -> usize {
        self.0 as usize * FRAME_BYTES
    }

    pub(crate) fn order(self) -> u32 {
        self.0.next_power_of_two().trailing_zeros()
    }
}

/// The frames for `bytes` bytes.
///
/// # Panics
/// If that is 0, or more than [`FrameCount::MAX`].
pub fn frames_for(bytes: usize) -> FrameCount {
    FrameCount::new(u32::try_from(bytes.div_ceil(FRAME_BYTES)).unwrap_or(u32::MAX))
}

/// A run of neighbouring frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRange {
    /// The first frame.
    pub start: FrameNo,
    /// The number of frames.
    pub frames: FrameCount,
}

impl FrameRange {
    /// Whether the run has this frame.
    pub fn contains(self, frame: FrameNo) -> bool {
        self.range().contains(&frame.0)
    }

    pub(crate) fn range(self) -> std::ops::Range<u32> {
        self.start.0..self.start.0 + self.frames.get()
    }
}

/// The parts of a range, by pageblock.
pub(crate) fn by_pageblock(
    range: &std::ops::Range<u32>,
) -> impl Iterator<Item = BlockPart> + use<> {
    let (mut at, end) = (range.start, range.end);
    std::iter::from_fn(move || {
        (at < end).then(|| {
            let (pageblock, first) = (at / PAGEBLOCK_FRAMES, at % PAGEBLOCK_FRAMES);
            let frames = (PAGEBLOCK_FRAMES - first).min(end - at);
            at += frames;
            BlockPart { pageblock, first, frames }
        })
    })
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockPart {
    pub(crate) pageblock: u32,
    /// The first, within the pageblock.
    pub(crate) first: u32,
    pub(crate) frames: u32,
}

impl BlockPart {
    pub(crate) fn start(self) -> FrameNo {
        FrameNo(self.pageblock * PAGEBLOCK_FRAMES + self.first)
    }
}
