//! Objects alone in neighbouring frames: the long ones of nbud and zsmalloc.

use std::collections::HashSet;

use pagefold_frame::{
    DescriptorId, FrameMigrateError, LockError, Mobility, Movable, ReserveAccess, Slab, SlabConfig,
    SourceError, Tag, frames_for,
};

use super::{
    audit::Audit,
    base::Base,
    content::Content,
    found::{Found, Wait},
    handle_table::Location,
    packing::NoRoom,
};
use crate::slices::Slices;

/// See the module.
#[derive(Debug)]
pub struct Runs {
    slab: Slab<(), 0>,
}

impl Runs {
    /// At most `capacity` descriptors, of a tag that no other slab has.
    ///
    /// # Errors
    /// [`SourceError`] without address space.
    pub fn new(base: &Base, tag: Tag, capacity: usize) -> Result<Self, SourceError> {
        let config = SlabConfig { tag, mobility: Mobility::Movable, capacity };
        Ok(Self { slab: Slab::new(base.arena(), config)? })
    }

    /// The slab.
    pub fn movable(&self) -> &dyn Movable {
        &self.slab
    }

    /// See [`Packing::place`](super::Packing::place).
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn place(
        &self,
        content: Content<'_>,
        access: ReserveAccess,
        publish: impl FnOnce(Location) -> bool,
    ) -> Result<bool, NoRoom> {
        let len = content.len();
        let frames = frames_for(len);
        let mut guard = self.slab.create(frames, access, ())?;
        content.copy_to(0, &mut guard.parts().1[..len]);
        let slack = u16::try_from(frames.bytes() - len).expect("a run is less than a frame longer");
        let published = publish(Location::Run { id: guard.id(), slack });
        if !published {
            guard.retire();
        }
        Ok(published)
    }

    /// See [`Packing::read`](super::Packing::read).
    ///
    /// # Errors
    /// [`LockError`].
    #[inline]
    pub fn read<F: FnMut(Slices<'_>) + ?Sized>(
        &self,
        found: &Found<'_>,
        (id, slack): (DescriptorId, u16),
        wait: impl Wait,
        f: &mut F,
    ) -> Result<(), LockError> {
        found.read_locked(&self.slab, id, wait, |guard| {
            let bytes = guard.parts().1;
            f(Slices::new(&[&bytes[..bytes.len() - usize::from(slack)]]));
        })
    }

    /// See [`Packing::overwrite`](super::Packing::overwrite).
    ///
    /// # Errors
    /// [`LockError`].
    pub fn overwrite(
        &self,
        found: &Found<'_>,
        id: DescriptorId,
        bytes: &[u8],
    ) -> Result<(), LockError> {
        let mut guard = self.slab.try_write(id)?;
        if !found.is_current() {
            return Err(LockError::Gone);
        }
        guard.parts().1[..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    /// Frees a run, now or after its last reader.
    pub(super) fn vacate(&self, base: &Base, (id, slack): (DescriptorId, u16)) {
        let bytes = self.slab.frame_range(id).map_or(0, |range| range.frames.bytes());
        base.counters.remove_payload(bytes - usize::from(slack));
        self.slab.reap(id);
    }

    /// See [`Packing::free`](super::Packing::free).
    pub fn free(&self, base: &Base, found: &Found<'_>, run: (DescriptorId, u16)) -> bool {
        let vacant = found.make_vacant();
        if vacant {
            self.vacate(base, run);
            base.handles.give_back(found.index);
        }
        vacant
    }

    /// See [`Packing::rewrite`](super::Packing::rewrite).
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn rewrite(
        &self,
        base: &Base,
        found: &Found<'_>,
        run: (DescriptorId, u16),
        bytes: &[u8],
    ) -> Result<bool, NoRoom> {
        let publish = |to| found.relocate(to);
        let moved = self.place(Content::Bytes(bytes), ReserveAccess::Reserve, publish)?;
        if moved {
            base.counters.add_payload(bytes.len());
            self.vacate(base, run);
        }
        Ok(moved)
    }

    /// Returns bytes.
    ///
    /// # Errors
    /// [`FrameMigrateError`].
    pub fn migrate(&self, base: &Base, id: DescriptorId) -> Result<usize, FrameMigrateError> {
        Ok(base.arena().migrate(&self.slab, id)?.bytes())
    }

    /// Whether frees wait.
    #[inline]
    pub fn has_deferred(&self) -> bool {
        self.slab.has_deferred()
    }

    /// `true` if there were any.
    pub fn drain_deferred(&self) -> bool {
        self.slab.drain_deferred(&mut |_| {})
    }

    /// Returns bytes.
    pub fn trim(&self) -> usize {
        self.slab.trim()
    }

    /// Each run has one entry.
    ///
    /// # Errors
    /// The first violation.
    pub fn audit(&self, audit: &mut Audit<'_>) -> Result<(), String> {
        let mut owned = HashSet::new();
        let base = audit.base;
        for (index, location) in base.handles.objects() {
            let Some(Location::Run { id, slack }) = location else { continue };
            let range = self.slab.frame_range(id).filter(|_| owned.insert(id));
            let range = range
                .ok_or_else(|| format!("I-ENTRY: index {index} says a run that is not its own"))?;
            audit.object(range.frames.bytes() - usize::from(slack));
            audit.frames(range.frames.get() as usize);
        }
        let live = self.slab.live().count();
        if live != owned.len() {
            return Err(format!("I-ENTRY: {live} runs live, {} have an entry", owned.len()));
        }
        self.slab.validate()
    }
}
