//! xcfmalloc: scatter-gather. An object may lie in several blocks in different frames, so any hole is usable.
//!
//! Frames are carved into blocks, multiples of 64 bytes; each free block is on the list of its size. An object is a
//! chain of at most `max_blocks` blocks (2 unless the builder says otherwise).
//!
//! ```text
//!  handle -> entry: first block, number of blocks -> descriptor (place of the frame) -> header, bytes
//!            side words: the other blocks, length -> descriptor                      -> header, bytes
//! ```
//! | module | holds |
//! |---|---|
//! | `blocks` | how a frame is carved, two numbers of 64 bits |
//! | `header` | the bytes of a block: index, sentinel, payload |
//! | `chain` | the blocks of an object, and how entry and side words say them |
//! | `lists` | frames by the sizes of their free blocks, the reserve of whole ones |
//! | `draft` | blocks that are taken and held and not yet an object's |
//! | `place` | the selection of blocks |
//! | `lookup` | from a handle to bytes that stay |
//! | `life` | free, write, change of place |
//! | `compact` | emptying the sparsest frames into the holes of the others |
//! | `audit` | stats and validate |
//!
//! # What an object costs
//! | | bytes |
//! |---|---|
//! | entry | 8 |
//! | side words | 8 for `max_blocks` 1 and 2, 24 for 4, 56 for 8 |
//! | header | 4 a block; none for a block of a whole frame |
//! | rounding | 0 to 63 in its last block, 32 on average |
//! | its share of the frame's | 32 (descriptor), 8 (lists of sizes), 2 (lists of use), and the arena's 5 |
//!
//! So with two blocks and three objects a frame it is 16 bytes in tables, some 16 for the share of the frame, and 4 to
//! 8 in the blocks. The design of 2011 took 20 to 24 bytes a block and as many an object, 40 and more, and walked its
//! lists; here every step but the bytes is a few counts of zeros.
//!
//! # Concurrency
//! Blocks and lists are under one lock, held for one object at a time. Reading and `len` do not take it.

mod audit;
mod blocks;
mod chain;
mod compact;
mod draft;
mod header;
mod life;
mod lists;
mod lookup;
mod place;
#[cfg(all(test, not(loom)))]
mod tests;

use pagefold_frame::{
    Busy, ContiguousError, ContiguousRange, FRAME_BYTES, FrameMigrateError, Movable, ReserveAccess,
};
use pagefold_sys::sync::Mutex;

use self::{
    blocks::UNIT_BYTES,
    chain::{Part, Sides},
    header::{Broken, is_intact},
    lists::Frames,
};
use crate::{
    AllocError, Allocator, BuildError, CompactReport, Handle, HandleError, LimitError,
    MigrateError, Pool, PoolId, Slices, Stats, TrimReport, TryReadError, Violation, WriteError,
    attend::Attend,
    base::Base,
    config::{BlockSelection, PoolConfig, XcfmallocOptions},
};

/// The most blocks an object may have: what a read gives.
pub(crate) const MAX_BLOCKS: usize = Slices::MAX;
/// Frames that only overwriting and compaction may use, beside those of one object: pages of tables for them.
const RESERVE_PAGES: usize = 8;
/// The least a limit leaves beside fixed structures, reserve and one object: the first pages of every table.
const SPARE_FRAMES: usize = 32;
/// Frames that compaction frees at a time to lower a limit.
const LIMIT_STEP: usize = 256;

/// See the module.
#[derive(Debug)]
pub(crate) struct Xcfmalloc {
    base: Base,
    frames: Frames,
    sides: Sides,
    /// Held by whoever compacts.
    compactor: Mutex<compact::Progress>,
    max_blocks: usize,
    max_len: usize,
    selection: BlockSelection,
}

/// Bytes that are to become an object.
#[derive(Debug, Clone, Copy)]
enum Content<'a> {
    Zeros(usize),
    Bytes(&'a [u8]),
    Parts(&'a [&'a [u8]]),
}

impl Content<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Zeros(len) => *len,
            Self::Bytes(bytes) => bytes.len(),
            Self::Parts(parts) => parts.iter().map(|part| part.len()).sum(),
        }
    }

    /// Copies what begins at `from` to fill `place`.
    fn copy_to(&self, from: usize, place: &mut [u8]) {
        match self {
            Self::Zeros(_) => place.fill(0),
            Self::Bytes(bytes) => place.copy_from_slice(&bytes[from..from + place.len()]),
            Self::Parts(parts) => {
                let (mut skip, mut done) = (from, 0);
                for part in *parts {
                    let rest = part.get(skip..).unwrap_or_default();
                    skip = skip.saturating_sub(part.len());
                    let len = rest.len().min(place.len() - done);
                    place[done..done + len].copy_from_slice(&rest[..len]);
                    done += len;
                }
                assert_eq!(done, place.len(), "the content is as long as the object");
            }
        }
    }
}

impl Xcfmalloc {
    pub(crate) fn new(config: PoolConfig, options: XcfmallocOptions) -> Result<Self, BuildError> {
        let max_blocks = options.checked_max_blocks(MAX_BLOCKS)?;
        // An object takes a unit at least, so more never fit the frames.
        let base = Base::new(config, UNIT_BYTES, FRAME_BYTES)?;
        let address_space = base.arena.address_space();
        let mut pool = Self {
            frames: Frames::new(&base.arena, address_space / FRAME_BYTES)?,
            sides: Sides::new(&base, address_space / UNIT_BYTES, max_blocks)?,
            compactor: Mutex::new(compact::Progress::default()),
            max_blocks,
            max_len: max_blocks * FRAME_BYTES,
            selection: options.selection,
            base,
        };
        pool.base.put_limit(
            size_of::<Self>(),
            max_blocks + RESERVE_PAGES,
            max_blocks + SPARE_FRAMES,
        )?;
        Ok(pool)
    }

    /// # Panics
    /// If the header of a block is not what was written there.
    fn assert_intact(&self, index: u32, part: Part, frame: &[u8]) {
        let broken = Broken { index, frame: part.id, offset: part.offset() };
        assert!(is_intact(part.header(frame), index), "{broken}");
    }

    /// The slabs whose frames can be moved.
    fn movable(&self) -> [&dyn Movable; 1] {
        [&self.frames.slab]
    }

    /// Gives pages of side words back that no object needs; returns how many bytes.
    fn trim_sides(&self) -> usize {
        let (mut cursor, mut pages) = (Some(0), 0);
        while cursor.is_some() {
            let mut locked = self.frames.lock();
            pages += self.sides.trim(&mut locked.lists.ready, &mut cursor);
        }
        pages * FRAME_BYTES
    }
}

impl Pool for Xcfmalloc {
    fn name(&self) -> &'static str {
        Allocator::xcfmalloc().name()
    }

    fn id(&self) -> PoolId {
        self.base.entries.pool_id()
    }

    fn max_len(&self) -> usize {
        self.max_len
    }

    fn alloc(&self, len: usize) -> Result<Handle, AllocError> {
        self.insert(Content::Zeros(len), ReserveAccess::Normal)
    }

    fn store(&self, bytes: &[u8]) -> Result<Handle, AllocError> {
        if bytes.len() > self.max_len {
            return Err(AllocError::TooLarge { len: bytes.len(), max: self.max_len });
        }
        self.base
            .scratch
            .with_copy(bytes, |copy| self.insert(Content::Bytes(copy), ReserveAccess::Normal))
    }

    fn store_resident(&self, bytes: &[u8]) -> Result<Handle, AllocError> {
        self.insert(Content::Bytes(bytes), ReserveAccess::Normal)
    }

    fn store_within(&self, bytes: &[u8], access: ReserveAccess) -> Result<Handle, AllocError> {
        self.insert(Content::Bytes(bytes), access)
    }

    fn free(&self, handle: Handle) -> Result<(), HandleError> {
        self.remove(handle)
    }

    fn len(&self, handle: Handle) -> Result<usize, HandleError> {
        loop {
            let (cell, entry, _) = self.base.entry(handle)?;
            let len = self.sides.len(self.base.entries.index(handle));
            // The same word twice: the length is of the generation that the handle names.
            if cell.load() == entry {
                return Ok(len);
            }
        }
    }

    fn write(&self, handle: Handle, bytes: &[u8]) -> Result<(), WriteError> {
        let len = self.len(handle)?;
        if len != bytes.len() {
            return Err(WriteError::WrongLength { len, given: bytes.len() });
        }
        self.base.scratch.with_copy(bytes, |copy| self.replace(handle, copy))
    }

    #[inline]
    fn read(&self, handle: Handle, f: &mut dyn FnMut(Slices<'_>)) -> Result<(), HandleError> {
        match self.visit(handle, |id| self.frames.slab.read(id), f) {
            Ok(()) => Ok(()),
            Err(TryReadError::Handle(error)) => Err(error),
            Err(TryReadError::WouldBlock) => unreachable!("`Slab::read` waits"),
        }
    }

    fn try_read(&self, handle: Handle, f: &mut dyn FnMut(Slices<'_>)) -> Result<(), TryReadError> {
        self.visit(handle, |id| self.frames.slab.try_read(id), f)
    }

    fn compact(&self, budget: usize) -> CompactReport {
        self.base.compact(&self.movable(), budget, |budget| {
            let report = self.compact_objects(budget, u64::MAX);
            if !report.more {
                self.empty_reserve();
            }
            report
        })
    }

    fn migrate(&self, handle: Handle) -> Result<usize, MigrateError> {
        loop {
            let (cell, entry, place) = self.base.entry(handle)?;
            let index = self.base.entries.index(handle);
            // All of them, or none if somebody holds one: that is known before the first is moved.
            let held = self.try_hold_for_writing(index, cell, entry, place);
            let Some(chain) = held.map(|held| held.chain) else {
                if cell.load() != entry {
                    continue;
                }
                return Err(MigrateError::Busy(Busy::Locked));
            };
            let mut moved = 0;
            for (number, part) in chain.parts().iter().enumerate() {
                if chain.parts()[..number].iter().any(|before| before.id == part.id) {
                    continue;
                }
                match self.base.arena.migrate(&self.frames.slab, part.id) {
                    Ok(frames) => moved += frames.bytes(),
                    // Freed, moved or overwritten since its entry was loaded, or about to be.
                    Err(FrameMigrateError::Gone) if cell.load() != entry => break,
                    // An error says that everything is as it was, so what comes in between after the first move is none:
                    // the answer says how much was moved.
                    Err(_) if moved > 0 => return Ok(moved),
                    Err(stay) => return Err(MigrateError::from(stay)),
                }
            }
            if cell.load() == entry {
                return Ok(moved);
            }
        }
    }

    fn alloc_contiguous(
        &self,
        frames: usize,
        align: usize,
    ) -> Result<ContiguousRange<'_>, ContiguousError> {
        self.make_room();
        self.base.claim(&self.movable(), frames, align, &|| {
            self.compact_objects(usize::MAX, u64::MAX);
            self.empty_reserve();
        })
    }

    fn trim(&self) -> TrimReport {
        self.drain_all_deferred();
        self.empty_reserve();
        let entries = self.base.entries.trim() + self.trim_sides();
        let (frame_bytes, tables) = self.base.arena.trim();
        let metadata_bytes = entries + tables + self.frames.slab.trim();
        TrimReport { frame_bytes: frame_bytes as u64, metadata_bytes: metadata_bytes as u64 }
    }

    fn recycle_retired(&self) -> u64 {
        self.drain_all_deferred();
        self.base.entries.recycle_retired()
    }

    fn set_limit(&self, bytes: usize) -> Result<(), LimitError> {
        let compact = || {
            let over = self.base.memory.used().saturating_sub(bytes / FRAME_BYTES);
            let wanted = over.min(LIMIT_STEP) as u64;
            self.compact_objects(LIMIT_STEP * FRAME_BYTES, wanted).more
        };
        self.base.set_limit(bytes, &|| _ = self.trim(), &compact)
    }

    fn stats(&self) -> Stats {
        self.account()
    }

    fn validate(&self) -> Result<(), Violation> {
        self.audit().map_err(Violation)
    }
}
