//! Guards: the only way to a descriptor's body and to the bytes of its frames.
//!
//! A guard is a hold on the state word, so while it lives the frames stay where they are and what they are. Dropping
//! the last hold of a dying or pending descriptor reports it on the slab's release list; a reader does no more than
//! that.

use std::fmt;

use crate::{
    DescriptorId, Location,
    slab::{Body, Descriptor, Slab},
    state::Kill,
};

#[cfg(loom)]
type ReadWatch = Option<pagefold_sys::sync::ConstPtr<()>>;
#[cfg(loom)]
type WriteWatch = Option<pagefold_sys::sync::MutPtr<()>>;

/// Shared access to a descriptor's body and bytes.
pub struct ReadGuard<'a, M: Body, const W: usize> {
    slab: &'a Slab<M, W>,
    descriptor: &'a Descriptor<M, W>,
    id: DescriptorId,
    location: Location,
    #[cfg(loom)]
    watch: ReadWatch,
}

impl<'a, M: Body, const W: usize> ReadGuard<'a, M, W> {
    /// Wraps a read hold that was just taken.
    #[inline]
    pub(crate) fn new(
        slab: &'a Slab<M, W>,
        descriptor: &'a Descriptor<M, W>,
        id: DescriptorId,
        location: Location,
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

    /// The length of the run.
    pub fn frames(&self) -> crate::FrameCount {
        self.location.frames
    }

    /// The body and the bytes of the run.
    #[inline]
    pub fn parts(&self) -> (&M, &[u8]) {
        let base = self.slab.base_of(self.location);
        // SAFETY: this hold keeps writers away until it drops, and the body was written under the first write hold of
        // this life, before any other hold was given. (I-BODY)
        let body = unsafe { self.descriptor.body_ptr().as_ref() };
        // SAFETY: the run is committed memory that this descriptor owns; this hold keeps writers (and with them
        // every change of the place) away until it drops.
        let bytes =
            unsafe { std::slice::from_raw_parts(base.as_ptr(), self.location.frames.bytes()) };
        (body, bytes)
    }
}

impl<M: Body, const W: usize> Drop for ReadGuard<'_, M, W> {
    #[inline]
    fn drop(&mut self) {
        #[cfg(loom)]
        drop(self.watch.take());
        if self.descriptor.state.unlock_read() {
            self.slab.report(self.id);
        }
    }
}

/// Exclusive access to a descriptor's body and bytes.
pub struct WriteGuard<'a, M: Body, const W: usize> {
    slab: &'a Slab<M, W>,
    descriptor: &'a Descriptor<M, W>,
    id: DescriptorId,
    location: Location,
    #[cfg(loom)]
    watch: WriteWatch,
}

impl<'a, M: Body, const W: usize> WriteGuard<'a, M, W> {
    /// Wraps a write hold that was just taken.
    pub(crate) fn new(
        slab: &'a Slab<M, W>,
        descriptor: &'a Descriptor<M, W>,
        id: DescriptorId,
        location: Location,
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

    /// The length of the run.
    pub fn frames(&self) -> crate::FrameCount {
        self.location.frames
    }

    /// The body and the bytes of the run.
    pub fn parts(&mut self) -> (&mut M, &mut [u8]) {
        let base = self.slab.base_of(self.location);
        // SAFETY: this hold is exclusive until it drops, and the body was written under the first write hold of this
        // life, before a guard for it was made. (I-BODY)
        let body = unsafe { self.descriptor.body_ptr().as_mut() };
        // SAFETY: the run is committed memory that this descriptor owns, and this hold is exclusive until it drops.
        let bytes =
            unsafe { std::slice::from_raw_parts_mut(base.as_ptr(), self.location.frames.bytes()) };
        (body, bytes)
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
        // One that is isolated is freed after it was put back.
        if let Kill::Claimed(_) = descriptor.state.retire() {
            slab.give_back(id, location);
        }
    }

    /// Copies the run to another one of the same length, which becomes this descriptor's. Returns the old one, which
    /// is now nobody's.
    ///
    /// The caller isolated the descriptor, and `to` is a run that its owner words give to this descriptor and that
    /// nobody else has.
    pub(crate) fn relocate(&mut self, to: Location) -> Location {
        assert_eq!(self.location.frames, to.frames, "a run keeps its length");
        let (source, target) = (self.slab.base_of(self.location), self.slab.base_of(to));
        // SAFETY: both runs are committed memory and different ones: the old run is this descriptor's, whose hold is
        // exclusive, and the new one was handed out for it a moment ago, so they do not overlap and nobody else
        // reads or writes either.
        unsafe { source.copy_to_nonoverlapping(target, to.frames.bytes()) };
        self.descriptor.state.relocate(to);
        std::mem::replace(&mut self.location, to)
    }
}

impl<M: Body, const W: usize> Drop for WriteGuard<'_, M, W> {
    fn drop(&mut self) {
        #[cfg(loom)]
        drop(self.watch.take());
        if self.descriptor.state.unlock_write() {
            self.slab.report(self.id);
        }
    }
}

impl<M: Body, const W: usize> fmt::Debug for ReadGuard<'_, M, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadGuard").field("id", &self.id).finish_non_exhaustive()
    }
}

impl<M: Body, const W: usize> fmt::Debug for WriteGuard<'_, M, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteGuard").field("id", &self.id).finish_non_exhaustive()
    }
}
