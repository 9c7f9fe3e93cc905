//! Freeing and overwriting, and the frames that become free by it.
//!
//! `free` decides by one exchange of the handle entry who frees, and never waits: it takes no hold. Its blocks go back
//! to their lists at once; their bytes stay as they are while somebody reads, because to fill a block takes the write
//! hold on its frame.

use pagefold_frame::ReserveAccess;

use super::{
    Content, Xcfmalloc,
    chain::{Chain, Part, place_of},
    draft::Draft,
    header::{Broken, PARANOID, is_intact},
    lists::Doomed,
    place::{NoBlocks, Source},
};
use crate::{
    Handle, HandleError, WriteError,
    attend::Attend,
    entries::{Entry, EntryCell, Place},
};

/// Frames that stay in the reserve: enough for a burst of stores, little beside any pool.
const WHOLE_KEPT: usize = 32;

/// The blocks of an object that others take the place of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replaced {
    All,
    /// The one with this number in the chain.
    Block(usize),
}

impl Xcfmalloc {
    /// Whether what is charged already is within what the claim may use: a frame of the reserve may be taken then.
    pub(super) fn allows(&self, access: ReserveAccess) -> bool {
        self.base.memory.allows(access)
    }

    /// Frames that may stay in the reserve. What overwriting and compaction took beyond the limit for others goes
    /// back, so that it is there the next time.
    pub(super) fn keep(&self) -> usize {
        if self.allows(ReserveAccess::Normal) { WHOLE_KEPT } else { 0 }
    }

    pub(super) fn remove(&self, handle: Handle) -> Result<(), HandleError> {
        loop {
            let (cell, entry, place) = self.base.entry(handle)?;
            // Compaction or an overwrite may have won: look again.
            if cell.exchange(entry, entry.freed()) {
                self.base.counters.remove_object();
                self.vacate(self.base.entries.index(handle), place);
                return Ok(());
            }
        }
    }

    /// Frees the blocks of an object whose entry the caller has just made vacant, and its index.
    fn vacate(&self, index: u32, place: Place) {
        let mut locked = self.frames.lock();
        let chain = self.sides.chain(index, place);
        let chain = chain.expect("I-CHAIN: the side words are those of the entry");
        let broken = self.find_broken(index, &chain);
        locked.lists.split_objects -= usize::from(chain.is_split());
        let (keep, mut doomed) = (self.keep(), Doomed::none());
        for part in chain.parts() {
            locked.give(part.id, part.unit, keep, &mut doomed);
        }
        self.sides.clear(index);
        drop(locked);
        self.frames.reap(&doomed);
        self.base.counters.remove_payload(chain.len());
        self.base.entries.give_back(index);
        // Not under the lock, which others need as well.
        if let Some(broken) = broken {
            panic!("{broken}");
        }
    }

    /// A block of this chain whose sentinel is broken, as far as nobody holds the frames.
    fn find_broken(&self, index: u32, chain: &Chain) -> Option<Broken> {
        let broken = |part: &&Part| {
            let guard = self.frames.slab.try_read(part.id);
            guard.is_ok_and(|guard| !is_intact(part.header(guard.parts().1), index))
        };
        let part = chain.parts().iter().filter(|_| PARANOID).find(broken)?;
        Some(Broken { index, frame: part.id, offset: part.offset() })
    }

    /// Replaces the content of an object by `bytes` of the same length, in place if nobody holds its frames, and
    /// otherwise at a new place: an open read keeps the old bytes.
    pub(super) fn replace(&self, handle: Handle, bytes: &[u8]) -> Result<(), WriteError> {
        loop {
            let (cell, entry, place) = self.base.entry(handle)?;
            let held =
                self.try_hold_for_writing(self.base.entries.index(handle), cell, entry, place);
            if let Some(mut held) = held {
                // It may be freed meanwhile; its blocks are filled anew only after this hold.
                let (chain, mut rest) = (held.chain, bytes);
                for &part in chain.parts() {
                    let (here, after) = rest.split_at(part.len);
                    part.split(held.frame(part)).1.copy_from_slice(here);
                    rest = after;
                }
                return Ok(());
            }
            let beside = || {
                self.rewrite(self.base.entries.index(handle), cell, entry, Content::Bytes(bytes))
            };
            let written = beside().or_else(|_| {
                self.make_room();
                self.insist(beside)
            });
            match written {
                Ok(true) => return Ok(()),
                // It was moved or freed meanwhile.
                Ok(false) => {}
                Err(NoBlocks { .. }) => {
                    return Err(WriteError::OutOfMemory { limit: self.base.limit_bytes() });
                }
            }
        }
    }

    /// Puts `content` at a new place for the object of `index`, makes entry and side words say it, and frees the old
    /// blocks. `false`: the entry is not `entry` any more, and nothing has changed.
    fn rewrite(
        &self,
        index: u32,
        cell: EntryCell<'_>,
        entry: Entry,
        content: Content<'_>,
    ) -> Result<bool, NoBlocks> {
        self.drain_some_deferred();
        let source = Source::Anywhere(ReserveAccess::Reserve);
        let mut draft = self.draft(content.len(), index, self.max_blocks, source, |_, _| Ok(()))?;
        draft.fill(index, content);
        let doomed = self.switch(index, cell, entry, draft, Replaced::All, self.keep());
        Ok(doomed.map(|doomed| self.frames.reap(&doomed)).is_some())
    }

    /// Makes entry and side words say the blocks of a draft instead of those that are replaced, and frees the latter;
    /// frames that are empty then are the caller's to kill. `None`: the entry is not `entry` any more, and nothing has
    /// changed.
    ///
    /// I-RELOCATE: the draft holds its frames for writing until both are changed. If the first block stays, the caller
    /// holds its frame for writing.
    pub(super) fn switch<'a>(
        &'a self,
        index: u32,
        cell: EntryCell<'_>,
        entry: Entry,
        mut draft: Draft<'a>,
        replaced: Replaced,
        keep: usize,
    ) -> Option<Doomed> {
        let mut locked = self.frames.lock();
        // Words change under this lock, so these are the entry's if it is still this one.
        let old = self.sides.chain(index, place_of(entry));
        let new = old.map(|old| match replaced {
            Replaced::All => draft.chain,
            Replaced::Block(at) => old.spliced(at, draft.chain.parts()),
        });
        let switched = old.zip(new).filter(|(_, new)| {
            let to = entry.at(new.place());
            // A free that comes after this looks at the words under the lock, and finds the new ones.
            if to == entry { cell.load() == entry } else { cell.exchange(entry, to) }
        });
        let Some((old, new)) = switched else {
            let doomed = draft.start_over(&mut locked, self.keep());
            drop(locked);
            self.frames.reap(&doomed);
            draft.retire_spares();
            return None;
        };
        self.sides.store(index, &new);
        locked.lists.split_objects += usize::from(new.is_split());
        locked.lists.split_objects -= usize::from(old.is_split());
        let mut doomed = Doomed::none();
        let replaced = match replaced {
            Replaced::All => old.parts(),
            Replaced::Block(at) => &old.parts()[at..=at],
        };
        for part in replaced {
            locked.give(part.id, part.unit, keep, &mut doomed);
        }
        Some(doomed)
    }

    /// Turns what is free, but in the wrong place, into room under the limit.
    pub(super) fn make_room(&self) {
        self.drain_all_deferred();
        self.empty_reserve();
        self.base.arena.reclaim();
    }

    /// Gives all frames of the reserve back to the arena.
    pub(super) fn empty_reserve(&self) {
        loop {
            let doomed = self.frames.lock().doom_whole();
            let Some(doomed) = doomed else { return };
            self.frames.reap(&doomed);
        }
    }
}

impl Attend for Xcfmalloc {
    fn has_deferred(&self) -> bool {
        self.frames.slab.has_deferred()
    }

    fn drain_deferred(&self) -> bool {
        self.frames.slab.drain_deferred(&mut |_| {})
    }
}
