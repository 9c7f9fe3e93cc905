//! A new object: index, location, entry.

use pagefold_frame::{OutOfFrames, ReserveAccess};

use super::{
    content::Content,
    deferred::{drain_all, drain_some},
    packing::{Attempt, NoRoom, Packing},
};
use crate::{error::AllocError, handle::Handle};

/// One cache of the handle table.
const ASIDE_MAX: usize = 64;

/// `content` has a valid length.
pub(super) fn insert(
    packing: &impl Packing,
    content: Content<'_>,
    access: ReserveAccess,
) -> Result<Handle, AllocError> {
    let inserted = try_insert(packing, content, access, Attempt::First).or_else(|_| {
        make_room(packing);
        try_insert(packing, content, access, Attempt::AtLimit)
    });
    inserted.map_err(|_| AllocError::OutOfMemory { limit: packing.base().limit_bytes() })
}

fn try_insert(
    packing: &impl Packing,
    content: Content<'_>,
    access: ReserveAccess,
    attempt: Attempt,
) -> Result<Handle, NoRoom> {
    drain_some(packing);
    let handles = &packing.base().handles;
    let mut aside = Vec::new();
    let inserted = loop {
        let index = match handles.take(access) {
            Ok(index) => index,
            Err(OutOfFrames) => break Err(NoRoom::Frames),
        };
        let vacant = handles.load(index);
        // Under the packing's guard, so readers find the bytes.
        let publish = |location| {
            handles.store(index, vacant.at(location));
            true
        };
        match packing.place(content, index, access, attempt, publish) {
            Ok(_) => {
                packing.base().counters.add_object();
                packing.base().counters.add_payload(content.len());
                break Ok(handles.handle(index, vacant));
            }
            Err(NoRoom::Index) if aside.len() < ASIDE_MAX => aside.push(index),
            Err(error) => {
                handles.give_back(index);
                break Err(error);
            }
        }
    };
    aside.into_iter().for_each(|index| handles.give_back(index));
    inserted
}

/// Makes unused memory available under the limit.
pub(super) fn make_room(packing: &impl Packing) {
    drain_all(packing);
    packing.close();
    packing.base().arena.reclaim();
}
