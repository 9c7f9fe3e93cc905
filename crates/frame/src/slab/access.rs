//! The life of a descriptor: created, locked, isolated, ended.

use super::{Body, Release, Slab};
use crate::{
    Busy, DescriptorId, FrameCount, Isolated, LockError, Mobility, OutOfFrames, ReadGuard,
    ReserveAccess, WriteGuard, layout::FrameLayout, state::Reap,
};

impl<M: Body, const W: usize, L: FrameLayout> Slab<M, W, L> {
    /// A new descriptor, locked for writing. The bytes are zero or an earlier owner's.
    ///
    /// # Errors
    /// [`OutOfFrames`]; nothing has changed.
    ///
    /// # Panics
    /// If a chain may not have so many frames.
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
            // ORDERING: Relaxed; published by the Release that ends the write lock of `publish`.
            word.store(0, pagefold_sys::sync::Ordering::Relaxed);
        }
        // Live and locked for writing before the body is written.
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
    /// [`LockError::Busy`] when a writer has it locked.
    #[inline]
    pub fn try_read(&self, id: DescriptorId) -> Result<ReadGuard<'_, M, W, L>, LockError> {
        let descriptor = self.descriptor(id).ok_or(LockError::Gone)?;
        let location = descriptor.state.try_read()?;
        Ok(ReadGuard::new(self, descriptor, id, location))
    }

    /// Locks an unlocked descriptor for writing.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn try_write(&self, id: DescriptorId) -> Result<WriteGuard<'_, M, W, L>, LockError> {
        let descriptor = self.descriptor(id).ok_or(LockError::Gone)?;
        let location = descriptor.state.try_write()?;
        Ok(WriteGuard::new(self, descriptor, id, location))
    }

    /// Isolates a descriptor for a move. Never waits; excludes only other movers.
    ///
    /// # Errors
    /// [`LockError::Gone`] when it is dead or dying, [`LockError::Busy`] when isolated.
    pub fn isolate(&self, id: DescriptorId) -> Result<Isolated<'_, M, W, L>, LockError> {
        let descriptor = self.descriptor(id).ok_or(LockError::Gone)?;
        #[cfg(feature = "fault-injection")]
        if self.arena.memory().source().injects_isolation() {
            return Err(LockError::Busy);
        }
        let location = descriptor.state.isolate()?;
        Ok(Isolated::new(self, descriptor, id, location))
    }

    /// Ends a descriptor's life: now, or with its last lock. Never waits.
    ///
    /// # Panics
    /// If nothing lives under this id. The pool's handle entry lets one caller reap, once.
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

    pub(crate) fn finish(&self, id: DescriptorId) -> bool {
        let reaped = self.descriptor(id).and_then(|descriptor| descriptor.state.reap_dying());
        if let Some(location) = reaped {
            self.give_back(id, location);
        }
        reaped.is_some()
    }

    /// Why its frames cannot move now. A hint.
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
