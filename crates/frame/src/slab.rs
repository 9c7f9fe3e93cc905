//! The typed descriptor slab: descriptors by id, type-stable for as long as the pool lives.
//!
//! ```text
//!  Descriptor<M, W, L>   state word (8)   W words (4 each)   rest of a chain's place (28)   body M
//!                        lock, life,      atomics that need  nothing in that of a run       read and written
//!                        place            no hold            (`lay`)                        through guards
//! ```
//! An id may be looked up at any time, also after its descriptor died and also when it lives a new life: the slab
//! never unmaps, so the worst that a late look-up meets is a [`LockError::Gone`] or a hold on the successor, which the
//! caller notices when it loads its handle entry again.
//!
//! # Invariants
//! - A live descriptor owns its frames, a run or a chain: the owner word of each names it (I-OWNER).
//! - The body is initialised under the write hold that a life begins with, before any guard is made, and nobody reads
//!   it without a hold (I-BODY).
//! - An id is given out only while its state word is vacant, and lowest first, so that high pages empty out (I-ID).

use std::{mem::MaybeUninit, num::NonZeroU8, ptr::NonNull, sync::Arc};

#[cfg(loom)]
use pagefold_sys::sync::UnsafeCell;
use pagefold_sys::sync::{AtomicU32, Mutex};

use crate::{
    Arena, BitForest, Busy, FrameCount, FrameOwner, FrameRange, Isolated, LockError, MemoryBudget,
    OutOfFrames, ReadGuard, ReserveAccess, SourceError, WriteGuard,
    lay::{FrameLayout, Run},
    release::ReleaseList,
    state::{Kill, StateWord},
    table::{Entry, Table},
};

/// The id of a descriptor in its slab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DescriptorId(u32);

impl DescriptorId {
    /// Ids that fit an owner word beside its tag.
    pub const COUNT: u32 = 1 << 29;

    /// An id from a number that a pool kept. A number that was never an id is safe and finds nothing.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The id as a plain integer.
    pub fn get(self) -> u32 {
        self.0
    }
}

/// Which slab an owner word points into: 1 to 7.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag(NonZeroU8);

impl Tag {
    /// A tag.
    ///
    /// # Panics
    /// If `number` is not 1 to 7.
    pub const fn new(number: u8) -> Self {
        assert!(number >= 1 && number <= 7, "a tag is 1 to 7");
        match NonZeroU8::new(number) {
            Some(number) => Self(number),
            None => unreachable!(),
        }
    }

    pub(crate) fn word(self, id: DescriptorId) -> u32 {
        u32::from(self.0.get()) << 29 | id.0
    }

    pub(crate) fn split(word: u32) -> Option<(Self, DescriptorId)> {
        let tag = NonZeroU8::new((word >> 29).to_le_bytes()[0])?;
        Some((Self(tag), DescriptorId(word & (DescriptorId::COUNT - 1))))
    }
}

/// Whether the frames of a slab's descriptors may be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mobility {
    /// Contents are position-independent and reached through guards only.
    Movable,
    /// They stay where they are; kept in pageblocks of their own.
    Pinned,
}

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

/// What a descriptor's body may be: plain data that needs no drop.
pub trait Body: Copy + Send + Sync {}

impl<M: Copy + Send + Sync> Body for M {}

/// One descriptor; see the module.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Descriptor<M, const W: usize, L: FrameLayout> {
    pub(crate) state: StateWord,
    words: [AtomicU32; W],
    /// Where the frames are, as far as the state word does not say it.
    pub(crate) rest: L::Rest,
    body: std::cell::UnsafeCell<MaybeUninit<M>>,
    /// What loom watches in place of body and bytes.
    #[cfg(loom)]
    pub(crate) watch: UnsafeCell<()>,
}

// SAFETY: the body is reached through guards only: shared by readers, exclusive for the writer (I-BODY).
unsafe impl<M: Body, const W: usize, L: FrameLayout> Sync for Descriptor<M, W, L> {}

// SAFETY: all zero is a vacant state word, zero words, a valid rest (by its kind's contract) and an uninitialised body;
// neither a rest nor a `Copy` body needs a drop.
unsafe impl<M: Body, const W: usize, L: FrameLayout> Entry for Descriptor<M, W, L> {
    #[cfg(loom)]
    fn vacant() -> Self {
        Self {
            state: StateWord::vacant(),
            words: std::array::from_fn(|_| AtomicU32::new(0)),
            rest: L::Rest::default(),
            body: std::cell::UnsafeCell::new(MaybeUninit::uninit()),
            watch: UnsafeCell::new(()),
        }
    }

    #[cfg(loom)]
    const MODEL_ENTRIES: usize = 6;
}

impl<M, const W: usize, L: FrameLayout> Descriptor<M, W, L> {
    #[inline]
    pub(crate) fn body_ptr(&self) -> NonNull<M> {
        NonNull::new(self.body.get().cast()).expect("a cell has an address")
    }
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
    /// Somebody holds it; its frames are freed after the last hold is gone.
    Later,
}

/// What somebody must look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deferred {
    /// A descriptor may have work pending: lock it for writing and see.
    Pending(DescriptorId),
    /// A dying descriptor was freed.
    Freed(FrameCount),
}

/// Descriptors of one type over the frames of one arena. `W` is the number of words that need no hold, `L` how the frames
/// of each lie.
#[derive(Debug)]
pub struct Slab<M: Body, const W: usize, L: FrameLayout = Run> {
    arena: Arc<Arena>,
    config: SlabConfig,
    table: Table<Descriptor<M, W, L>>,
    ids: Mutex<Ids>,
    released: ReleaseList,
}

impl<M: Body, const W: usize, L: FrameLayout> Slab<M, W, L> {
    /// Bytes of one descriptor.
    pub const DESCRIPTOR_BYTES: usize = size_of::<Descriptor<M, W, L>>();

    /// An empty slab.
    ///
    /// # Errors
    /// [`SourceError`] when the address space cannot be had.
    pub fn new(arena: &Arc<Arena>, config: SlabConfig) -> Result<Self, SourceError> {
        let memory: &Arc<MemoryBudget> = arena.memory();
        let table = Table::new(memory, config.capacity.min(DescriptorId::COUNT as usize))?;
        let capacity = table.capacity();
        Ok(Self {
            arena: Arc::clone(arena),
            config,
            table,
            ids: Mutex::new(Ids { given_back: BitForest::new(memory, capacity, 1)?, next: 0 }),
            released: ReleaseList::new(memory, capacity)?,
        })
    }

    #[inline]
    fn descriptor(&self, id: DescriptorId) -> Option<&Descriptor<M, W, L>> {
        self.table.get(id.0 as usize)
    }

    /// A new descriptor with its frames, held for writing. The bytes are whatever was there: zero, or what an earlier
    /// owner left.
    ///
    /// # Errors
    /// [`OutOfFrames`]; nothing has changed.
    ///
    /// # Panics
    /// If these are more frames than a chain may have.
    pub fn create(
        &self,
        frames: FrameCount,
        access: ReserveAccess,
        body: M,
    ) -> Result<WriteGuard<'_, M, W, L>, OutOfFrames> {
        let id = self.take_id(access)?;
        let descriptor = self.descriptor(id).expect("an id that was taken is usable");
        let location = match self.take_frames(&descriptor.rest, frames, access, id) {
            Ok(location) => location,
            Err(error) => {
                self.return_id(id);
                return Err(error);
            }
        };
        for word in &descriptor.words {
            // ORDERING: Relaxed; published, as the body is, by the Release of the write hold that `publish` takes.
            word.store(0, pagefold_sys::sync::Ordering::Relaxed);
        }
        // The word goes live with its write hold before the body is written; nobody looks at the body without a hold.
        descriptor.state.publish(location);
        // SAFETY: the write hold just taken is exclusive. (I-BODY)
        unsafe { descriptor.body_ptr().write(body) };
        Ok(WriteGuard::new(self, descriptor, id, location))
    }

    /// Frames for the descriptor `id`, all of them or none.
    fn take_frames(
        &self,
        rest: &L::Rest,
        frames: FrameCount,
        access: ReserveAccess,
        id: DescriptorId,
    ) -> Result<FrameRange, OutOfFrames> {
        assert!(frames <= L::FRAMES_MAX, "more frames than a descriptor of this kind may have");
        let (owner, mobility) = (FrameOwner { tag: self.config.tag, id }, self.config.mobility);
        let pieces = L::pieces(frames);
        let each = FrameCount::new(frames.get() / pieces);
        let first = self.arena.alloc(each, mobility, access, owner)?;
        let whole = FrameRange { start: first.start, frames };
        for number in 1..pieces {
            match self.arena.alloc(each, mobility, access, owner) {
                Ok(piece) => L::put(rest, number, piece.start),
                Err(error) => {
                    for taken in 0..number {
                        self.arena.free(L::piece(rest, whole, taken), mobility);
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
                self.released.ensure(id, access)?;
                ids.given_back.ensure(id, access)?;
                ids.next += 1;
                id
            }
        };
        Ok(DescriptorId(u32::try_from(id).expect("a slab's capacity fits 29 bits")))
    }

    fn return_id(&self, id: DescriptorId) {
        let fresh = self.ids.lock().given_back.insert(0, id.0 as usize);
        assert!(fresh, "I-ID: an id is given back once");
    }

    /// The frames and the id of a descriptor whose state word is vacant again.
    pub(crate) fn give_back(&self, id: DescriptorId, location: FrameRange) {
        let rest = &self.descriptor(id).expect("an id that was given out").rest;
        for number in 0..L::pieces(location.frames) {
            self.arena.free(L::piece(rest, location, number), self.config.mobility);
        }
        self.return_id(id);
    }

    #[inline]
    pub(crate) fn base_of(&self, location: FrameRange) -> NonNull<u8> {
        self.arena.base_of(location)
    }

    /// How many pieces of a descriptor can be moved, if it lives.
    pub(crate) fn pieces(&self, id: DescriptorId) -> Option<u32> {
        self.frame_range(id).map(|location| L::pieces(location.frames))
    }

    /// The words of a descriptor that need no hold. What they mean is the pool's protocol; a stale id reads the words
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

    /// Holds a descriptor for reading; waits while a writer is at work.
    ///
    /// # Errors
    /// [`LockError::Gone`] when nothing lives under this id.
    #[inline]
    pub fn read(&self, id: DescriptorId) -> Result<ReadGuard<'_, M, W, L>, LockError> {
        let descriptor = self.descriptor(id).ok_or(LockError::Gone)?;
        let location = match descriptor.state.try_read() {
            Ok(location) => location,
            Err(LockError::Gone) => return Err(LockError::Gone),
            Err(LockError::Busy) => descriptor.state.read().ok_or(LockError::Gone)?,
        };
        Ok(ReadGuard::new(self, descriptor, id, location))
    }

    /// As [`read`](Self::read), without waiting.
    ///
    /// # Errors
    /// [`LockError::Busy`] when a writer is at work.
    pub fn try_read(&self, id: DescriptorId) -> Result<ReadGuard<'_, M, W, L>, LockError> {
        let descriptor = self.descriptor(id).ok_or(LockError::Gone)?;
        let location = descriptor.state.try_read()?;
        Ok(ReadGuard::new(self, descriptor, id, location))
    }

    /// Holds a descriptor for writing, if nobody holds it.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn try_write(&self, id: DescriptorId) -> Result<WriteGuard<'_, M, W, L>, LockError> {
        let descriptor = self.descriptor(id).ok_or(LockError::Gone)?;
        let location = descriptor.state.try_write()?;
        Ok(WriteGuard::new(self, descriptor, id, location))
    }

    /// Isolates a descriptor, so that its frames can be moved. Waits for nobody and excludes nobody but other movers:
    /// the descriptor may be read, written and freed meanwhile.
    ///
    /// # Errors
    /// [`LockError::Gone`] when nothing lives under this id or it is dying, [`LockError::Busy`] when it is isolated.
    pub fn isolate(&self, id: DescriptorId) -> Result<Isolated<'_, M, W, L>, LockError> {
        let descriptor = self.descriptor(id).ok_or(LockError::Gone)?;
        #[cfg(feature = "fault-injection")]
        if self.arena.memory().source().injects_isolation() {
            return Err(LockError::Busy);
        }
        let location = descriptor.state.isolate()?;
        Ok(Isolated::new(self, descriptor, id, location))
    }

    /// Frees a dying descriptor that nobody holds any more, if it is one.
    pub(crate) fn finish(&self, id: DescriptorId) -> bool {
        let claimed = self.descriptor(id).and_then(|descriptor| descriptor.state.claim());
        if let Some(location) = claimed {
            self.give_back(id, location);
        }
        claimed.is_some()
    }

    /// Why a descriptor's frames could not be moved now, if they could not. A hint.
    pub(crate) fn busy(&self, id: DescriptorId) -> Option<Busy> {
        let state = &self.descriptor(id)?.state;
        match () {
            () if self.config.mobility == Mobility::Pinned => Some(Busy::Pinned),
            () if state.is_held() => Some(Busy::Locked),
            () if state.is_isolated() => Some(Busy::Isolated),
            () => None,
        }
    }

    pub(crate) fn config(&self) -> &SlabConfig {
        &self.config
    }

    pub(crate) fn arena(&self) -> &Arena {
        &self.arena
    }

    /// Ends a descriptor's life: at once, or when its last hold goes. Never waits.
    ///
    /// # Panics
    /// If nothing lives under this id. The pool's handle entry decides who may kill, and does so once.
    pub fn reap(&self, id: DescriptorId) -> Release {
        let descriptor = self.descriptor(id).expect("an id that was given out");
        match descriptor.state.reap() {
            Kill::Claimed(location) => {
                self.give_back(id, location);
                Release::Now
            }
            Kill::Held => Release::Later,
        }
    }

    /// Says that work for the next writer was left in the descriptor's words. Never waits.
    pub fn note_pending(&self, id: DescriptorId) {
        if self.descriptor(id).expect("an id that was given out").state.note_pending() {
            self.report(id);
        }
    }

    #[cold]
    pub(crate) fn report(&self, id: DescriptorId) {
        self.released.push(id.0 as usize);
    }

    /// Whether somebody should call [`drain_deferred`](Self::drain_deferred). One load.
    #[inline]
    pub fn has_deferred(&self) -> bool {
        !self.released.is_empty()
    }

    /// Takes some reports: frees dying descriptors, and passes on those with pending work. `false`: none were left.
    pub fn drain_deferred(&self, f: &mut dyn FnMut(Deferred)) -> bool {
        self.released.take(|number| {
            let id = DescriptorId(u32::try_from(number).expect("a slab's capacity fits 29 bits"));
            let descriptor = self.descriptor(id).expect("a reported id was given out");
            match descriptor.state.claim() {
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
        pages * crate::FRAME_BYTES
    }

    /// The ids of live descriptors, with where they are, as [`location`](Self::frame_range) says it. For inspection: others may come and go meanwhile.
    pub fn live(&self) -> impl Iterator<Item = (DescriptorId, FrameRange)> + '_ {
        let next = self.ids.lock().next;
        (0..next).filter_map(|number| {
            let id = DescriptorId(u32::try_from(number).ok()?);
            Some((id, self.descriptor(id)?.state.frame_range()?))
        })
    }

    /// Checks I-OWNER and I-ID, and that nothing is held. For a quiet slab.
    ///
    /// # Errors
    /// A sentence that names what is wrong.
    pub fn validate(&self) -> Result<(), String> {
        let ids = self.ids.lock();
        for number in 0..ids.next {
            let id = DescriptorId(u32::try_from(number).expect("29 bits"));
            let state = self.descriptor(id).map(|descriptor| &descriptor.state);
            let location = state.and_then(StateWord::frame_range);
            if location.is_some() == ids.given_back.contains(0, number) {
                return Err(format!("I-ID: descriptor {number} is both or neither live and free"));
            }
            let Some(location) = location else { continue };
            if state.is_some_and(StateWord::is_held) {
                return Err(format!("descriptor {number} is held in a quiet slab"));
            }
            if state.is_some_and(StateWord::is_isolated) {
                return Err(format!("descriptor {number} is isolated in a quiet slab"));
            }
            let owner = FrameOwner { tag: self.config.tag, id };
            let rest = &self.descriptor(id).expect("it has a location").rest;
            let pieces = 0..L::pieces(location.frames);
            for frame in pieces.flat_map(|number| L::piece(rest, location, number).range()) {
                if self.arena.owner(crate::FrameNo(frame)) != Some(owner) {
                    return Err(format!(
                        "I-OWNER: frame {frame} does not name descriptor {number}"
                    ));
                }
            }
        }
        Ok(())
    }
}
