//! The life of a descriptor: it is created, locked, isolated, and ends.

use super::{Body, Release, Slab};
use crate::{
    Busy, DescriptorId, FrameCount, Isolated, LockError, Mobility, OutOfFrames, ReadGuard,
    ReserveAccess, WriteGuard, layout::FrameLayout, state::Reap,
};

impl<M: Body, const W: usize, L: FrameLayout> Slab<M, W, L> {
    /// A new descriptor with its frames, locked for writing. The bytes are zero, or those of an earlier owner.
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
        let location = match self.take_frames(&descriptor.further, frames, access, id) {
            Ok(location) => location,
            Err(error) => {
                self.return_id(id);
                return Err(error);
            }
        };
        for word in &descriptor.words {
            // ORDERING: Relaxed; published, as the body is, by the Release of the write lock that `publish` takes.
            word.store(0, pagefold_sys::sync::Ordering::Relaxed);
        }
        // The word goes live locked for writing, before the body is written; no thread reads the body without a lock.
        descriptor.state.publish(location);
        // SAFETY: the write lock just taken is exclusive. (I-BODY)
        unsafe { descriptor.body_ptr().write(body) };
        Ok(WriteGuard::new(self, descriptor, id, location))
    }

    /// Locks a descriptor for reading; waits for a writer.
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
    #[inline]
    pub fn try_read(&self, id: DescriptorId) -> Result<ReadGuard<'_, M, W, L>, LockError> {
        let descriptor = self.descriptor(id).ok_or(LockError::Gone)?;
        let location = descriptor.state.try_read()?;
        Ok(ReadGuard::new(self, descriptor, id, location))
    }

    /// Locks a descriptor for writing, if no guard locks it.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn try_write(&self, id: DescriptorId) -> Result<WriteGuard<'_, M, W, L>, LockError> {
        let descriptor = self.descriptor(id).ok_or(LockError::Gone)?;
        let location = descriptor.state.try_write()?;
        Ok(WriteGuard::new(self, descriptor, id, location))
    }

    /// Isolates a descriptor for a move. Never waits, and excludes only other movers: readers, writers and frees go on.
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

    /// Ends a descriptor's life: at once, or when its last lock goes. Never waits.
    ///
    /// # Panics
    /// If nothing lives under this id. The pool's handle entry decides which caller may reap, and that it does so once.
    pub fn reap(&self, id: DescriptorId) -> Release {
        let descriptor = self.descriptor(id).expect("an id that was given out");
        match descriptor.state.reap() {
            Reap::Now(location) => {
                self.give_back(id, location);
                Release::Now
            }
            Reap::Later => Release::Later,
        }
    }

    /// Frees a dying descriptor that is not locked.
    pub(crate) fn finish(&self, id: DescriptorId) -> bool {
        let reaped = self.descriptor(id).and_then(|descriptor| descriptor.state.reap_dying());
        if let Some(location) = reaped {
            self.give_back(id, location);
        }
        reaped.is_some()
    }

    /// Why a descriptor's frames cannot be moved now, if so. A hint.
    pub(crate) fn busy(&self, id: DescriptorId) -> Option<Busy> {
        let state = &self.descriptor(id)?.state;
        match () {
            () if self.config.mobility == Mobility::Pinned => Some(Busy::Pinned),
            () if state.is_locked() => Some(Busy::Locked),
            () if state.is_isolated() => Some(Busy::Isolated),
            () => None,
        }
    }
}
