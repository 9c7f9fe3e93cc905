//! The hard limit: every page that may be resident is charged before it is touched.
//!
//! Its last frames are the [`reserve`](MemoryBudget::reserve), for compaction, and before it the
//! [`overwrite_reserve`](MemoryBudget::overwrite_reserve).

use std::sync::Arc;

use pagefold_sys::sync::{AtomicU64, AtomicUsize, Ordering};
use thiserror::Error;

use crate::{FRAME_BYTES, FrameSource};

/// No memory within the limit or from the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no frames left within the limit")]
pub struct OutOfFrames;

/// The part of the limit that a charge may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReserveAccess {
    /// Neither reserve.
    Normal,
    /// Also the [overwrite reserve](MemoryBudget::overwrite_reserve): the old content is freed next.
    Overwrite,
    /// Both: for work that gives back more than it takes.
    Reserve,
}

/// A memory source and its account.
///
/// # Invariants
/// `used <= limit` (I-LIMIT): one word holds both.
#[derive(Debug)]
pub struct MemoryBudget {
    source: Box<dyn FrameSource>,
    /// Frames used (bits 0..32), limit (32..64).
    account: AtomicU64,
    metadata: AtomicUsize,
    reserve: AtomicUsize,
    overwrite_reserve: AtomicUsize,
}

const FRAMES_MAX: usize = u32::MAX as usize;
const LIMIT_SHIFT: u32 = 32;

#[expect(clippy::cast_possible_truncation, reason = "each half is 32 bits")]
fn split(account: u64) -> (usize, usize) {
    ((account & u64::from(u32::MAX)) as usize, (account >> LIMIT_SHIFT) as usize)
}

impl MemoryBudget {
    /// An empty account of `limit` frames, at most 2^32 - 1 (16 TiB).
    pub fn new(source: Box<dyn FrameSource>, limit: usize) -> Self {
        Self {
            source,
            account: AtomicU64::new((limit.min(FRAMES_MAX) as u64) << LIMIT_SHIFT),
            metadata: AtomicUsize::new(0),
            reserve: AtomicUsize::new(0),
            overwrite_reserve: AtomicUsize::new(0),
        }
    }

    pub(crate) fn source(&self) -> &dyn FrameSource {
        &*self.source
    }

    #[cfg_attr(
        not(feature = "fault-injection"),
        expect(clippy::unused_self, reason = "nothing is injected")
    )]
    #[inline]
    pub(crate) fn injected_failure(&self) -> Result<(), OutOfFrames> {
        #[cfg(feature = "fault-injection")]
        if self.source.injects_failure() {
            return Err(OutOfFrames);
        }
        Ok(())
    }

    /// Address space for an arena with this limit.
    pub fn address_space(&self, limit_bytes: usize) -> usize {
        self.source.address_space(limit_bytes)
    }

    // ORDERING (this module): Relaxed. The allocator's lock, not a counter, publishes memory; atomicity keeps the
    // limit.

    fn ceiling(&self, limit: usize, access: ReserveAccess) -> usize {
        let kept = match access {
            ReserveAccess::Normal => self.reserve() + self.overwrite_reserve(),
            ReserveAccess::Overwrite => self.reserve(),
            ReserveAccess::Reserve => 0,
        };
        limit.saturating_sub(kept)
    }

    pub(crate) fn charge(&self, frames: usize, access: ReserveAccess) -> Result<(), OutOfFrames> {
        let charged = self.account.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |account| {
            let (used, limit) = split(account);
            (used + frames <= self.ceiling(limit, access)).then_some(account + frames as u64)
        });
        charged.map(drop).map_err(|_| OutOfFrames)
    }

    /// Whether this access may use idle frames now.
    pub fn allows(&self, access: ReserveAccess) -> bool {
        self.used() <= self.ceiling(self.limit(), access)
    }

    pub(crate) fn uncharge(&self, frames: usize) {
        let before = self.account.fetch_sub(frames as u64, Ordering::Relaxed);
        assert!(split(before).0 >= frames, "more frames given back than were charged");
    }

    #[cfg_attr(loom, expect(dead_code, reason = "tables of a model are not charged"))]
    pub(crate) fn charge_metadata(
        &self,
        frames: usize,
        access: ReserveAccess,
    ) -> Result<(), OutOfFrames> {
        self.injected_failure()?;
        self.charge(frames, access)?;
        self.metadata.fetch_add(frames, Ordering::Relaxed);
        Ok(())
    }

    #[cfg_attr(loom, expect(dead_code, reason = "tables of a model are not charged"))]
    pub(crate) fn uncharge_metadata(&self, frames: usize) {
        self.metadata.fetch_sub(frames, Ordering::Relaxed);
        self.uncharge(frames);
    }

    /// Charges bytes outside the source for the pool's life.
    ///
    /// # Errors
    /// [`OutOfFrames`] beyond the limit.
    pub fn charge_fixed(&self, bytes: usize) -> Result<(), OutOfFrames> {
        let frames = bytes.div_ceil(FRAME_BYTES);
        self.charge(frames, ReserveAccess::Reserve)?;
        self.metadata.fetch_add(frames, Ordering::Relaxed);
        Ok(())
    }

    /// Charges bytes outside the source until the charge drops.
    ///
    /// # Errors
    /// [`OutOfFrames`] beyond the limit less both reserves.
    pub fn charge_beside(self: &Arc<Self>, bytes: usize) -> Result<Charge, OutOfFrames> {
        let frames = bytes.div_ceil(FRAME_BYTES);
        self.charge(frames, ReserveAccess::Normal)?;
        self.metadata.fetch_add(frames, Ordering::Relaxed);
        Ok(Charge { memory: Arc::clone(self), frames })
    }

    /// Sets the [`reserve`](Self::reserve).
    pub fn set_reserve(&self, frames: usize) {
        self.reserve.store(frames, Ordering::Relaxed);
    }

    /// Frames only [`ReserveAccess::Reserve`] may use.
    pub fn reserve(&self) -> usize {
        self.reserve.load(Ordering::Relaxed)
    }

    /// Sets the [`overwrite_reserve`](Self::overwrite_reserve). It is not charged: what an overwrite takes, normal
    /// charges lack until it is given back.
    pub fn set_overwrite_reserve(&self, frames: usize) {
        self.overwrite_reserve.store(frames, Ordering::Relaxed);
    }

    /// Frames before the reserve, closed to [`ReserveAccess::Normal`].
    pub fn overwrite_reserve(&self) -> usize {
        self.overwrite_reserve.load(Ordering::Relaxed)
    }

    /// The limit of normal charges.
    pub fn normal_limit(&self) -> usize {
        self.ceiling(self.limit(), ReserveAccess::Normal)
    }

    /// Charged frames.
    pub fn used(&self) -> usize {
        split(self.account.load(Ordering::Relaxed)).0
    }

    /// Frames of [`used`](Self::used) in tables and fixed structures.
    pub fn metadata(&self) -> usize {
        self.metadata.load(Ordering::Relaxed)
    }

    /// The limit in frames.
    pub fn limit(&self) -> usize {
        split(self.account.load(Ordering::Relaxed)).1
    }

    /// Sets the limit.
    ///
    /// # Errors
    /// The frames in use, if more; the old limit stays.
    pub fn set_limit(&self, frames: usize) -> Result<(), usize> {
        let limit = frames.min(FRAMES_MAX);
        let set = self.account.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |account| {
            let used = split(account).0;
            (used <= limit).then_some((limit as u64) << LIMIT_SHIFT | used as u64)
        });
        set.map(drop).map_err(|account| split(account).0)
    }
}

/// Bytes charged until drop.
#[derive(Debug)]
#[must_use = "the charge ends when it is dropped"]
pub struct Charge {
    memory: Arc<MemoryBudget>,
    frames: usize,
}

impl Charge {
    /// The charge in bytes.
    pub fn bytes(&self) -> usize {
        self.frames * FRAME_BYTES
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        // ORDERING: Relaxed; see above.
        self.memory.metadata.fetch_sub(self.frames, Ordering::Relaxed);
        self.memory.uncharge(self.frames);
    }
}
