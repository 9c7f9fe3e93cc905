//! A stress thread's migration, contiguous ranges and reclaim.
//!
//! An evictor finds its victim's slot by the handle: exactly one free or eviction must succeed.

use std::panic::{self, AssertUnwindSafe};

use pagefold_pool::{
    ContiguousError, ContiguousRange, Handle, HandleError, MigrateError, NotEvicted, ReclaimError,
    Reclaimed, Slices,
};
use rand::RngExt;

use super::{
    Failure, ensure,
    slots::ObjectSlot,
    worker::{DEPTH_MAX, Worker},
};
use crate::{corpus::PAGE_BYTES, pattern::Pattern};

const RANGES_MAX: usize = 4;
/// For one usual range, shared by the threads.
const RANGE_PART: usize = 64;
const LARGE_RANGE_PART: usize = 8;

/// A range filled with a pattern.
pub(super) struct HeldRange<'a> {
    range: ContiguousRange<'a>,
    pattern: Pattern,
}

/// The payload of a planned panic.
struct Planned;

impl Worker<'_> {
    /// Readers compare the bytes.
    pub(super) fn migrate(&mut self, slot: &ObjectSlot) -> Result<(), Failure> {
        let Some((object, _)) = slot.peek() else { return Ok(()) };
        let answer = self.shared.pool.migrate(object.handle);
        match answer {
            // An object in several frames may move in part.
            Ok(bytes) => ensure!(
                bytes > 0 && bytes.is_multiple_of(PAGE_BYTES),
                "migrating {object:?} moved {bytes} bytes"
            ),
            Err(MigrateError::Busy(_) | MigrateError::OutOfMemory) => {}
            Err(MigrateError::Handle(HandleError::Stale)) => ensure!(
                slot.may_be_stale(object.handle),
                "{object:?} is alive, and migrating it says it is stale"
            ),
            Err(error) => return Err(Failure(format!("migrating {object:?}: {error}"))),
        }
        *if answer.is_ok() { &mut self.tally.migrate } else { &mut self.tally.migrate_refused } +=
            1;
        self.step(12 + u64::from(answer.is_ok()));
        Ok(())
    }

    /// One in 16 is large and freed at once.
    pub(super) fn alloc_contiguous(&mut self) -> Result<(), Failure> {
        let pool = self.shared.pool;
        let limit_frames = self.shared.limit / PAGE_BYTES;
        let large = self.rng.random_ratio(1, 16);
        let most = if large {
            limit_frames / LARGE_RANGE_PART
        } else {
            limit_frames / RANGE_PART / self.shared.plan.threads
        };
        let frames = self.rng.random_range(1..=most.max(1));
        let align = 1_usize << self.rng.random_range(0..=9);
        match pool.alloc_contiguous(frames, align) {
            Ok(mut range) => {
                check_range(&range, frames, align)?;
                let id = self.rng.random();
                let pattern = self.pattern(id, frames as u64);
                pattern.fill(range.as_mut_slice());
                self.ranges.push(HeldRange { range, pattern });
                self.tally.alloc_contiguous += 1;
                self.step(14);
                if large || self.ranges.len() > RANGES_MAX {
                    self.free_contiguous()?;
                }
            }
            Err(ContiguousError::OutOfMemory { .. }) => self.contiguous_refused(),
            Err(ContiguousError::Blocked { blockers, .. }) => {
                ensure!(!blockers.is_empty(), "a range is blocked, and nothing is in the way");
                self.contiguous_refused();
            }
            Err(error) => {
                return Err(Failure(format!(
                    "a range of {frames} frames aligned to {align}: {error}"
                )));
            }
        }
        Ok(())
    }

    fn contiguous_refused(&mut self) {
        self.tally.contiguous_refused += 1;
        self.step(15);
    }

    pub(super) fn free_contiguous(&mut self) -> Result<(), Failure> {
        if self.ranges.is_empty() {
            return Ok(());
        }
        let at = self.rng.random_range(0..self.ranges.len());
        let HeldRange { range, pattern } = self.ranges.swap_remove(at);
        let intact = pattern.check(Slices::new(&[range.as_slice()]));
        ensure!(
            intact.is_ok(),
            "a contiguous range of {} frames from frame {} was written to: {intact:?}",
            range.frames(),
            range.start().get()
        );
        drop(range);
        self.tally.contiguous_freed += 1;
        self.step(16);
        Ok(())
    }

    /// Evictors free, refuse, panic, and use the pool.
    pub(super) fn reclaim(&mut self) -> Result<(), Failure> {
        let pool = self.shared.pool;
        let retries = self.rng.random_range(0..=4);
        let mut failure = None;
        let mut evict = |victim| {
            self.evict(victim).unwrap_or_else(|error| {
                failure.get_or_insert(error);
                Err(NotEvicted)
            })
        };
        let call = AssertUnwindSafe(|| pool.reclaim(retries, &mut evict));
        let outcome = panic::catch_unwind(call);
        if let Some(failure) = failure {
            return Err(failure);
        }
        let answer = match outcome {
            Ok(answer) => answer,
            Err(payload) if payload.is::<Planned>() => return Ok(()),
            Err(payload) => panic::resume_unwind(payload),
        };
        let right = match answer {
            Ok(Reclaimed { frames, kept, .. }) => frames > 0 && kept < retries,
            Err(ReclaimError::Again { tried }) => tried <= retries,
            Err(error) => error == ReclaimError::NothingToReclaim,
        };
        ensure!(right, "reclaim with {retries} retries: {answer:?}");
        *if answer.is_ok() { &mut self.tally.reclaim } else { &mut self.tally.reclaim_refused } +=
            1;
        self.step(17 + u64::from(answer.is_ok()));
        Ok(())
    }

    fn evict(&mut self, victim: Handle) -> Result<Result<(), NotEvicted>, Failure> {
        let shared = self.shared;
        let faults = shared.plan.faults;
        let (refused, panics, lot) =
            (self.rng.random(), self.rng.random(), self.rng.random_range(0..64));
        let slot = shared.directory.find(victim).map(|index| &shared.slots[index]);
        let Some(slot) = slot else {
            // Freed by now, or its store is not yet noted.
            let len = shared.pool.len(victim);
            ensure!(len != Err(HandleError::Foreign), "the victim {victim:?} is foreign");
            return Ok(self.refuse_eviction());
        };
        if faults.evict.happens(refused) {
            self.read(slot)?;
            self.injected.evict += 1;
            return Ok(self.refuse_eviction());
        }
        if faults.evict_panic.happens(panics) {
            self.injected.evict_panic += 1;
            self.step(19);
            // Without the hook that prints it.
            panic::resume_unwind(Box::new(Planned));
        }
        match lot {
            0..7 if self.depth < DEPTH_MAX => {
                self.depth += 1;
                let inside = self.any();
                self.depth -= 1;
                inside?;
            }
            7..28 => self.read(slot)?,
            _ => {}
        }
        let Some(object) = slot.begin_free_of(victim) else { return Ok(self.refuse_eviction()) };
        self.free_object(slot, object)?;
        self.tally.evict += 1;
        self.step(20);
        Ok(Ok(()))
    }

    fn refuse_eviction(&mut self) -> Result<(), NotEvicted> {
        self.step(21);
        Err(NotEvicted)
    }
}

fn check_range(range: &ContiguousRange<'_>, frames: usize, align: usize) -> Result<(), Failure> {
    let bytes = range.as_slice();
    ensure!(
        range.frames() == frames && bytes.len() == frames * PAGE_BYTES,
        "a range of {frames} frames gave {} bytes",
        bytes.len()
    );
    let address = bytes.as_ptr().addr();
    ensure!(
        address.is_multiple_of(align * PAGE_BYTES),
        "a range aligned to {align} frames lies at {address:#x}"
    );
    let dirty = bytes.iter().position(|byte| *byte != 0);
    ensure!(dirty.is_none(), "a contiguous range of {frames} frames is not zero at {dirty:?}");
    Ok(())
}
