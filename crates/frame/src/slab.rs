//! Typed descriptors by id, in memory that is never unmapped.
//!
//! ```text
//!  Descriptor<M, W, L>   state word (8)   W words (4 each)   further extents (28)   body M
//!                        `state`          need no lock       none for a run         only through guards
//! ```
//! A late look-up meets [`LockError::Gone`](crate::LockError::Gone), or locks the successor; the caller then sees it in
//! its handle entry.
//!
//! # Invariants
//! - The owner word of each frame of a live descriptor names it (I-OWNER).
//! - The body is initialised under the write lock that begins a life, before any guard; no thread reads it without a
//!   lock (I-BODY).
//! - An id is given out only while its state word is vacant, lowest first, so that high pages empty out (I-ID).

mod access;
mod audit;
mod descriptor;

use std::{ptr::NonNull, sync::Arc};

use pagefold_sys::{
    memory::Reservation,
    sync::{AtomicU32, Mutex},
};

pub use self::descriptor::Body;
pub(crate) use self::descriptor::Descriptor;
use crate::{
    Arena, BitForest, DescriptorId, FRAME_BYTES, FrameCount, FrameOwner, FrameRange, MemoryBudget,
    Mobility, OutOfFrames, ReserveAccess, SourceError, Tag,
    deferred::DeferredList,
    layout::{FrameLayout, Run},
    table::Table,
};

/// Settings of a slab.
#[derive(Debug, Clone, Copy)]
pub struct SlabConfig {
    /// Unique in the arena.
    pub tag: Tag,
    /// Whether its frames may move.
    pub mobility: Mobility,
    /// The most descriptors.
    pub capacity: usize,
}

/// Free ids: `given_back`, and all from `next`.
#[derive(Debug)]
struct Ids {
    given_back: BitForest,
    next: usize,
}

/// The outcome of a free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Its frames are free.
    Now,
    /// The last guard to drop defers the free.
    Later,
}

/// One piece of deferred work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deferred {
    /// May have pending work: write-lock it.
    Pending(DescriptorId),
    /// Frames of a dying descriptor.
    Freed(FrameCount),
}

/// Descriptors of one type, each with `W` words that need no lock and layout `L`.
#[derive(Debug)]
pub struct Slab<M: Body, const W: usize, L: FrameLayout = Run> {
    arena: Arc<Arena>,
    config: SlabConfig,
    table: Table<Descriptor<M, W, L>>,
    ids: Mutex<Ids>,
    deferred: DeferredList,
}

impl<M: Body, const W: usize, L: FrameLayout> Slab<M, W, L> {
    /// Size of a descriptor.
    pub const DESCRIPTOR_BYTES: usize = size_of::<Descriptor<M, W, L>>();

    /// An empty slab.
    ///
    /// # Errors
    /// [`SourceError`] without address space.
    pub fn new(arena: &Arc<Arena>, config: SlabConfig) -> Result<Self, SourceError> {
        let memory: &Arc<MemoryBudget> = arena.memory();
        let table = Table::new(memory, config.capacity.min(DescriptorId::COUNT as usize))?;
        let capacity = table.capacity();
        Ok(Self {
            arena: Arc::clone(arena),
            config,
            table,
            ids: Mutex::new(Ids { given_back: BitForest::new(memory, capacity, 1)?, next: 0 }),
            deferred: DeferredList::new(memory, capacity)?,
        })
    }

    #[inline]
    fn descriptor(&self, id: DescriptorId) -> Option<&Descriptor<M, W, L>> {
        self.table.get(id.get() as usize)
    }

    fn take_frames(
        &self,
        further: &L::Further,
        frames: FrameCount,
        access: ReserveAccess,
        id: DescriptorId,
    ) -> Result<FrameRange, OutOfFrames> {
        assert!(frames <= L::FRAMES_MAX, "more frames than a descriptor of this kind may have");
        let (owner, mobility) = (FrameOwner { tag: self.config.tag, id }, self.config.mobility);
        let extents = L::extents(frames);
        let each = FrameCount::new(frames.get() / extents);
        let first = self.arena.alloc(each, mobility, access, owner)?;
        let whole = FrameRange { start: first.start, frames };
        for number in 1..extents {
            match self.arena.alloc(each, mobility, access, owner) {
                Ok(extent) => L::put(further, number, extent.start),
                Err(error) => {
                    for taken in 0..number {
                        self.arena.free(L::extent(further, whole, taken), mobility);
                    }
                    return Err(error);
                }
            }
        }
        Ok(whole)
    }

    fn take_id(&self, access: ReserveAccess) -> Result<DescriptorId, OutOfFrames> {
        let mut ids = self.ids.lock();
        let id = match ids.given_back.first(0) {
            Some(id) => {
                // Its page may have been given back.
                self.table.ensure(id, access)?;
                ids.given_back.remove(0, id);
                id
            }
            None => {
                let id = ids.next;
                self.table.ensure(id, access)?;
                self.deferred.ensure(id, access)?;
                ids.given_back.ensure(id, access)?;
                ids.next += 1;
                id
            }
        };
        Ok(DescriptorId::new(u32::try_from(id).expect("a slab's capacity fits 29 bits")))
    }

    fn return_id(&self, id: DescriptorId) {
        let fresh = self.ids.lock().given_back.insert(0, id.get() as usize);
        assert!(fresh, "I-ID: an id is given back once");
    }

    /// The state word is vacant again.
    pub(crate) fn give_back(&self, id: DescriptorId, location: FrameRange) {
        let further = &self.descriptor(id).expect("an id that was given out").further;
        for number in 0..L::extents(location.frames) {
            self.arena.free(L::extent(further, location, number), self.config.mobility);
        }
        self.return_id(id);
    }

    #[inline]
    pub(crate) fn base_of(&self, location: FrameRange) -> NonNull<u8> {
        self.arena.base_of(location)
    }

    pub(crate) fn extents(&self, id: DescriptorId) -> Option<u32> {
        self.frame_range(id).map(|location| L::extents(location.frames))
    }

    /// The words that need no lock. A stale id reads its successor's.
    ///
    /// # Panics
    /// If the id was never given out.
    pub fn words(&self, id: DescriptorId) -> &[AtomicU32; W] {
        &self.descriptor(id).expect("an id that was given out").words
    }

    /// The frames of a live descriptor; of a chain, the first and the count. They may move.
    pub fn frame_range(&self, id: DescriptorId) -> Option<FrameRange> {
        self.descriptor(id)?.state.frame_range()
    }

    pub(crate) fn config(&self) -> &SlabConfig {
        &self.config
    }

    pub(crate) fn reservation(&self) -> &Reservation {
        &self.arena.reservation
    }

    pub(crate) fn arena(&self) -> &Arena {
        &self.arena
    }

    /// Notes work for the next writer. Never waits.
    pub fn note_pending(&self, id: DescriptorId) {
        if self.descriptor(id).expect("an id that was given out").state.note_pending() {
            self.defer(id);
        }
    }

    #[cold]
    pub(crate) fn defer(&self, id: DescriptorId) {
        self.deferred.push(id.get() as usize);
    }

    /// Whether [`drain_deferred`](Self::drain_deferred) finds work. One load.
    #[inline]
    pub fn has_deferred(&self) -> bool {
        !self.deferred.is_empty()
    }

    /// Frees some dying descriptors and passes pending ones to `f`. `false`: none was left.
    pub fn drain_deferred(&self, f: &mut dyn FnMut(Deferred)) -> bool {
        self.deferred.take(|number| {
            let id =
                DescriptorId::new(u32::try_from(number).expect("a slab's capacity fits 29 bits"));
            let descriptor = self.descriptor(id).expect("a reported id was given out");
            match descriptor.state.reap_dying() {
                Some(location) => {
                    self.give_back(id, location);
                    f(Deferred::Freed(location.frames));
                }
                None => f(Deferred::Pending(id)),
            }
        })
    }

    /// Gives back empty table pages; returns the bytes.
    pub fn trim(&self) -> usize {
        let (mut cursor, mut pages) = (Some(0), 0);
        while cursor.is_some() {
            let mut ids = self.ids.lock();
            while ids.next > 0 && ids.given_back.remove(0, ids.next - 1) {
                ids.next -= 1;
            }
            // SAFETY: this lock keeps vacant ids from being taken, so no thread writes their descriptors; late look-ups
            // and notes only load the state word.
            pages += unsafe {
                self.table.release_vacant(&mut cursor, &mut |entries| {
                    entries.clone().all(|id| id >= ids.next || ids.given_back.contains(0, id))
                })
            };
        }
        pages * FRAME_BYTES
    }
}
