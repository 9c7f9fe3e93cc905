//! Compaction empties the sparsest frames into the holes of other frames.
//!
//! 1. *Moving*: joins an object in one hole, else moves the block to a hole, else scatters the object anew.
//! 2. *Squeezing*, when no hole fits and objects may have several blocks: objects fill small holes and a fresh frame of
//!    the reserve, while it wins an eighth of what it moves.
//!
//! The compactor skips locked frames. Old frames get read guards, so readers do not wait. To move a block behind the
//! first, it also takes the write guard of the first frame, because side words change. (I-RELOCATE)

use pagefold_frame::{DescriptorId, LockError, ReserveAccess};

use super::{
    Xcfmalloc,
    blocks::{Block, UNIT_BYTES, UNITS},
    chain::first_of,
    header::{PARANOID, read_index},
    place::{BlockSource, NoBlocks},
    rewrite::Replaced,
};
use crate::{
    contract::CompactReport,
    engine::{Content, Found, Never},
    slices::Slices,
};

const VICTIMS: usize = 64;
const FAILURES_MAX: usize = 16;

/// Squeezing looks back on a window of victims, and the frames they must win.
const WINDOW: usize = 16;
const WON_MIN: usize = 2;
/// Squeezing needs one free unit in this many, and at least so many.
const WORTH_ONE_IN: usize = 32;
const WORTH_UNITS: usize = 4 * UNITS as usize;

#[derive(Debug, Default)]
pub(super) struct CompactionProgress {
    squeezing: bool,
    failures: usize,
    /// Frames taken and not yet won back.
    debt: usize,
    window: usize,
    won: usize,
    taken: usize,
}

impl CompactionProgress {
    /// Returns the net frames won.
    fn note_move(&mut self, freed: usize, taken: usize) -> u64 {
        (self.won, self.taken) = (self.won + freed, self.taken + taken);
        let paid = freed.min(self.debt + taken);
        self.debt = self.debt + taken - paid;
        (freed - paid) as u64
    }

    fn start(&mut self, squeezing: bool) {
        *self = Self { squeezing, debt: self.debt, ..Self::default() };
    }

    /// `false`: this mode wins nothing more.
    fn goes_on(&mut self, emptied: bool) -> bool {
        if !self.squeezing {
            self.failures = if emptied { 0 } else { self.failures + 1 };
            return self.failures < FAILURES_MAX;
        }
        self.window += 1;
        if self.window < WINDOW {
            return true;
        }
        let goes_on = self.won >= self.taken + WON_MIN;
        (self.window, self.won, self.taken) = (0, 0, 0);
        goes_on
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MoveOutcome {
    Yes {
        bytes: usize,
        freed: usize,
        taken: usize,
    },
    /// Freed or written meanwhile.
    Gone,
    NoRoom,
    Busy,
}

impl From<LockError> for MoveOutcome {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Busy => Self::Busy,
            LockError::Gone => Self::Gone,
        }
    }
}

impl From<NoBlocks> for MoveOutcome {
    fn from(_: NoBlocks) -> Self {
        Self::NoRoom
    }
}

impl Xcfmalloc {
    pub(super) fn empty_frames(&self, budget: usize, wanted: u64) -> CompactReport {
        let mut report = CompactReport::default();
        let Some(mut progress) = self.compactor.try_lock() else {
            return CompactReport { busy: 1, more: true, ..report };
        };
        // Frees since the last call may have made holes.
        let mut again = progress.squeezing;
        while !self.compact_some(budget, wanted, &mut progress, &mut report) {
            let squeeze = !progress.squeezing && self.max_blocks > 1;
            progress.start(squeeze);
            if !(squeeze || again) {
                return report;
            }
            again &= squeeze;
        }
        report.more = true;
        report
    }

    fn compact_some(
        &self,
        budget: usize,
        wanted: u64,
        progress: &mut CompactionProgress,
        report: &mut CompactReport,
    ) -> bool {
        loop {
            let locked = self.frames.lock();
            let (free, all) = (locked.lists.free_units, locked.lists.partial * UNITS as usize);
            let victims = locked.sparsest(VICTIMS);
            drop(locked);
            let moved_before = report.moved_objects;
            for id in victims {
                if progress.squeezing && free < WORTH_UNITS.max(all / WORTH_ONE_IN) {
                    return false;
                }
                let emptied = self.evacuate(id, budget, progress, report);
                if emptied.is_some_and(|emptied| !progress.goes_on(emptied)) {
                    return false;
                }
                // After the work, so that any budget makes progress.
                let spent =
                    report.moved_bytes >= budget as u64 && moved_before != report.moved_objects;
                if spent || report.freed_frames >= wanted {
                    return true;
                }
            }
            if moved_before == report.moved_objects {
                return false;
            }
        }
    }

    /// `None`: the frame changed or the budget is spent.
    fn evacuate(
        &self,
        id: DescriptorId,
        budget: usize,
        progress: &mut CompactionProgress,
        report: &mut CompactReport,
    ) -> Option<bool> {
        let mut locked = self.frames.lock();
        let blocks = locked.begin_emptying(id)?;
        let free = (UNITS - blocks.used_units()) as usize;
        let elsewhere = locked.lists.free_units - free;
        if !progress.squeezing && elsewhere < blocks.used_units() as usize {
            locked.end_emptying();
            return Some(false);
        }
        drop(locked);
        let mut used: Vec<Block> = blocks.used_blocks().collect();
        used.sort_unstable_by_key(|block| std::cmp::Reverse(block.units));
        let mut spent = false;
        for block in used {
            if spent {
                break;
            }
            match self.relocate(id, block, progress.squeezing) {
                MoveOutcome::Yes { bytes, freed, taken } => {
                    report.moved_objects += 1;
                    report.moved_bytes += bytes as u64;
                    report.freed_frames += progress.note_move(freed, taken);
                    self.base.note_compacted(bytes);
                    spent = report.moved_bytes >= budget as u64;
                }
                MoveOutcome::Gone => {}
                MoveOutcome::NoRoom => break,
                MoveOutcome::Busy => report.busy += 1,
            }
        }
        let emptied = self.frames.lock().end_emptying();
        (emptied || !spent).then_some(emptied)
    }

    fn relocate(&self, from: DescriptorId, block: Block, squeezing: bool) -> MoveOutcome {
        let index = match self.index_of(from, block) {
            Ok(index) => index,
            Err(error) => return error.into(),
        };
        let Some(found) = self.base.find_index(index) else { return MoveOutcome::Gone };
        let (first, unit, count) = first_of(found.location);
        if count == 1 && (first, unit) != (from, block.unit) {
            return MoveOutcome::Gone;
        }
        let whole = |blocks, source| self.relocate_object(&found, blocks, source);
        if count == 1 && !squeezing {
            return whole(self.max_blocks, BlockSource::Holes);
        }
        let mut moved = MoveOutcome::NoRoom;
        if count > 1 {
            // In one piece if a hole fits, else the block alone.
            moved = whole(1, BlockSource::Holes);
            if matches!(moved, MoveOutcome::NoRoom | MoveOutcome::Busy) {
                moved = self.relocate_block(&found, (from, block.unit));
            }
        }
        if moved == MoveOutcome::NoRoom {
            let anywhere = BlockSource::Anywhere(ReserveAccess::Reserve);
            moved = whole(self.max_blocks, if squeezing { anywhere } else { BlockSource::Holes });
        }
        moved
    }

    fn index_of(&self, from: DescriptorId, block: Block) -> Result<u32, LockError> {
        let guard = self.frames.slab.try_read(from).map_err(|_| LockError::Busy)?;
        // A used block under the read guard has its header.
        let used = self.frames.lock().blocks(from).used_block(block.unit);
        let offset = block.unit as usize * UNIT_BYTES;
        let header = &guard.parts().1[offset..];
        used.filter(|&now| now == block).and_then(|_| read_index(header)).ok_or(LockError::Gone)
    }

    fn relocate_object(
        &self,
        found: &Found<'_>,
        blocks: usize,
        source: BlockSource,
    ) -> MoveOutcome {
        let reading = match self.lock_chain(found, Never) {
            Ok(reading) => reading,
            Err(error) => return error.into(),
        };
        let len = reading.chain.len();
        let mut reservation = match self.reserve(len, found.index, blocks, source, |_, _| Ok(())) {
            Ok(reservation) => reservation,
            Err(error) => return error.into(),
        };
        reading.with_slices(found.index, &mut |slices: Slices<'_>| {
            reservation.fill(found.index, Content::Parts(slices.parts()));
        });
        let taken = reservation.whole_taken;
        let frames_to_free = self.switch(found, reservation, Replaced::All, 0);
        drop(reading);
        match frames_to_free {
            Some(frames_to_free) => {
                self.frames.reap(&frames_to_free);
                MoveOutcome::Yes { bytes: len, freed: frames_to_free.count(), taken }
            }
            None => MoveOutcome::Gone,
        }
    }

    fn relocate_block(&self, found: &Found<'_>, (from, unit): (DescriptorId, u32)) -> MoveOutcome {
        let (first, first_unit, count) = first_of(found.location);
        let is_first = (first, first_unit) == (from, unit);
        // The first block's frame must be locked for writing.
        let anchor = (!is_first).then(|| self.frames.slab.try_write(first)).transpose();
        let Ok(mut anchor) = anchor else { return MoveOutcome::Busy };
        let apart = anchor.is_none() || from != first;
        let source = apart.then(|| self.frames.slab.try_read(from)).transpose();
        let Ok(source) = source else { return MoveOutcome::Busy };
        let Some(chain) = self.sides.chain(found.index, found.location) else {
            return MoveOutcome::Gone;
        };
        let at = chain.blocks().iter().position(|moved| (moved.id, moved.unit) == (from, unit));
        let Some(at) = at.filter(|_| found.is_current()) else { return MoveOutcome::Gone };
        let moved = chain.blocks()[at];
        let blocks = self.max_blocks - count + 1;
        let mut reservation =
            match self.reserve(moved.len, found.index, blocks, BlockSource::Holes, |_, _| Ok(())) {
                Ok(reservation) => reservation,
                Err(error) => return error.into(),
            };
        let frame = match (&source, &mut anchor) {
            (Some(source), _) => source.parts().1,
            (None, Some(anchor)) => &*anchor.parts().1,
            (None, None) => unreachable!("the block's frame is locked in one way or the other"),
        };
        if PARANOID {
            self.assert_intact(found.index, moved, frame);
        }
        reservation.fill(found.index, Content::Bytes(moved.payload(frame)));
        let frames_to_free = self.switch(found, reservation, Replaced::Block(at), 0);
        drop((anchor, source));
        match frames_to_free {
            Some(frames_to_free) => {
                self.frames.reap(&frames_to_free);
                MoveOutcome::Yes { bytes: moved.len, freed: frames_to_free.count(), taken: 0 }
            }
            None => MoveOutcome::Gone,
        }
    }
}
