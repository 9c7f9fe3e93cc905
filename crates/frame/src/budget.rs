//! The hard limit: every page that may be resident is charged before it is touched.
//!
//! Frames (allocated, cached, or free but resident) and pages of tables are charged in the same unit. The last frames
//! of the limit are kept for work that must go on when memory is full: the [`reserve`](MemoryBudget::reserve) for
//! compaction, and before it the [`overwrite_reserve`](MemoryBudget::overwrite_reserve); see [`ReserveAccess`].

use std::sync::Arc;

use pagefold_sys::sync::{AtomicU64, AtomicUsize, Ordering};
use thiserror::Error;

use crate::{FRAME_BYTES, FrameSource};

/// No memory within the limit, or none from the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no frames left within the limit")]
pub struct OutOfFrames;

/// Which part of the limit a charge may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReserveAccess {
    /// Everything but the two reserves.
    Normal,
    /// Also the [overwrite reserve](MemoryBudget::overwrite_reserve): for new content whose predecessor is freed next.
    Overwrite,
    /// Both reserves: for work that gives back more than it takes, such as compaction.
    Reserve,
}

/// A source of memory and the account of what was taken from it. Shared by an arena and the tables beside it.
///
/// # Invariants
/// `used <= limit` at any time (I-LIMIT): both lie in one word, so no charge can slip past a limit that is lowered.
#[derive(Debug)]
pub struct MemoryBudget {
    source: Box<dyn FrameSource>,
    /// Frames used (bits 0..32) and the limit in frames (32..64).
    account: AtomicU64,
    metadata: AtomicUsize,
    reserve: AtomicUsize,
    overwrite_reserve: AtomicUsize,
}

/// The largest limit in frames: half of the account's word.
const FRAMES_MAX: usize = u32::MAX as usize;
const LIMIT_SHIFT: u32 = 32;

#[expect(clippy::cast_possible_truncation, reason = "each half is 32 bits")]
fn split(account: u64) -> (usize, usize) {
    ((account & u64::from(u32::MAX)) as usize, (account >> LIMIT_SHIFT) as usize)
}

impl MemoryBudget {
    /// An empty account of `limit` frames with `source`. More than 2^32 - 1 frames (16 TiB) count as that many.
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

    /// Fails where a test injects a failure.
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

    /// The address space, in bytes, that an arena with this limit should reserve from this source.
    pub fn address_space(&self, limit_bytes: usize) -> usize {
        self.source.address_space(limit_bytes)
    }

    // ORDERING (this module): Relaxed throughout. The counters carry no other memory with them: a thread that is charged
    // touches memory that the allocator's own lock hands over. Atomicity alone keeps the sum within the limit.

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

    /// Whether the charges so far fit this access, so that idle frames may be taken.
    pub fn allows(&self, access: ReserveAccess) -> bool {
        self.used() <= self.ceiling(self.limit(), access)
    }

    pub(crate) fn uncharge(&self, frames: usize) {
        let before = self.account.fetch_sub(frames as u64, Ordering::Relaxed);
        assert!(split(before).0 >= frames, "more frames given back than were charged");
    }

    /// Charges pages of tables and the like.
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

    /// Charges bytes outside of the source, for the life of the pool (its fixed structures).
    ///
    /// # Errors
    /// [`OutOfFrames`] when they do not fit the limit.
    pub fn charge_fixed(&self, bytes: usize) -> Result<(), OutOfFrames> {
        let frames = bytes.div_ceil(FRAME_BYTES);
        self.charge(frames, ReserveAccess::Reserve)?;
        self.metadata.fetch_add(frames, Ordering::Relaxed);
        Ok(())
    }

    /// Charges bytes outside of the source until the charge is dropped: structures that come and go beside a pool.
    ///
    /// # Errors
    /// [`OutOfFrames`] when they do not fit the limit less the [`reserve`](Self::reserve).
    pub fn charge_beside(self: &Arc<Self>, bytes: usize) -> Result<Charge, OutOfFrames> {
        let frames = bytes.div_ceil(FRAME_BYTES);
        self.charge(frames, ReserveAccess::Normal)?;
        self.metadata.fetch_add(frames, Ordering::Relaxed);
        Ok(Charge { memory: Arc::clone(self), frames })
    }

    /// Sets how many frames of the limit only [`ReserveAccess::Reserve`] may use.
    pub fn set_reserve(&self, frames: usize) {
        self.reserve.store(frames, Ordering::Relaxed);
    }

    /// The frames that only [`ReserveAccess::Reserve`] may use.
    pub fn reserve(&self) -> usize {
        self.reserve.load(Ordering::Relaxed)
    }

    /// Sets how many frames of the limit, before the [`reserve`](Self::reserve), [`ReserveAccess::Normal`] may not use.
    /// They are not charged: frames that an overwrite takes of them are missing to normal charges until it gives them
    /// back.
    pub fn set_overwrite_reserve(&self, frames: usize) {
        self.overwrite_reserve.store(frames, Ordering::Relaxed);
    }

    /// The frames that [`ReserveAccess::Overwrite`] may use and [`ReserveAccess::Normal`] may not.
    pub fn overwrite_reserve(&self) -> usize {
        self.overwrite_reserve.load(Ordering::Relaxed)
    }

    /// The frames that normal charges may fill the account up to.
    pub fn normal_limit(&self) -> usize {
        self.ceiling(self.limit(), ReserveAccess::Normal)
    }

    /// Frames charged: all that may be resident.
    pub fn used(&self) -> usize {
        split(self.account.load(Ordering::Relaxed)).0
    }

    /// The part of [`used`](Self::used) that is tables and fixed structures, in frames.
    pub fn metadata(&self) -> usize {
        self.metadata.load(Ordering::Relaxed)
    }

    /// The limit in frames.
    pub fn limit(&self) -> usize {
        split(self.account.load(Ordering::Relaxed)).1
    }

    /// Sets the limit, if the frames in use fit it.
    ///
    /// # Errors
    /// The frames in use, when they are more; the old limit stays.
    pub fn set_limit(&self, frames: usize) -> Result<(), usize> {
        let limit = frames.min(FRAMES_MAX);
        let set = self.account.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |account| {
            let used = split(account).0;
            (used <= limit).then_some((limit as u64) << LIMIT_SHIFT | used as u64)
        });
        set.map(drop).map_err(|account| split(account).0)
    }
}

/// Bytes charged beside a source, until drop.
#[derive(Debug)]
#[must_use = "the charge ends when it is dropped"]
pub struct Charge {
    memory: Arc<MemoryBudget>,
    frames: usize,
}

impl Charge {
    /// The charge in bytes: whole frames.
    pub fn bytes(&self) -> usize {
        self.frames * FRAME_BYTES
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        // ORDERING: Relaxed, as everywhere in this module.
        self.memory.metadata.fetch_sub(self.frames, Ordering::Relaxed);
        self.memory.uncharge(self.frames);
    }
}
