//! The live descriptors of a slab, and its checks.

use super::{Body, Slab};
use crate::{DescriptorId, FrameNo, FrameOwner, FrameRange, layout::FrameLayout, state::StateWord};

impl<M: Body, const W: usize, L: FrameLayout> Slab<M, W, L> {
    /// The live descriptors, with their [`frame_range`](Self::frame_range). For inspection: they may come and go.
    pub fn live(&self) -> impl Iterator<Item = (DescriptorId, FrameRange)> + '_ {
        let next = self.ids.lock().next;
        (0..next).filter_map(|number| {
            let id = DescriptorId::new(u32::try_from(number).ok()?);
            Some((id, self.descriptor(id)?.state.frame_range()?))
        })
    }

    /// Checks I-OWNER and I-ID, and that nothing is locked. For a quiescent slab.
    ///
    /// # Errors
    /// A sentence that names the fault.
    pub fn validate(&self) -> Result<(), String> {
        let ids = self.ids.lock();
        for number in 0..ids.next {
            let id = DescriptorId::new(u32::try_from(number).expect("29 bits"));
            let state = self.descriptor(id).map(|descriptor| &descriptor.state);
            let location = state.and_then(StateWord::frame_range);
            if location.is_some() == ids.given_back.contains(0, number) {
                return Err(format!("I-ID: descriptor {number} is both or neither live and free"));
            }
            let Some(location) = location else { continue };
            if state.is_some_and(StateWord::is_locked) {
                return Err(format!("descriptor {number} is locked in a quiescent slab"));
            }
            if state.is_some_and(StateWord::is_isolated) {
                return Err(format!("descriptor {number} is isolated in a quiescent slab"));
            }
            let owner = FrameOwner { tag: self.config.tag, id };
            let further = &self.descriptor(id).expect("it has a location").further;
            let extents = 0..L::extents(location.frames);
            for frame in extents.flat_map(|number| L::extent(further, location, number).range()) {
                if self.arena.owner(FrameNo(frame)) != Some(owner) {
                    return Err(format!(
                        "I-OWNER: frame {frame} does not name descriptor {number}"
                    ));
                }
            }
        }
        Ok(())
    }
}
