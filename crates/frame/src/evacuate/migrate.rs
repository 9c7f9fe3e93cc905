//! Moving one descriptor to wherever there is room.

use crate::{
    Arena, DescriptorId, FrameCount, FrameMigrateError, Mobility, Movable, ReserveAccess,
    migrate::{ExtentRef, MigrateOutcome},
};

impl Arena {
    /// # Panics
    /// If one of these slabs is another arena's.
    pub(super) fn assert_own(&self, kinds: &[&dyn Movable]) {
        let own = kinds.iter().all(|kind| std::ptr::eq(kind.arena(), self));
        assert!(own, "only slabs over this arena can be moved in it");
    }

    /// Moves one descriptor's frames to wherever there is room; returns how many. Of a chain, those that cannot be moved
    /// any more once the first one was stay where they are.
    ///
    /// # Errors
    /// [`FrameMigrateError`]; nothing has changed.
    ///
    /// # Panics
    /// If the slab is another arena's.
    pub fn migrate(
        &self,
        kind: &dyn Movable,
        id: DescriptorId,
    ) -> Result<FrameCount, FrameMigrateError> {
        let first = self.migrate_extent(kind, id, 0)?;
        let mut moved = first.get();
        for number in 1..kind.extents(id) {
            match self.migrate_extent(kind, id, number) {
                Ok(frames) => moved += frames.get(),
                Err(_) => break,
            }
        }
        Ok(FrameCount::new(moved))
    }

    /// Moves one frame of a descriptor's chain, or the whole of its run, which is extent 0, to wherever there is room;
    /// returns how many frames.
    ///
    /// # Errors
    /// [`FrameMigrateError`]; nothing has changed. [`FrameMigrateError::Gone`] also when there is no such extent.
    ///
    /// # Panics
    /// If the slab is another arena's.
    pub fn migrate_extent(
        &self,
        kind: &dyn Movable,
        id: DescriptorId,
        number: u32,
    ) -> Result<FrameCount, FrameMigrateError> {
        self.assert_own(&[kind]);
        let moved = kind.migrate(id, ExtentRef::Number(number), &mut |frames, owner| {
            self.alloc(frames, Mobility::Movable, ReserveAccess::Reserve, owner)
        });
        match moved? {
            MigrateOutcome::Copied(from) => Ok(from.frames),
            MigrateOutcome::Freed => Err(FrameMigrateError::Gone),
        }
    }
}
