//! Compaction: the sparsest frames are emptied into the holes of the others.
//!
//! *Moving*: block by block. An object of several blocks is put together in one hole when there is one that holds all
//! of it; otherwise the block goes into a hole that fits it, or its object is scattered in another way. Holes are all
//! that is taken. When those that are left are too small, *squeezing* begins, if objects may have several blocks:
//! objects are selected for as new ones are, so each fills up one of the small holes, and what is left of it goes into
//! a fresh frame, from the part of the limit that is reserved for this. That goes on while it wins an eighth of what it
//! moves.
//!
//! The lock of the lists is held for one block at a time. What somebody else holds is passed over.
//!
//! The old frames are held for reading only, so readers of the objects that move are not in the way, nor is compaction
//! in theirs. A block behind the first one takes the write hold on its object's first frame as well, because side words
//! change. (I-RELOCATE)

use pagefold_frame::{DescriptorId, ReserveAccess};

use super::{
    Content, Xcfmalloc,
    blocks::{Block, UNITS},
    chain::{first_of, place_of},
    header::{PARANOID, read_index},
    life::Replaced,
    lookup::Missed,
    place::{NoBlocks, Source},
};
use crate::{
    CompactReport, Slices,
    attend::Attend,
    entries::{Entry, EntryCell, State},
};

/// Frames looked at with one scan of the lists.
const VICTIMS: usize = 64;
/// Victims in a row that could not be emptied, after which the holes are as good as they get.
const FAILURES_MAX: usize = 16;

/// Victims that squeezing looks back on, and the frames that they must have won.
const WINDOW: usize = 16;
const WON_MIN: usize = 2;
/// The share of the units of partly used frames that is free, below which squeezing is not worth it, as a divisor; and
/// the units that must be free at least.
const WORTH_ONE_IN: usize = 32;
const WORTH_UNITS: usize = 4 * UNITS as usize;

/// How compaction fares, from one call to the next.
#[derive(Debug, Default)]
pub(super) struct Progress {
    squeezing: bool,
    /// Victims in a row that could not be emptied.
    failures: usize,
    /// Frames that were taken and not yet won back.
    debt: usize,
    /// Victims of this window, and frames won and taken.
    window: usize,
    won: usize,
    taken: usize,
}

impl Progress {
    /// Notes what a move won and took; returns the frames won in the end.
    fn settle(&mut self, freed: usize, taken: usize) -> u64 {
        (self.won, self.taken) = (self.won + freed, self.taken + taken);
        let paid = freed.min(self.debt + taken);
        self.debt = self.debt + taken - paid;
        (freed - paid) as u64
    }

    /// Begins anew with other means.
    fn start(&mut self, squeezing: bool) {
        *self = Self { squeezing, debt: self.debt, ..Self::default() };
    }

    /// Notes a victim, and whether it is empty. `false`: these means win nothing more.
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

/// What became of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moved {
    /// Bytes copied, frames that became free by it, and whole frames that it took.
    Yes {
        bytes: usize,
        freed: usize,
        taken: usize,
    },
    /// It was freed or written meanwhile.
    Gone,
    /// No hole is large enough.
    NoRoom,
    Busy,
}

impl From<Missed> for Moved {
    fn from(missed: Missed) -> Self {
        match missed {
            Missed::Busy => Self::Busy,
            Missed::Changed => Self::Gone,
        }
    }
}

impl From<NoBlocks> for Moved {
    fn from(_: NoBlocks) -> Self {
        Self::NoRoom
    }
}

impl Xcfmalloc {
    /// Moves blocks until `wanted` frames became free, about `budget` bytes were moved, or nothing more can be won.
    pub(super) fn compact_objects(&self, budget: usize, wanted: u64) -> CompactReport {
        let mut report = CompactReport::default();
        let Some(mut progress) = self.compactor.try_lock() else {
            return CompactReport { busy: 1, more: true, ..report };
        };
        self.drain_all_deferred();
        // A call that goes on squeezing has moved nothing yet, and since the last one much may have been freed.
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

    /// Empties victims by the means that `progress` says. `true`: budget or wish are met; `false`: nothing more is won.
    fn compact_some(
        &self,
        budget: usize,
        wanted: u64,
        progress: &mut Progress,
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
                // After the work, so that the smallest budget gets on as well.
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

    /// Empties one frame as far as others have room. `None`: it is not what it was, or the budget is spent; otherwise
    /// whether it is empty.
    fn evacuate(
        &self,
        id: DescriptorId,
        budget: usize,
        progress: &mut Progress,
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
        // The largest first: they are the hardest to place.
        used.sort_unstable_by_key(|block| std::cmp::Reverse(block.units));
        let mut spent = false;
        for block in used {
            if spent {
                break;
            }
            match self.relocate(id, block, progress.squeezing) {
                Moved::Yes { bytes, freed, taken } => {
                    report.moved_objects += 1;
                    report.moved_bytes += bytes as u64;
                    report.freed_frames += progress.settle(freed, taken);
                    self.base.note_compacted(bytes);
                    spent = report.moved_bytes >= budget as u64;
                }
                Moved::Gone => {}
                Moved::NoRoom => break,
                Moved::Busy => report.busy += 1,
            }
        }
        let emptied = self.frames.lock().end_emptying();
        (emptied || !spent).then_some(emptied)
    }

    /// Moves what lies in one block of frame `from`.
    fn relocate(&self, from: DescriptorId, block: Block, squeezing: bool) -> Moved {
        let index = match self.index_of(from, block) {
            Ok(index) => index,
            Err(missed) => return missed.into(),
        };
        let Some(cell) = self.base.entries.get(index) else { return Moved::Gone };
        let entry = cell.load();
        let State::Live(place) = entry.state() else { return Moved::Gone };
        let (first, unit, count) = first_of(place);
        if count == 1 && (first, unit) != (from, block.unit) {
            return Moved::Gone;
        }
        let whole = |blocks, source| self.relocate_object(index, cell, entry, blocks, source);
        if count == 1 && !squeezing {
            return whole(self.max_blocks, Source::Holes);
        }
        let mut moved = Moved::NoRoom;
        if count > 1 {
            // In one piece if there is a hole for it, or else the block alone.
            moved = whole(1, Source::Holes);
            if matches!(moved, Moved::NoRoom | Moved::Busy) {
                moved = self.relocate_block(index, cell, entry, (from, block.unit));
            }
        }
        if moved == Moved::NoRoom {
            let anywhere = Source::Anywhere(ReserveAccess::Reserve);
            moved = whole(self.max_blocks, if squeezing { anywhere } else { Source::Holes });
        }
        moved
    }

    /// Whose object lies in a block.
    fn index_of(&self, from: DescriptorId, block: Block) -> Result<u32, Missed> {
        let guard = self.frames.slab.try_read(from).map_err(|_| Missed::Busy)?;
        // Used while the frame is held for reading: the header was written before.
        let used = self.frames.lock().blocks(from).used_block(block.unit);
        let offset = block.unit as usize * super::blocks::UNIT_BYTES;
        let header = &guard.parts().1[offset..];
        used.filter(|&now| now == block).and_then(|_| read_index(header)).ok_or(Missed::Changed)
    }

    /// Moves all of an object into at most `blocks` blocks.
    fn relocate_object(
        &self,
        index: u32,
        cell: EntryCell<'_>,
        entry: Entry,
        blocks: usize,
        source: Source,
    ) -> Moved {
        let hold = |id| self.frames.slab.try_read(id);
        let reading = match self.hold_chain(index, cell, entry, place_of(entry), &hold) {
            Ok(reading) => reading,
            Err(missed) => return missed.into(),
        };
        let len = reading.chain.len();
        let mut draft = match self.draft(len, index, blocks, source, |_, _| Ok(())) {
            Ok(draft) => draft,
            Err(error) => return error.into(),
        };
        let fill = |slices: Slices<'_>| draft.fill(index, Content::Parts(slices.parts()));
        reading.with_slices(index, fill);
        let taken = draft.whole_taken;
        let doomed = self.switch(index, cell, entry, draft, Replaced::All, 0);
        drop(reading);
        match doomed {
            Some(doomed) => {
                self.frames.reap(&doomed);
                Moved::Yes { bytes: len, freed: doomed.count(), taken }
            }
            None => Moved::Gone,
        }
    }

    /// Moves one block of an object of several.
    fn relocate_block(
        &self,
        index: u32,
        cell: EntryCell<'_>,
        entry: Entry,
        (from, unit): (DescriptorId, u32),
    ) -> Moved {
        let place = place_of(entry);
        let (first, first_unit, count) = first_of(place);
        let is_first = (first, first_unit) == (from, unit);
        // Either the new block becomes the first one, or the first one's frame must be held for writing.
        let anchor = (!is_first).then(|| self.frames.slab.try_write(first)).transpose();
        let Ok(mut anchor) = anchor else { return Moved::Busy };
        // Where the anchor is the block's frame as well, one hold is enough.
        let apart = anchor.is_none() || from != first;
        let source = apart.then(|| self.frames.slab.try_read(from)).transpose();
        let Ok(source) = source else { return Moved::Busy };
        let Some(chain) = self.sides.chain(index, place) else { return Moved::Gone };
        let at = chain.parts().iter().position(|part| (part.id, part.unit) == (from, unit));
        let Some(at) = at.filter(|_| cell.load() == entry) else { return Moved::Gone };
        let part = chain.parts()[at];
        let blocks = self.max_blocks - count + 1;
        let mut draft = match self.draft(part.len, index, blocks, Source::Holes, |_, _| Ok(())) {
            Ok(draft) => draft,
            Err(error) => return error.into(),
        };
        let frame = match (&source, &mut anchor) {
            (Some(source), _) => source.parts().1,
            (None, Some(anchor)) => &*anchor.parts().1,
            (None, None) => unreachable!("the block's frame is held in one way or the other"),
        };
        if PARANOID {
            self.assert_intact(index, part, frame);
        }
        draft.fill(index, Content::Bytes(part.payload(frame)));
        let doomed = self.switch(index, cell, entry, draft, Replaced::Block(at), 0);
        drop((anchor, source));
        match doomed {
            Some(doomed) => {
                self.frames.reap(&doomed);
                Moved::Yes { bytes: part.len, freed: doomed.count(), taken: 0 }
            }
            None => Moved::Gone,
        }
    }
}
