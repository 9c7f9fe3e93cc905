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
    BlockSelection, Content, Xcfmalloc,
    blocks::UNITS,
    draft::Draft,
    header::{capacity, units_for},
    lists::Locked,
};
use crate::{AllocError, Handle, attend::Attend};

/// Attempts at the limit while others hold frames whose holes would fit.
const ATTEMPTS_AT_LIMIT: usize = 64;

/// Indices that are set aside while one is looked for whose side words are usable: what a cache of the table holds.
const ASIDE_MAX: usize = 64;

/// No blocks for a chain within the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct NoBlocks {
    /// Whether frames were passed over because somebody held them.
    pub(super) met_busy: bool,
    /// Whether there were blocks, and no page for side words.
    for_words: bool,
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

/// What became of the search for the next block of a draft.
enum Next {
    Taken,
    /// There are only new frames left to take from.
    NewFrame,
}

impl Xcfmalloc {
    /// Makes an object of `content` and a handle for it.
    pub(super) fn insert(
        &self,
        content: Content<'_>,
        access: ReserveAccess,
    ) -> Result<Handle, AllocError> {
        let (len, max) = (content.len(), self.max_len);
        match len {
            0 => return Err(AllocError::InvalidSize),
            _ if len > max => return Err(AllocError::TooLarge { len, max }),
            _ => {}
        }
        let inserted = self.try_insert(content, access).or_else(|_| {
            self.make_room();
            self.insist(|| self.try_insert(content, access))
        });
        inserted
            .map_err(|NoBlocks { .. }| AllocError::OutOfMemory { limit: self.base.limit_bytes() })
    }

    /// Tries again as long as there would be room in frames that others hold.
    pub(super) fn insist<T>(
        &self,
        attempt: impl Fn() -> Result<T, NoBlocks>,
    ) -> Result<T, NoBlocks> {
        let mut outcome = attempt();
        for _ in 1..ATTEMPTS_AT_LIMIT {
            if !matches!(outcome, Err(NoBlocks { met_busy: true, .. })) {
                break;
            }
            sync::yield_now();
            outcome = attempt();
        }
        outcome
    }

    fn try_insert(&self, content: Content<'_>, access: ReserveAccess) -> Result<Handle, NoBlocks> {
        self.drain_some_deferred();
        // At the limit there may be no page for the side words of an index that was never used, but for others.
        let mut aside = Vec::new();
        let inserted = loop {
            let Ok(index) = self.base.entries.take(access) else {
                break Err(NoBlocks::default());
            };
            match self.insert_at(index, content, access) {
                Err(NoBlocks { for_words: true, .. }) if aside.len() < ASIDE_MAX => {
                    aside.push(index);
                }
                Err(error) => {
                    self.base.entries.give_back(index);
                    break Err(error);
                }
                Ok(handle) => break Ok(handle),
            }
        };
        aside.into_iter().for_each(|index| self.base.entries.give_back(index));
        inserted
    }

    fn insert_at(
        &self,
        index: u32,
        content: Content<'_>,
        access: ReserveAccess,
    ) -> Result<Handle, NoBlocks> {
        let len = content.len();
        let write_down = |locked: &mut Locked<'_>, draft: &Draft<'_>| {
            self.sides.ensure(&mut locked.lists.ready, index, access)?;
            self.sides.store(index, &draft.chain);
            locked.lists.split_objects += usize::from(draft.chain.is_split());
            Ok(())
        };
        let source = Source::Anywhere(access);
        let mut draft = self.draft(len, index, self.max_blocks, source, write_down)?;
        draft.fill(index, content);
        let vacant = self.base.entries.load(index);
        // Published while the frames are held, so whoever finds the entry waits for the bytes.
        let place = draft.chain.place();
        self.base.entries.store(index, vacant.at(place));
        self.base.counters.add_object();
        self.base.counters.add_payload(len);
        Ok(self.base.entries.handle(index, vacant))
    }

    /// Takes blocks for `len` bytes and holds their frames; `complete` is called with the lists still locked, and may
    /// refuse. If anything fails, all blocks are back on their lists.
    pub(super) fn draft(
        &self,
        len: usize,
        index: u32,
        blocks: usize,
        source: Source,
        complete: impl Fn(&mut Locked<'_>, &Draft<'_>) -> Result<(), OutOfFrames>,
    ) -> Result<Draft<'_>, NoBlocks> {
        if len > blocks * capacity(source.units_max()) {
            return Err(NoBlocks::default());
        }
        let mut draft = Draft::new(len, blocks);
        let mut frames_left = matches!(source, Source::Anywhere(_));
        loop {
            let mut locked = self.frames.lock();
            while draft.rest() > 0 {
                let next = self.next_block(&mut locked, &mut draft, source, frames_left);
                if matches!(next, Next::NewFrame) && !draft.take_spare(&mut locked) {
                    break;
                }
            }
            let for_words = draft.rest() == 0;
            if for_words && complete(&mut locked, &draft).is_ok() {
                for part in draft.chain.parts().iter().filter(|part| part.units() == UNITS) {
                    locked.set_owner(part.id, index);
                }
                drop(locked);
                draft.retire_spares();
                return Ok(draft);
            }
            // Nothing is held while a frame is made, which may take a while: others may be waiting to read.
            let doomed = draft.start_over(&mut locked, self.keep());
            drop(locked);
            self.frames.reap(&doomed);
            match source {
                Source::Anywhere(access) if frames_left && !for_words => {
                    match self.frames.create(access) {
                        Ok(guard) => draft.keep_spare(guard),
                        Err(OutOfFrames) => frames_left = false,
                    }
                }
                _ => {
                    draft.retire_spares();
                    return Err(NoBlocks { met_busy: draft.met_busy, for_words });
                }
            }
        }
    }

    /// Takes the next block of a draft.
    fn next_block<'a>(
        &self,
        locked: &mut Locked<'a>,
        draft: &mut Draft<'a>,
        source: Source,
        frames_left: bool,
    ) -> Next {
        let (rest, left) = (draft.rest(), draft.left());
        let block_max = capacity(source.units_max());
        debug_assert!(rest <= left * block_max, "the blocks that are left can hold the rest");
        // The size that completes the chain, if one block can.
        let needed = (rest <= block_max).then(|| units_for(rest));
        let whole = matches!(source, Source::Anywhere(access) if self.allows(access));
        let largest = if whole { UNITS } else { UNITS - 1 };
        let exact = needed.map_or(0, |units| locked.sizes_within(units, units.min(largest)));
        if draft.take_smallest(locked, exact) {
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
                draft.take_smallest(locked, larger) || draft.take_largest(locked, smaller)
            }
            (Source::Anywhere(_), BlockSelection::Standard) => {
                draft.take_largest(locked, smaller) || draft.take_smallest(locked, larger)
            }
            // With the condition the other way round a smaller block is looked for only where none can complete the
            // chain, so it would go back at once.
            (Source::Anywhere(_), BlockSelection::Inverted) => draft.take_smallest(locked, larger),
        };
        let whole_for_part = needed.is_none() && whole && locked.sizes_within(UNITS, UNITS) != 0;
        if taken || whole_for_part && draft.take(locked, UNITS) {
            return Next::Taken;
        }
        Next::NewFrame
    }
}
