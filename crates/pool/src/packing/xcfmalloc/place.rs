//! The selection of blocks for the rest of an object:
//!
//! 1. a free block of exactly the size needed
//! 2. unless it is the last block allowed: the largest smaller one, if the rest fits the blocks still allowed
//! 3. the smallest larger one, split; then a frame of the reserve, then a new one
//!
//! An object that needs a whole frame gets one at once, or else goes into holes. If the chain cannot be completed,
//! every block goes back. Making frames and copying happen without the lock of the lists.

use pagefold_frame::{OutOfFrames, ReserveAccess};
use pagefold_sys::sync;

use super::{
    Xcfmalloc,
    blocks::UNITS,
    header::{capacity, units_for},
    lists::Locked,
    reservation::BlockReservation,
};
use crate::{
    config::BlockSelection,
    engine::{Attempt, NoRoom},
};

const ATTEMPTS_AT_LIMIT: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct NoBlocks {
    pub(super) met_busy: bool,
    /// No page for side words.
    for_words: bool,
}

impl From<NoBlocks> for NoRoom {
    fn from(error: NoBlocks) -> Self {
        if error.for_words { Self::Index } else { Self::Frames }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockSource {
    /// Holes, the reserve, and new frames.
    Anywhere(ReserveAccess),
    /// For compaction: holes, larger before smaller.
    Holes,
}

impl BlockSource {
    fn units_max(self) -> u32 {
        match self {
            Self::Anywhere(_) => UNITS,
            Self::Holes => UNITS - 1,
        }
    }
}

enum Next {
    Taken,
    NewFrame,
}

impl Xcfmalloc {
    /// At the limit, tries again while locked frames would have room.
    pub(super) fn insist<T>(
        &self,
        attempt: Attempt,
        reserve: impl Fn() -> Result<T, NoBlocks>,
    ) -> Result<T, NoBlocks> {
        let mut outcome = reserve();
        if attempt == Attempt::AtLimit {
            for _ in 1..ATTEMPTS_AT_LIMIT {
                if !matches!(outcome, Err(NoBlocks { met_busy: true, for_words: false })) {
                    break;
                }
                sync::yield_now();
                outcome = reserve();
            }
        }
        outcome
    }

    /// `complete` runs with the lists locked and may refuse. On failure, all blocks go back.
    pub(super) fn reserve(
        &self,
        len: usize,
        index: u32,
        blocks: usize,
        source: BlockSource,
        complete: impl Fn(&mut Locked<'_>, &BlockReservation<'_>) -> Result<(), OutOfFrames>,
    ) -> Result<BlockReservation<'_>, NoBlocks> {
        if len > blocks * capacity(source.units_max()) {
            return Err(NoBlocks::default());
        }
        let mut reservation = BlockReservation::new(len, blocks);
        let mut frames_left = matches!(source, BlockSource::Anywhere(_));
        loop {
            let mut locked = self.frames.lock();
            while reservation.rest() > 0 {
                let next = self.next_block(&mut locked, &mut reservation, source, frames_left);
                if matches!(next, Next::NewFrame) && !reservation.take_spare(&mut locked) {
                    break;
                }
            }
            let for_words = reservation.rest() == 0;
            if for_words && complete(&mut locked, &reservation).is_ok() {
                for block in
                    reservation.chain.blocks().iter().filter(|block| block.units() == UNITS)
                {
                    locked.set_owner(block.id, index);
                }
                drop(locked);
                reservation.retire_spares();
                return Ok(reservation);
            }
            // Making a frame may take long.
            let frames_to_free = reservation.start_over(&mut locked, self.keep());
            drop(locked);
            self.frames.reap(&frames_to_free);
            match source {
                BlockSource::Anywhere(access) if frames_left && !for_words => {
                    match self.frames.create(access) {
                        Ok(guard) => reservation.keep_spare(guard),
                        Err(OutOfFrames) => frames_left = false,
                    }
                }
                _ => {
                    reservation.retire_spares();
                    return Err(NoBlocks { met_busy: reservation.met_busy, for_words });
                }
            }
        }
    }

    fn next_block<'a>(
        &self,
        locked: &mut Locked<'a>,
        reservation: &mut BlockReservation<'a>,
        source: BlockSource,
        frames_left: bool,
    ) -> Next {
        let (rest, left) = (reservation.rest(), reservation.left());
        let block_max = capacity(source.units_max());
        debug_assert!(rest <= left * block_max, "the blocks that are left can hold the rest");
        // The size that completes the chain.
        let needed = (rest <= block_max).then(|| units_for(rest));
        let whole = matches!(source, BlockSource::Anywhere(access) if self.allows(access));
        let largest = if whole { UNITS } else { UNITS - 1 };
        let exact = needed.map_or(0, |units| locked.sizes_within(units, units.min(largest)));
        if reservation.take_smallest(locked, exact) {
            return Next::Taken;
        }
        if needed == Some(UNITS) && frames_left {
            return Next::NewFrame;
        }
        let larger = needed.map_or(0, |units| locked.sizes_within(units + 1, largest));
        // The rest after a smaller block must fit the blocks after it.
        let least = rest.saturating_sub((left - 1) * block_max).max(1);
        let most = needed.unwrap_or(UNITS) - 1;
        let smaller = if left > 1 { locked.sizes_within(units_for(least), most) } else { 0 };
        let taken = match (source, self.selection) {
            (BlockSource::Holes, _) => {
                reservation.take_smallest(locked, larger)
                    || reservation.take_largest(locked, smaller)
            }
            (BlockSource::Anywhere(_), BlockSelection::Standard) => {
                reservation.take_largest(locked, smaller)
                    || reservation.take_smallest(locked, larger)
            }
            // Inverted would put smaller blocks back at once.
            (BlockSource::Anywhere(_), BlockSelection::Inverted) => {
                reservation.take_smallest(locked, larger)
            }
        };
        let whole_for_part = needed.is_none() && whole && locked.sizes_within(UNITS, UNITS) != 0;
        if taken || whole_for_part && reservation.take(locked, UNITS) {
            return Next::Taken;
        }
        Next::NewFrame
    }
}
