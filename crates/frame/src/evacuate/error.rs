//! The error of contiguous allocation.

use thiserror::Error;

use crate::Blocker;

/// Why no contiguous range was allocated. Contents and accounts are unchanged; table pages may be in use, and runs may
/// have moved.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ContiguousError {
    /// A range has at least one frame.
    #[error("a range of 0 frames is not possible")]
    NoFrames,
    /// Alignments are powers of two.
    #[error("an alignment of {align} frames is not possible; it must be a power of two")]
    Misaligned {
        /// In frames.
        align: usize,
    },
    /// Too many frames, or no range is so aligned.
    #[error("{frames} frames aligned to {align} do not fit an arena of {capacity} frames")]
    TooLarge {
        /// Frames asked for.
        frames: usize,
        /// In frames.
        align: usize,
        /// Frames of the arena.
        capacity: usize,
    },
    /// No room in the limit or the arena.
    #[error(
        "there is no room for {frames} contiguous frames beside what is stored (the limit is {limit} frames); free objects or raise the limit"
    )]
    OutOfMemory {
        /// Frames asked for.
        frames: usize,
        /// In frames.
        limit: usize,
    },
    /// A run in every range tried does not move.
    #[error("no range of {frames} frames could be evacuated; in the way were {}", named(.blockers))]
    Blocked {
        /// Frames asked for.
        frames: usize,
        /// The first blockers of the cheapest range.
        blockers: Vec<Blocker>,
    },
    /// This pool has no frames.
    #[error("this pool has no frames to allocate a range of")]
    Unsupported,
}

fn named(blockers: &[Blocker]) -> String {
    let names: Vec<_> = blockers.iter().map(Blocker::to_string).collect();
    names.join("; ")
}
