//! Moves one descriptor to any free place.

use crate::{
    Arena, DescriptorId, FrameCount, FrameMigrateError, Mobility, Movable, ReserveAccess,
    migrate::{ExtentRef, MigrateOutcome},
};

impl Arena {
    /// # Panics
    /// If a slab is another arena's.
    pub(super) fn assert_own(&self, kinds: &[&dyn Movable]) {
        let own = kinds.iter().all(|kind| std::ptr::eq(kind.arena(), self));
        assert!(own, "only slabs over this arena can be moved in it");
    }

    /// Moves one descriptor's frames; returns how many. If only the first frames of a chain can move, the rest stays.
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

    /// Moves one frame of a chain, or a run (extent 0); returns the number of frames.
    ///
    /// # Errors
    /// [`FrameMigrateError`]; nothing has changed. [`Gone`](FrameMigrateError::Gone) also without such an extent.
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
