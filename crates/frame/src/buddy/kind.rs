//! What a pageblock is used for.

use crate::{FrameCount, Mobility};

/// What a pageblock is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    MovableSingle,
    MovableRun,
    PinnedSingle,
    PinnedRun,
}

/// The kinds whose pageblocks can be evacuated.
pub(crate) const MOVABLE_KINDS: [Kind; 2] = [Kind::MovableRun, Kind::MovableSingle];

impl Kind {
    /// The kind of pageblocks that runs of this length come from.
    pub(crate) fn of(mobility: Mobility, frames: FrameCount) -> Self {
        match (mobility, frames) {
            (Mobility::Movable, FrameCount::ONE) => Self::MovableSingle,
            (Mobility::Movable, _) => Self::MovableRun,
            (Mobility::Pinned, FrameCount::ONE) => Self::PinnedSingle,
            (Mobility::Pinned, _) => Self::PinnedRun,
        }
    }
}
