//! A worker's pass over its share of the slots: fill, churn, free, load.
//!
//! A pass stops only between pages, so every slot is in its old or its new state.

use pagefold_pool::AllocError;
use rand::{RngExt as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;

use crate::estimate::{
    error::EstimateError,
    measure::worker::{Shared, SpoolSlot, Worker},
    result::kept::Kept,
};

/// Overwrites for each page in `churn`: enough to forget the fill order.
pub(crate) const REWRITES: usize = 3;

/// How a pass ended; the last variant wins among workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ended {
    Complete,
    LimitReached,
    Interrupted,
}

#[derive(Debug)]
pub(crate) enum Check {
    Intact,
    /// The first changed page, and why.
    Mismatch(String),
    Unfinished,
}

pub(crate) type Pass<T> = Result<T, EstimateError>;

pub(crate) struct SlotShare<'s> {
    pub(crate) slots: &'s mut [SpoolSlot],
    pub(crate) base: usize,
    pub(crate) random: ChaCha8Rng,
}

impl Check {
    pub(crate) fn worst(self, other: Self) -> Self {
        match (self, other) {
            (mismatch @ Self::Mismatch(_), _) | (_, mismatch @ Self::Mismatch(_)) => mismatch,
            (Self::Unfinished, _) | (_, Self::Unfinished) => Self::Unfinished,
            (Self::Intact, Self::Intact) => Self::Intact,
        }
    }
}

/// Stores page `source` in `slot`, then frees the old content.
fn replace(
    shared: &Shared<'_>,
    worker: &mut Worker,
    slot: &mut SpoolSlot,
    source: u32,
) -> Pass<Ended> {
    let allocator = shared.pool.name();
    let page = |source: u32| shared.spool.describe(source as usize);
    let (kept, payload) = match worker.store(shared, source as usize) {
        Ok(stored) => stored,
        Err(AllocError::OutOfMemory { .. }) => {
            shared.halt();
            return Ok(Ended::LimitReached);
        }
        Err(reason) => return Err(EstimateError::Store { allocator, page: page(source), reason }),
    };
    let old = std::mem::replace(slot, SpoolSlot { source, payload, kept });
    if let Some(handle) = old.kept.handle() {
        shared.pool.free(handle).map_err(|reason| EstimateError::Free {
            allocator,
            page: page(old.source),
            reason,
        })?;
    }
    worker.tick(shared);
    Ok(Ended::Complete)
}

pub(crate) fn stopped(shared: &Shared<'_>) -> Ended {
    if shared.interrupt.is_requested() { Ended::Interrupted } else { Ended::Complete }
}

pub(crate) fn fill(shared: &Shared<'_>, worker: &mut Worker, share: SlotShare<'_>) -> Pass<Ended> {
    for slot in share.slots {
        if shared.should_stop() {
            return Ok(stopped(shared));
        }
        let ended = replace(shared, worker, slot, slot.source)?;
        if ended != Ended::Complete {
            return Ok(ended);
        }
    }
    Ok(Ended::Complete)
}

/// Overwrites random pages of the share.
pub(crate) fn churn(
    shared: &Shared<'_>,
    worker: &mut Worker,
    mut share: SlotShare<'_>,
) -> Pass<Ended> {
    let pages = shared.spool.len();
    for _ in 0..share.slots.len() * REWRITES {
        if shared.should_stop() {
            return Ok(stopped(shared));
        }
        let target = share.random.random_range(0..share.slots.len());
        let mut source = share.random.random_range(0..pages);
        if source == share.base + target {
            source = (source + 1) % pages;
        }
        #[expect(clippy::cast_possible_truncation, reason = "a spool has at most u32::MAX pages")]
        let ended = replace(shared, worker, &mut share.slots[target], source as u32)?;
        if ended != Ended::Complete {
            return Ok(ended);
        }
    }
    Ok(Ended::Complete)
}

pub(crate) fn free_half(
    shared: &Shared<'_>,
    worker: &mut Worker,
    mut share: SlotShare<'_>,
) -> Pass<Ended> {
    let mut order = std::mem::take(&mut worker.order);
    order.shuffle(&mut share.random);
    let mut ended = Ended::Complete;
    for &index in &order[..order.len() / 2] {
        if shared.should_stop() {
            ended = stopped(shared);
            break;
        }
        let slot = &mut share.slots[index as usize];
        let old = std::mem::replace(&mut slot.kept, Kept::Nothing);
        if let Some(handle) = old.handle() {
            let page = || shared.spool.describe(slot.source as usize);
            let failed = |reason| EstimateError::Free {
                allocator: shared.pool.name(),
                page: page(),
                reason,
            };
            shared.pool.free(handle).map_err(failed)?;
        }
        worker.tick(shared);
    }
    worker.order = order;
    Ok(ended)
}

pub(crate) fn load_all(
    shared: &Shared<'_>,
    worker: &mut Worker,
    mut share: SlotShare<'_>,
) -> Pass<Check> {
    let mut order = std::mem::take(&mut worker.order);
    order.shuffle(&mut share.random);
    let mut check = Check::Intact;
    for &index in &order {
        if shared.should_stop() {
            check = Check::Unfinished;
            break;
        }
        let slot = share.slots[index as usize];
        if let Err(error) = worker.load(shared, slot) {
            shared.halt();
            check = Check::Mismatch(format!(
                "page {} was not read back: {error}",
                shared.spool.describe(slot.source as usize)
            ));
            break;
        }
        worker.tick(shared);
    }
    worker.order = order;
    Ok(check)
}
