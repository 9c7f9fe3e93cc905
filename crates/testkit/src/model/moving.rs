//! [`Checked`] for migration, contiguous ranges and eviction.

use std::panic::{self, AssertUnwindSafe};

use pagefold_pool::{
    Busy, ContiguousError, ContiguousRange, Handle, MigrateError, NotEvicted, ReclaimError,
    Reclaimed,
};

use super::{Checked, Mismatch, agree};
use crate::{corpus::PAGE_BYTES, pattern::Pattern};

/// An evictor's action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eviction {
    /// Frees the victim.
    Free,
    /// Refuses.
    Refuse,
    /// Panics silently.
    Panic,
}

/// The payload of a planned panic.
struct Planned;

/// A contiguous range filled with a pattern.
pub struct HeldRange<'p> {
    range: ContiguousRange<'p>,
    pattern: Pattern,
}

impl<'p> Checked<'p> {
    /// Migrates an object's frames; only statistics of moving may change.
    ///
    /// # Errors
    /// [`Mismatch`]. The caller checks refusals for open reads: a write may have moved the object.
    pub fn migrate(&mut self, handle: Handle) -> Result<Result<usize, MigrateError>, Mismatch> {
        let before = self.pool.stats();
        let answer = self.pool.migrate(handle);
        let after = self.pool.stats();
        let refused = match answer {
            Err(MigrateError::Handle(error)) => Some(error),
            // The pool ignores the handle.
            Err(MigrateError::Unsupported) => return Ok(answer),
            _ => None,
        };
        self.compare_liveness("migrate", handle, refused)?;
        let copied = after.migration.bytes_copied.checked_sub(before.migration.bytes_copied);
        let said = answer.unwrap_or(0);
        agree!(
            copied == Some(said as u64) && said.is_multiple_of(PAGE_BYTES),
            "migrate of {handle:?} gave {answer:?}, and {copied:?} bytes were copied"
        );
        match answer {
            // An object in several frames may move in part.
            Ok(bytes) => {
                agree!(bytes > 0, "migrate of {handle:?} moved nothing and says that it did");
            }
            Err(MigrateError::Busy(Busy::Locked)) => agree!(
                self.open_reads > 0,
                "migrate of {handle:?} finds it locked although no read is open"
            ),
            Err(_) => {}
        }
        let same = [
            (before.objects, after.objects),
            (before.payload_bytes, after.payload_bytes),
            (before.frame_bytes, after.frame_bytes),
            (before.contiguous_bytes, after.contiguous_bytes),
            (before.lists_in_use, after.lists_in_use),
        ];
        agree!(
            same.iter().all(|(before, after)| before == after),
            "migrate changed the accounts from {before:?} to {after:?}"
        );
        if self.model.get(handle).is_some() {
            _ = self.read(handle)?;
        }
        self.check_depth()?;
        Ok(answer)
    }

    /// Allocates, fills, checks and drops a range, with `inside` before the check.
    ///
    /// # Errors
    /// [`Mismatch`], also from `inside`.
    pub fn alloc_contiguous(
        &mut self,
        frames: usize,
        align: usize,
        inside: &mut dyn FnMut(&mut Self) -> Result<(), Mismatch>,
    ) -> Result<Result<(), ContiguousError>, Mismatch> {
        let held = match self.hold_contiguous(frames, align)? {
            Ok(held) => held,
            Err(error) => return Ok(Err(error)),
        };
        let outcome = inside(self);
        self.drop_contiguous(held)?;
        outcome?;
        Ok(Ok(()))
    }

    /// Allocates and fills a range.
    ///
    /// # Errors
    /// [`Mismatch`].
    pub fn hold_contiguous(
        &mut self,
        frames: usize,
        align: usize,
    ) -> Result<Result<HeldRange<'p>, ContiguousError>, Mismatch> {
        let before = self.pool.stats();
        let mut range = match self.pool.alloc_contiguous(frames, align) {
            Ok(range) => range,
            Err(error) => {
                self.check_refusal(frames, align, &error)?;
                self.check_depth()?;
                return Ok(Err(error));
            }
        };
        check_range(&range, frames, align)?;
        let made = self.pool.stats().migration.contiguous_allocs;
        agree!(
            Some(made) == before.migration.contiguous_allocs.checked_add(1),
            "a range was allocated, and stats() counts {made}"
        );
        self.contiguous += (frames * PAGE_BYTES) as u64;
        self.check_depth()?;
        let pattern = Pattern::new(frames as u64, align as u64, self.contiguous);
        pattern.fill(range.as_mut_slice());
        Ok(Ok(HeldRange { range, pattern }))
    }

    /// Checks and drops a range.
    ///
    /// # Errors
    /// [`Mismatch`].
    pub fn drop_contiguous(&mut self, held: HeldRange<'p>) -> Result<(), Mismatch> {
        let HeldRange { range, pattern } = held;
        let (frames, bytes) = (range.frames(), range.as_slice().len() as u64);
        let intact = pattern.check(pagefold_pool::Slices::new(&[range.as_slice()]));
        drop(range);
        self.contiguous -= bytes;
        agree!(intact.is_ok(), "a contiguous range of {frames} frames was written to: {intact:?}");
        self.check_depth()
    }

    fn check_refusal(
        &self,
        frames: usize,
        align: usize,
        error: &ContiguousError,
    ) -> Result<(), Mismatch> {
        let limit_now = usize::try_from(self.pool.stats().limit_bytes).unwrap_or(usize::MAX);
        let right = match error {
            ContiguousError::NoFrames => frames == 0,
            ContiguousError::Misaligned { align: said } => {
                frames > 0 && *said == align && !align.is_power_of_two()
            }
            ContiguousError::TooLarge { frames: said, align: aligned, capacity } => {
                (*said, *aligned) == (frames, align) && (frames > *capacity || align > 1)
            }
            ContiguousError::OutOfMemory { frames: said, limit } => {
                (*said, *limit) == (frames, limit_now / PAGE_BYTES)
            }
            // Contiguous ranges, open reads, and pinned pages.
            ContiguousError::Blocked { frames: said, blockers } => {
                *said == frames && !blockers.is_empty()
            }
            ContiguousError::Unsupported => true,
            _ => false,
        };
        let well_formed = frames > 0 && align.is_power_of_two();
        let shape = matches!(error, ContiguousError::NoFrames | ContiguousError::Misaligned { .. });
        agree!(
            right && (well_formed || shape || *error == ContiguousError::Unsupported),
            "a range of {frames} frames aligned to {align}: {error:?}"
        );
        Ok(())
    }

    /// Reclaims; `decide` chooses each victim's fate and may use the pool.
    ///
    /// # Errors
    /// [`Mismatch`], also from `decide` and for [`Eviction::Panic`].
    pub fn reclaim(
        &mut self,
        retries: u32,
        decide: &mut dyn FnMut(&mut Self, Handle) -> Result<Eviction, Mismatch>,
    ) -> Result<Result<Reclaimed, ReclaimError>, Mismatch> {
        let answer = self.reclaim_with_panics(retries, decide)?;
        answer.ok_or_else(|| Mismatch("the evictor panicked, as it was told to".to_owned()))
    }

    /// As [`reclaim`](Self::reclaim); `None` after an [`Eviction::Panic`].
    ///
    /// # Errors
    /// [`Mismatch`], also from `decide`.
    pub fn reclaim_with_panics(
        &mut self,
        retries: u32,
        decide: &mut dyn FnMut(&mut Self, Handle) -> Result<Eviction, Mismatch>,
    ) -> Result<Option<Result<Reclaimed, ReclaimError>>, Mismatch> {
        let pool = self.pool;
        let before = pool.stats();
        let (mut victims, mut refused) = (0_u32, 0_u32);
        let mut outcome = Ok(());
        let mut evict = |victim| {
            victims += 1;
            let eviction = outcome
                .clone()
                .and_then(|()| self.evict(victim, decide))
                .inspect_err(|mismatch| outcome = Err(mismatch.clone()));
            match eviction {
                Ok(Eviction::Free) => Ok(()),
                // Without the hook that prints it.
                Ok(Eviction::Panic) => panic::resume_unwind(Box::new(Planned)),
                _ => {
                    refused += 1;
                    Err(NotEvicted)
                }
            }
        };
        let call = AssertUnwindSafe(|| pool.reclaim(retries, &mut evict));
        let answer = match panic::catch_unwind(call) {
            Ok(answer) => answer,
            Err(payload) if payload.is::<Planned>() => {
                self.check_depth()?;
                return Ok(None);
            }
            Err(payload) => panic::resume_unwind(payload),
        };
        outcome?;
        let right = match answer {
            Ok(Reclaimed { frames, kept, .. }) => frames > 0 && kept < retries,
            Err(ReclaimError::Again { tried }) => tried <= retries && (refused > 0 || tried == 0),
            Err(ReclaimError::NothingToReclaim) => victims == 0 && before.objects == 0,
            Err(ReclaimError::Unsupported) => victims == 0,
        };
        agree!(
            right,
            "reclaim with {retries} retries gave {answer:?}; of {victims} victims {refused} stayed; before: {before:?}"
        );
        self.check_depth()?;
        Ok(Some(answer))
    }

    fn evict(
        &mut self,
        victim: Handle,
        decide: &mut dyn FnMut(&mut Self, Handle) -> Result<Eviction, Mismatch>,
    ) -> Result<Eviction, Mismatch> {
        // With one thread, only `decide` frees after a victim's choice.
        let known = self.model.get(victim).is_some() || self.model.buried.contains(&victim);
        agree!(known, "the victim {victim:?} was never given out");
        let eviction = decide(self, victim)?;
        if eviction == Eviction::Free {
            _ = self.free(victim)?;
        }
        Ok(eviction)
    }
}

fn check_range(range: &ContiguousRange<'_>, frames: usize, align: usize) -> Result<(), Mismatch> {
    let bytes = range.as_slice();
    agree!(
        frames > 0 && range.frames() == frames && bytes.len() == frames * PAGE_BYTES,
        "a range of {frames} frames gave {} frames and {} bytes",
        range.frames(),
        bytes.len()
    );
    agree!(align.is_power_of_two(), "a range aligned to {align} frames was made");
    let address = bytes.as_ptr().addr();
    agree!(
        (address / PAGE_BYTES).is_multiple_of(align) && address.is_multiple_of(PAGE_BYTES),
        "a range aligned to {align} frames begins {} frames from there",
        address / PAGE_BYTES % align
    );
    let dirty = bytes.iter().position(|byte| *byte != 0);
    agree!(dirty.is_none(), "a contiguous range of {frames} frames is not zero at {dirty:?}");
    Ok(())
}
