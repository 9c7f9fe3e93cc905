//! Whether the pool's accounts and structures are true.

use super::{base::Base, deferred::drain_all, handle_table::Location, packing::Packing};

/// Sums over all objects and frames, as the packing's walk finds them.
#[derive(Debug)]
pub struct Audit<'a> {
    pub(super) base: &'a Base,
    objects: u64,
    payload: u64,
    frames: usize,
}

impl Audit<'_> {
    /// Notes an object of `len` bytes.
    pub fn object(&mut self, len: usize) {
        self.objects += 1;
        self.payload += len as u64;
    }

    /// Notes `count` frames with objects.
    pub fn frames(&mut self, count: usize) {
        self.frames += count;
    }

    /// Checks that the entry of an index says this location.
    ///
    /// # Errors
    /// A sentence that says so.
    pub fn entry_says(&self, index: u32, location: Location) -> Result<(), String> {
        match self.base.find_at(index, location) {
            Some(_) => Ok(()),
            None => Err(format!("I-ENTRY: index {index} does not say {location:?}")),
        }
    }

    /// All handle indices that were ever used, each with the location of its object if it has one.
    pub fn indices(&self) -> impl Iterator<Item = (u32, Option<Location>)> + '_ {
        self.base.handles.objects()
    }
}

/// Walks every structure and checks every invariant. For a quiescent pool.
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
