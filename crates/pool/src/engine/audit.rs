//! Checks of accounts and structures.

use super::{base::Base, deferred::drain_all, handle_table::Location, packing::Packing};

/// Sums over the packing's walk.
#[derive(Debug)]
pub struct Audit<'a> {
    pub(super) base: &'a Base,
    objects: u64,
    payload: u64,
    frames: usize,
}

impl Audit<'_> {
    /// An object of `len` bytes.
    pub fn object(&mut self, len: usize) {
        self.objects += 1;
        self.payload += len as u64;
    }

    /// Counts frames with objects.
    pub fn frames(&mut self, count: usize) {
        self.frames += count;
    }

    /// Checks an entry's location.
    ///
    /// # Errors
    /// I-ENTRY, if it differs.
    pub fn entry_says(&self, index: u32, location: Location) -> Result<(), String> {
        match self.base.find_at(index, location) {
            Some(_) => Ok(()),
            None => Err(format!("I-ENTRY: index {index} does not say {location:?}")),
        }
    }

    /// Indices ever used, with their locations.
    pub fn indices(&self) -> impl Iterator<Item = (u32, Option<Location>)> + '_ {
        self.base.handles.objects()
    }
}

/// For a quiescent pool.
pub(super) fn validate(packing: &impl Packing) -> Result<(), String> {
    drain_all(packing);
    let base = packing.base();
    let mut audit = Audit { base, objects: 0, payload: 0, frames: 0 };
    packing.audit(&mut audit)?;
    let Audit { objects, payload, frames, .. } = audit;
    let counted = base.counters.sums();
    if (objects, payload) != counted {
        return Err(format!("I-COUNT: {objects} objects of {payload} bytes, {counted:?} counted"));
    }
    let allocated = base.arena.stats().allocated;
    if frames != allocated {
        return Err(format!("I-COUNT: {frames} frames hold objects, {allocated} are allocated"));
    }
    base.handles.check(objects)?;
    let (used, limit) = (base.memory.used(), base.memory.limit());
    if used > limit {
        return Err(format!("I-LIMIT: {used} frames charged of a limit of {limit}"));
    }
    base.arena.validate()
}
