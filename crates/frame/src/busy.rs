//! Why frames stay where they are.

use std::fmt;

use thiserror::Error;

use crate::{FrameNo, FrameOwner, OutOfFrames};

/// What keeps frames where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum Busy {
    /// A guard locks the descriptor.
    #[error("a reader or a writer has them locked")]
    Locked,
    /// Another thread is moving them.
    #[error("another thread is moving them")]
    Isolated,
    /// Their descriptors do not move.
    #[error("they are pinned")]
    Pinned,
    /// They are in a contiguous range in use.
    #[error("they are part of a contiguous range")]
    Contiguous,
    /// They are between owners, or going to the system.
    #[error("they are between two owners")]
    InTransit,
}

/// Why a run stayed. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FrameMigrateError {
    /// No descriptor lives under this id, or it is dying.
    #[error("the descriptor is gone")]
    Gone,
    /// Something keeps the frames where they are.
    #[error("the frames are busy: {0}")]
    Busy(Busy),
    /// No destination within the limit.
    #[error(transparent)]
    OutOfFrames(#[from] OutOfFrames),
}

/// A run that stayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Blocker {
    /// Its first frame in the range.
    pub frame: FrameNo,
    /// The owning descriptor, if any.
    pub owner: Option<FrameOwner>,
    /// Why it stayed.
    pub busy: Busy,
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "frame {}", self.frame.get())?;
        if let Some(owner) = self.owner {
            write!(f, " (descriptor {})", owner.id.get())?;
        }
        write!(f, ": {}", self.busy)
    }
}
