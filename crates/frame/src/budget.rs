//! The hard limit: every page that may be resident is charged before it is touched.
//!
//! Frames (allocated, cached, or free but not yet given back) and pages of tables are charged in the same unit, so
//! the limit counts everything. The last [`reserve`](Memory::reserve) frames of the limit are kept for work that
//! must go on when everything is full (compaction, overwriting); see [`Claim`].

use pagefold_sys::sync::{AtomicUsize, Ordering};
use thiserror::Error;

use crate::{FRAME_BYTES, FrameSource};

/// No memory within the limit, or none from the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no frames left within the limit")]
pub struct OutOfFrames;

/// Which part of the limit a charge may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Everything but the reserve.
    Normal,
    /// The reserve as well: for work that gives back more than it takes.
    Reserve,
}

/// A source of memory and the account of what was taken from it. Shared by an arena and the tables beside it.
///
/// # Invariants
/// `used <= limit` at any time, except while [`set_limit`](Memory::set_limit) shrinks (I-LIMIT).
#[derive(Debug)]
pub struct Memory {
    source: Box<dyn FrameSource>,
    used: AtomicUsize,
    limit: AtomicUsize,
    metadata: AtomicUsize,
    reserve: AtomicUsize,
}

impl Memory {
    /// An empty account of `limit` frames with `source`.
    pub fn new(source: Box<dyn FrameSource>, limit: usize) -> Self {
        Self {
            source,
            used: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
            metadata: AtomicUsize::new(0),
            reserve: AtomicUsize::new(0),
        }
    }

    pub(crate) fn source(&self) -> &dyn FrameSource {
        &*self.source
    }

    /// The address space, in bytes, that an arena with this limit should reserve from this source.
    pub fn address_space(&self, limit_bytes: usize) -> usize {
        self.source.address_space(limit_bytes)
    }

    // ORDERING (this module): Relaxed throughout. The counters carry no other memory with them: whoever is charged
    // touches memory that the allocator's own lock hands over. Atomicity alone keeps the sum within the limit.

    /// Charges `frames`, or changes nothing.
    pub(crate) fn charge(&self, frames: usize, claim: Claim) -> Result<(), OutOfFrames> {
        let reserve = match claim {
            Claim::Normal => self.reserve.load(Ordering::Relaxed),
            Claim::Reserve => 0,
        };
        let ceiling = self.limit.load(Ordering::Relaxed).saturating_sub(reserve);
        let charged = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            let after = used + frames;
            (after <= ceiling).then_some(after)
        });
        charged.map(drop).map_err(|_| OutOfFrames)
    }

    /// Gives a charge back.
    pub(crate) fn uncharge(&self, frames: usize) {
        let before = self.used.fetch_sub(frames, Ordering::Relaxed);
        assert!(before >= frames, "more frames given back than were charged");
    }

    /// Charges pages of tables and the like; asks the source first.
    #[cfg_attr(loom, expect(dead_code, reason = "tables of a model are not charged"))]
    pub(crate) fn charge_metadata(&self, frames: usize, claim: Claim) -> Result<(), OutOfFrames> {
        self.source.grant().map_err(|_| OutOfFrames)?;
        self.charge(frames, claim)?;
        self.metadata.fetch_add(frames, Ordering::Relaxed);
        Ok(())
    }

    #[cfg_attr(loom, expect(dead_code, reason = "tables of a model are not charged"))]
    pub(crate) fn uncharge_metadata(&self, frames: usize) {
        self.metadata.fetch_sub(frames, Ordering::Relaxed);
        self.uncharge(frames);
    }

    /// Charges bytes that live outside of the source for as long as the pool does (its fixed structures).
    ///
    /// # Errors
    /// [`OutOfFrames`] when they do not fit the limit.
    pub fn charge_fixed(&self, bytes: usize) -> Result<(), OutOfFrames> {
        let frames = bytes.div_ceil(FRAME_BYTES);
        self.charge(frames, Claim::Reserve)?;
        self.metadata.fetch_add(frames, Ordering::Relaxed);
        Ok(())
    }

    /// Sets how many frames of the limit only [`Claim::Reserve`] may use.
    pub fn set_reserve(&self, frames: usize) {
        self.reserve.store(frames, Ordering::Relaxed);
    }

    /// The frames that only [`Claim::Reserve`] may use.
    pub fn reserve(&self) -> usize {
        self.reserve.load(Ordering::Relaxed)
    }

    /// Frames charged: all that may be resident.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// The part of [`used`](Self::used) that is tables and fixed structures, in frames.
    pub fn metadata(&self) -> usize {
        self.metadata.load(Ordering::Relaxed)
    }

    /// The limit in frames.
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Puts a new limit in force for charges from now on and returns the old one. The caller shrinks.
    pub fn set_limit(&self, frames: usize) -> usize {
        self.limit.swap(frames, Ordering::Relaxed)
    }

    /// Frames that [`Claim::Normal`] could still charge.
    pub fn headroom(&self) -> usize {
        self.limit().saturating_sub(self.reserve()).saturating_sub(self.used())
    }
}
