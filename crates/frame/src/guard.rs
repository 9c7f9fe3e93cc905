//! Guards: the only access to a descriptor's body and bytes.
//!
//! While a guard lives, the frames neither move nor end. The last guard of a dying or pending descriptor defers it.

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

/// Shared access.
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

    /// The number of frames.
    pub fn frames(&self) -> crate::FrameCount {
        self.location.frames
    }

    #[inline]
    fn body(&self) -> &M {
        // SAFETY: this lock excludes writers; the body was written under this life's first lock. (I-BODY)
        unsafe { self.descriptor.body_ptr().as_ref() }
    }
}

impl<M: Body, const W: usize> ReadGuard<'_, M, W, Run> {
    /// The body and the run's bytes.
    #[inline]
    pub fn parts(&self) -> (&M, &[u8]) {
        let base = self.slab.base_of(self.location);
        // SAFETY: committed memory of this descriptor; this lock excludes writers, so also moves.
        let bytes =
            unsafe { std::slice::from_raw_parts(base.as_ptr(), self.location.frames.bytes()) };
        (self.body(), bytes)
    }
}

impl<M: Body, const W: usize> ReadGuard<'_, M, W, Chain> {
    /// The body and the bytes by frame.
    #[inline]
    pub fn parts(&self) -> (&M, ChainBytes<'_>) {
        // SAFETY: this lock excludes writers, so also moves; the view borrows it. (I-EXTENT)
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

/// Exclusive access.
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

    /// The number of frames.
    pub fn frames(&self) -> crate::FrameCount {
        self.location.frames
    }

    /// Ends the descriptor and frees its frames.
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
        if let Reap::Now(_) = descriptor.state.retire() {
            slab.give_back(id, location);
        }
    }

    pub(crate) fn extent(&self, number: u32) -> FrameRange {
        L::extent(&self.descriptor.further, self.location, number)
    }

    /// Moves an extent to `to`, a run of equal length that this descriptor owns and no other thread uses.
    /// Returns the old run, to be freed. The caller isolated the descriptor.
    pub(crate) fn relocate(&mut self, number: u32, to: FrameRange) -> FrameRange {
        let from = self.extent(number);
        assert_eq!(from.frames, to.frames, "a extent keeps its length");
        let (source, target) = (self.slab.base_of(from), self.slab.base_of(to));
        // SAFETY: both runs are committed, do not overlap, and are this thread's alone: the old one is
        // write-locked, the new one was just handed out for this descriptor.
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
        // SAFETY: this lock is exclusive; the body was written under this life's first lock. (I-BODY)
        unsafe { self.descriptor.body_ptr().as_mut() }
    }
}

impl<M: Body, const W: usize> WriteGuard<'_, M, W, Run> {
    /// The body and the run's bytes.
    pub fn parts(&mut self) -> (&mut M, &mut [u8]) {
        let base = self.slab.base_of(self.location);
        // SAFETY: committed memory of this descriptor; this lock is exclusive.
        let bytes =
            unsafe { std::slice::from_raw_parts_mut(base.as_ptr(), self.location.frames.bytes()) };
        (self.body(), bytes)
    }
}

impl<M: Body, const W: usize> WriteGuard<'_, M, W, Chain> {
    /// The body and the bytes by frame.
    pub fn parts(&mut self) -> (&mut M, ChainBytesMut<'_>) {
        let (reservation, further) = (self.slab.reservation(), &self.descriptor.further);
        // SAFETY: this lock is exclusive; the view borrows it. (I-EXTENT)
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
