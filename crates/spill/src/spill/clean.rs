//! The live objects of a sparse extent, for the caller to write anew.

use super::{Spill, read::Failure};
use crate::{
    Label, Owner, Place, ReadError,
    batch::{directory_bytes, open_directory, open_object},
    slots::Located,
};

/// A live object of an extent that is to be cleaned.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LiveObject {
    /// As given to [`Batch::push`].
    pub owner: Owner,
    /// Where it lies until it is released.
    pub place: Place,
    /// As given to [`Batch::push`].
    pub label: Label,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Spill {
    /// The extent with the least live bytes, if at most `percent` of an extent are live.
    pub fn sparsest(&self, percent: u8) -> Option<u32> {
        let below = self.extent_bytes * usize::from(percent.min(100)) / 100;
        let _operation = self.enter()?;
        self.slots.lock().sparsest(u32::try_from(below).unwrap_or(u32::MAX))
    }

    /// The live objects of a slot's extent. The caller writes them anew, and releases the old places of those that its own index still named.
    ///
    /// # Errors
    /// [`ReadError`]: `Gone` for a slot that is free or being written; `Corrupt` if the extent's directory does not open. Objects that do not open are
    /// left out and stay where they are.
    pub fn live_objects(&self, slot: u32) -> Result<Vec<LiveObject>, ReadError> {
        let (extent, located) = {
            let _operation = self.enter().ok_or(ReadError::Abandoned)?;
            let slots = self.slots.lock();
            let extent = slots.extent(slot).ok_or(ReadError::Gone)?;
            let located: Vec<Option<Located>> =
                extent.objects.iter().map(|&place| slots.locate(place)).collect();
            (extent, located)
        };
        let directory_at = extent.objects_end;
        let mut bytes = vec![0; directory_at + directory_bytes(extent.count)];
        let outcome = self.read_range(slot, &mut bytes).and_then(|()| {
            let (objects, directory) = bytes.split_at_mut(directory_at);
            let owners = open_directory(&self.sealer, extent.directory, directory);
            Ok((objects, owners.map_err(|_| Failure::Damaged)?))
        });
        let (objects, owners) = outcome.map_err(|failure| {
            let is_there = self.is_now(|slots| {
                slots.extent(slot).is_some_and(|now| now.directory == extent.directory)
            });
            self.error_of(failure, is_there)
        })?;
        let mut live = Vec::new();
        for (&place, located) in extent.objects.iter().zip(located) {
            let (Some(at), Some(&owner)) = (located, owners.get(place.number())) else { continue };
            let range = &mut objects[at.offset as usize..][..at.len as usize];
            match open_object(&self.sealer, at.binding, range) {
                Ok(bytes) => live.push(LiveObject {
                    owner,
                    place,
                    label: at.binding.label,
                    bytes: bytes.to_vec(),
                }),
                Err(_) => {
                    let is_there = self.is_now(|slots| slots.locate(place) == Some(at));
                    self.error_of(Failure::Damaged, is_there);
                }
            }
        }
        Ok(live)
    }
}
