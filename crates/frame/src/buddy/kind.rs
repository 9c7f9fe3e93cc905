//! What a pageblock is used for.

use crate::{FrameCount, Mobility};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PageblockKind {
    MovableSingle,
    MovableRun,
    PinnedSingle,
    PinnedRun,
}

/// Kinds that can be evacuated.
pub(crate) const MOVABLE_KINDS: [PageblockKind; 2] =
    [PageblockKind::MovableRun, PageblockKind::MovableSingle];

impl PageblockKind {
    /// The kind for runs of this length.
    pub(crate) fn of(mobility: Mobility, frames: FrameCount) -> Self {
        match (mobility, frames) {
            (Mobility::Movable, FrameCount::ONE) => Self::MovableSingle,
            (Mobility::Movable, _) => Self::MovableRun,
            (Mobility::Pinned, FrameCount::ONE) => Self::PinnedSingle,
            (Mobility::Pinned, _) => Self::PinnedRun,
        }
    }
}
