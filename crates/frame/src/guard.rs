//! Guards: the only way to a descriptor's body and to the bytes of its frames.
//!
//! A guard is a lock on the state word: while it lives, the frames neither move nor end. Dropping the last lock of a
//! dying or pending descriptor defers it; a reader does no more.

use std::fmt;

use crate::{
    DescriptorId, FrameRange,
    layout::{Chain, ChainBytes, ChainBytesMut, FrameLayout, Run},
    slab::{Body, Descriptor, Slab},
    state::Reap,
};

#[cfg(loom)]
type ReadWatch = Option<pagefold_sys::sync::ConstPtr<()>>;
#[cfg(loom)]
type WriteWatch = Option<pagefold_sys::sync::MutPtr<()>>;

/// Shared access to a descriptor's body and bytes.
pub struct ReadGuard<'a, M: Body, const W: usize, L: FrameLayout = Run> {
    slab: &'a Slab<M, W, L>,
    descriptor: &'a Descriptor<M, W, L>,
    id: DescriptorId,
    location: FrameRange,
    #[cfg(loom)]
    watch: ReadWatch,
}

impl<'a, M: Body, const W: usize, L: FrameLayout> ReadGuard<'a, M, W, L> {
    #[inline]
    pub(crate) fn new(
        slab: &'a Slab<M, W, L>,
        descriptor: &'a Descriptor<M, W, L>,
        id: DescriptorId,
        location: FrameRange,
    ) -> Self {
        Self {
            slab,
            descriptor,
            id,
            location,
            #[cfg(loom)]
            watch: Some(descriptor.watch.get()),
        }
    }

    /// The descriptor's id.
    pub fn id(&self) -> DescriptorId {
        self.id
    }

    /// How many frames it has.
    pub fn frames(&self) -> crate::FrameCount {
        self.location.frames
    }

    #[inline]
    fn body(&self) -> &M {
        // SAFETY: this lock keeps writers away until it drops, and the body was written under the first write lock of
        // this life, before any other lock was given. (I-BODY)
        unsafe { self.descriptor.body_ptr().as_ref() }
    }
}

impl<M: Body, const W: usize> ReadGuard<'_, M, W, Run> {
    /// The body and the bytes of the run.
    #[inline]
    pub fn parts(&self) -> (&M, &[u8]) {
        let base = self.slab.base_of(self.location);
        // SAFETY: the run is committed memory that this descriptor owns; this lock keeps writers (and with them
        // every change of the place) away until it drops.
        let bytes =
            unsafe { std::slice::from_raw_parts(base.as_ptr(), self.location.frames.bytes()) };
        (self.body(), bytes)
    }
}

impl<M: Body, const W: usize> ReadGuard<'_, M, W, Chain> {
    /// The body, and the bytes of the chain by frame.
    #[inline]
    pub fn parts(&self) -> (&M, ChainBytes<'_>) {
        // SAFETY: this lock keeps writers (and with them every change of the place) away until it drops, and the view
        // borrows it. (I-PIECE)
        let bytes = unsafe {
            ChainBytes::new(self.slab.reservation(), &self.descriptor.further, self.location)
        };
        (self.body(), bytes)
    }
}

impl<M: Body, const W: usize, L: FrameLayout> Drop for ReadGuard<'_, M, W, L> {
    #[inline]
    fn drop(&mut self) {
        #[cfg(loom)]
        drop(self.watch.take());
        if self.descriptor.state.unlock_read() {
            self.slab.defer(self.id);
        }
    }
}

/// Exclusive access to a descriptor's body and bytes.
pub struct WriteGuard<'a, M: Body, const W: usize, L: FrameLayout = Run> {
    slab: &'a Slab<M, W, L>,
    descriptor: &'a Descriptor<M, W, L>,
    id: DescriptorId,
    location: FrameRange,
    #[cfg(loom)]
    watch: WriteWatch,
}

impl<'a, M: Body, const W: usize, L: FrameLayout> WriteGuard<'a, M, W, L> {
    pub(crate) fn new(
        slab: &'a Slab<M, W, L>,
        descriptor: &'a Descriptor<M, W, L>,
        id: DescriptorId,
        location: FrameRange,
    ) -> Self {
        Self {
            slab,
            descriptor,
            id,
            location,
            #[cfg(loom)]
            watch: Some(descriptor.watch.get_mut()),
        }
    }

    /// The descriptor's id.
    pub fn id(&self) -> DescriptorId {
        self.id
    }

    /// How many frames it has.
    pub fn frames(&self) -> crate::FrameCount {
        self.location.frames
    }

    /// Ends the descriptor's life and frees its frames.
    pub fn retire(self) {
        let (slab, descriptor, id, location) = (self.slab, self.descriptor, self.id, self.location);
        #[cfg(loom)]
        {
            let mut this = self;
            drop(this.watch.take());
            std::mem::forget(this);
        }
        #[cfg(not(loom))]
        std::mem::forget(self);
        // An isolated one is freed after it is put back.
        if let Reap::Now(_) = descriptor.state.retire() {
            slab.give_back(id, location);
        }
    }

    pub(crate) fn extent(&self, number: u32) -> FrameRange {
        L::extent(&self.descriptor.further, self.location, number)
    }

    /// Copies an extent to another run of the same length, which becomes this descriptor's. Returns the old one, now
    /// without owner.
    ///
    /// The caller isolated the descriptor. The owner words give `to` to this descriptor, and no other thread has it.
    pub(crate) fn relocate(&mut self, number: u32, to: FrameRange) -> FrameRange {
        let from = self.extent(number);
        assert_eq!(from.frames, to.frames, "a extent keeps its length");
        let (source, target) = (self.slab.base_of(from), self.slab.base_of(to));
        // SAFETY: both runs are committed memory and different ones: the old run is this descriptor's, whose lock is
        // exclusive, and the new one was handed out for it a moment ago, so they do not overlap and no other thread
        // reads or writes either.
        unsafe { source.copy_to_nonoverlapping(target, to.frames.bytes()) };
        if number == 0 {
            self.location.start = to.start;
            self.descriptor.state.relocate(self.location);
        } else {
            L::put(&self.descriptor.further, number, to.start);
        }
        from
    }
}

impl<M: Body, const W: usize, L: FrameLayout> WriteGuard<'_, M, W, L> {
    fn body(&mut self) -> &mut M {
        // SAFETY: this lock is exclusive until it drops, and the body was written under the first write lock of this
        // life, before a guard for it was made. (I-BODY)
        unsafe { self.descriptor.body_ptr().as_mut() }
    }
}

impl<M: Body, const W: usize> WriteGuard<'_, M, W, Run> {
    /// The body and the bytes of the run.
    pub fn parts(&mut self) -> (&mut M, &mut [u8]) {
        let base = self.slab.base_of(self.location);
        // SAFETY: the run is committed memory that this descriptor owns, and this lock is exclusive until it drops.
        let bytes =
            unsafe { std::slice::from_raw_parts_mut(base.as_ptr(), self.location.frames.bytes()) };
        (self.body(), bytes)
    }
}

impl<M: Body, const W: usize> WriteGuard<'_, M, W, Chain> {
    /// The body, and the bytes of the chain by frame.
    pub fn parts(&mut self) -> (&mut M, ChainBytesMut<'_>) {
        let (reservation, further) = (self.slab.reservation(), &self.descriptor.further);
        // SAFETY: this lock is exclusive until it drops, and the view borrows it for as long. (I-PIECE)
        let bytes = unsafe { ChainBytesMut::new(reservation, further, self.location) };
        (self.body(), bytes)
    }
}

impl<M: Body, const W: usize, L: FrameLayout> Drop for WriteGuard<'_, M, W, L> {
    fn drop(&mut self) {
        #[cfg(loom)]
        drop(self.watch.take());
        if self.descriptor.state.unlock_write() {
            self.slab.defer(self.id);
        }
    }
}

impl<M: Body, const W: usize, L: FrameLayout> fmt::Debug for ReadGuard<'_, M, W, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadGuard").field("id", &self.id).finish_non_exhaustive()
    }
}

impl<M: Body, const W: usize, L: FrameLayout> fmt::Debug for WriteGuard<'_, M, W, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteGuard").field("id", &self.id).finish_non_exhaustive()
    }
}
