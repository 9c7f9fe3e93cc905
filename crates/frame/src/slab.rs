//! The typed descriptor slab: descriptors by id, type-stable for as long as the pool lives.
//!
//! ```text
//!  Descriptor<M, W, L>   state word (8)   W words (4 each)   further extents of a chain (28)   body M
//!                        lock, life,      atomics that need  nothing for a run                 read and written
//!                        first extent     no lock            (`layout`)                        through guards
//! ```
//! An id may be looked up at any time, also after its descriptor died: the slab never unmaps. A late look-up meets
//! [`LockError::Gone`](crate::LockError::Gone), or locks the successor, and the caller notices when it loads its handle
//! entry again.
//!
//! # Invariants
//! - A live descriptor owns its frames, a run or a chain: the owner word of each names it (I-OWNER).
//! - The body is initialised under the write lock that a life begins with, before any guard is made, and no thread
//!   reads it without a lock (I-BODY).
//! - An id is given out only while its state word is vacant, and lowest first, so that high pages empty out (I-ID).

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

/// What a slab is for.
#[derive(Debug, Clone, Copy)]
pub struct SlabConfig {
    /// The tag in owner words; one slab of an arena each.
    pub tag: Tag,
    /// Whether its frames may be moved.
    pub mobility: Mobility,
    /// Descriptors there may ever be.
    pub capacity: usize,
}

/// Ids that are free: those given back, and all from `next` on.
#[derive(Debug)]
struct Ids {
    given_back: BitForest,
    next: usize,
}

/// What became of a descriptor that was to be freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Its frames are free.
    Now,
    /// A guard locks it; its frames are freed after the last one is dropped.
    Later,
}

/// Deferred work that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deferred {
    /// A descriptor may have work pending: lock it for writing and see.
    Pending(DescriptorId),
    /// A dying descriptor was freed.
    Freed(FrameCount),
}

/// Descriptors of one type over the frames of one arena. `W` is the number of words that need no lock, `L` how the
/// frames of each lie.
#[derive(Debug)]
pub struct Slab<M: Body, const W: usize, L: FrameLayout = Run> {
    arena: Arc<Arena>,
    config: SlabConfig,
    table: Table<Descriptor<M, W, L>>,
    ids: Mutex<Ids>,
    deferred: DeferredList,
}

impl<M: Body, const W: usize, L: FrameLayout> Slab<M, W, L> {
    /// Bytes of one descriptor.
    pub const DESCRIPTOR_BYTES: usize = size_of::<Descriptor<M, W, L>>();

    /// An empty slab.
    ///
    /// # Errors
    /// [`SourceError`] when the source cannot reserve the address space.
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

    /// Frames for the descriptor `id`, all of them or none.
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
                // Its page may have gone back to the system since.
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

    /// The frames and the id of a descriptor whose state word is vacant again.
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

    /// How many extents of a descriptor can be moved, if it lives.
    pub(crate) fn extents(&self, id: DescriptorId) -> Option<u32> {
        self.frame_range(id).map(|location| L::extents(location.frames))
    }

    /// The words of a descriptor that need no lock. What they mean is the pool's protocol; a stale id reads the words
    /// of whatever lives there now.
    ///
    /// # Panics
    /// If the id was never given out.
    pub fn words(&self, id: DescriptorId) -> &[AtomicU32; W] {
        &self.descriptor(id).expect("an id that was given out").words
    }

    /// Where the frames of a descriptor are, if it lives; of a chain, where the first is and how many there are. For
    /// accounting: nothing keeps them there.
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

    /// Says that work for the next writer was left in the descriptor's words. Never waits.
    pub fn note_pending(&self, id: DescriptorId) {
        if self.descriptor(id).expect("an id that was given out").state.note_pending() {
            self.defer(id);
        }
    }

    #[cold]
    pub(crate) fn defer(&self, id: DescriptorId) {
        self.deferred.push(id.get() as usize);
    }

    /// Whether a call of [`drain_deferred`](Self::drain_deferred) would find work. One load.
    #[inline]
    pub fn has_deferred(&self) -> bool {
        !self.deferred.is_empty()
    }

    /// Runs some deferred work: frees dying descriptors, and passes pending ones on. `false`: none were left.
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

    /// Gives pages of the table back that hold no descriptor. Returns how many bytes.
    pub fn trim(&self) -> usize {
        let (mut cursor, mut pages) = (Some(0), 0);
        while cursor.is_some() {
            let mut ids = self.ids.lock();
            while ids.next > 0 && ids.given_back.remove(0, ids.next - 1) {
                ids.next -= 1;
            }
            // SAFETY: a vacant descriptor is written only after its id was taken, which this lock keeps from
            // happening; late look-ups and notes only load a vacant state word.
            pages += unsafe {
                self.table.release_vacant(&mut cursor, &mut |entries| {
                    entries.clone().all(|id| id >= ids.next || ids.given_back.contains(0, id))
                })
            };
        }
        pages * FRAME_BYTES
    }
}
