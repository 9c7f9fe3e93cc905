//! Where a new object goes: the selection of blocks.
//!
//! For what is left of the object, block by block:
//!
//! ```text
//!  1. a free block of just the size that is needed
//!  2. unless this is the last block allowed: the largest smaller one, filled whole
//!  3. the smallest larger one, of which the rest goes back to its list; then a frame of the reserve, then a new one
//! ```
//! So partly used frames are filled before whole ones, and only the last block of a chain is ever split. What needs a
//! whole frame gets one at once, which is an exact fit; when there is none left it goes into holes like the others.
//! A smaller block is taken only if what it leaves fits the blocks that are still allowed. If the chain cannot be
//! completed every block goes back.
//!
//! Blocks are chosen and their frames are held (tried) under the lock of the lists; new frames are made, and bytes are
//! copied, without it.

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

/// Attempts at the limit while guards are in the way of frames whose holes would fit.
const ATTEMPTS_AT_LIMIT: usize = 64;

/// No blocks for a chain within the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct NoBlocks {
    /// Whether frames were passed over because guards were in the way.
    pub(super) met_busy: bool,
    /// Whether there were blocks, and no page for side words.
    for_words: bool,
}

impl From<NoBlocks> for NoRoom {
    fn from(error: NoBlocks) -> Self {
        if error.for_words { Self::Index } else { Self::Frames }
    }
}

/// Where blocks may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Holes, the reserve, and new frames within this claim.
    Anywhere(ReserveAccess),
    /// Holes of frames that are partly used, the smallest larger before smaller ones: for what is moved so that frames
    /// become free.
    Holes,
}

impl Source {
    /// The units of the largest block there may be.
    fn units_max(self) -> u32 {
        match self {
            Self::Anywhere(_) => UNITS,
            Self::Holes => UNITS - 1,
        }
    }
}

/// What became of the search for the next block of a reservation.
enum Next {
    Taken,
    /// There are only new frames left to take from.
    NewFrame,
}

impl Xcfmalloc {
    /// Tries once; at the limit, again as long as there would be room in frames that other threads have locked.
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

    /// Takes blocks for `len` bytes and locks their frames; `complete` is called with the lists still locked, and may
    /// refuse. If anything fails, all blocks are back on their lists.
    pub(super) fn reserve(
        &self,
        len: usize,
        index: u32,
        blocks: usize,
        source: Source,
        complete: impl Fn(&mut Locked<'_>, &BlockReservation<'_>) -> Result<(), OutOfFrames>,
    ) -> Result<BlockReservation<'_>, NoBlocks> {
        if len > blocks * capacity(source.units_max()) {
            return Err(NoBlocks::default());
        }
        let mut reservation = BlockReservation::new(len, blocks);
        let mut frames_left = matches!(source, Source::Anywhere(_));
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
                for part in reservation.chain.parts().iter().filter(|part| part.units() == UNITS) {
                    locked.set_owner(part.id, index);
                }
                drop(locked);
                reservation.retire_spares();
                return Ok(reservation);
            }
            // Nothing is held while a frame is made, which may take a while: others may be waiting to read.
            let frames_to_free = reservation.start_over(&mut locked, self.keep());
            drop(locked);
            self.frames.reap(&frames_to_free);
            match source {
                Source::Anywhere(access) if frames_left && !for_words => {
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

    /// Takes the next block of a reservation.
    fn next_block<'a>(
        &self,
        locked: &mut Locked<'a>,
        reservation: &mut BlockReservation<'a>,
        source: Source,
        frames_left: bool,
    ) -> Next {
        let (rest, left) = (reservation.rest(), reservation.left());
        let block_max = capacity(source.units_max());
        debug_assert!(rest <= left * block_max, "the blocks that are left can hold the rest");
        // The size that completes the chain, if one block can.
        let needed = (rest <= block_max).then(|| units_for(rest));
        let whole = matches!(source, Source::Anywhere(access) if self.allows(access));
        let largest = if whole { UNITS } else { UNITS - 1 };
        let exact = needed.map_or(0, |units| locked.sizes_within(units, units.min(largest)));
        if reservation.take_smallest(locked, exact) {
            return Next::Taken;
        }
        if needed == Some(UNITS) && frames_left {
            return Next::NewFrame;
        }
        let larger = needed.map_or(0, |units| locked.sizes_within(units + 1, largest));
        // What a smaller block leaves must fit the blocks after it.
        let least = rest.saturating_sub((left - 1) * block_max).max(1);
        let most = needed.unwrap_or(UNITS) - 1;
        let smaller = if left > 1 { locked.sizes_within(units_for(least), most) } else { 0 };
        let taken = match (source, self.selection) {
            (Source::Holes, _) => {
                reservation.take_smallest(locked, larger)
                    || reservation.take_largest(locked, smaller)
            }
            (Source::Anywhere(_), BlockSelection::Standard) => {
                reservation.take_largest(locked, smaller)
                    || reservation.take_smallest(locked, larger)
            }
            // With the condition the other way round a smaller block is looked for only where none can complete the
            // chain, so it would go back at once.
            (Source::Anywhere(_), BlockSelection::Inverted) => {
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
