//! The live objects of a sparse extent, for the caller to write anew.

use super::{Spill, read::Failure};
use crate::{
    Label, Owner, Place, ReadError,
    batch::{directory_bytes, open_directory, open_object},
    seal::Binding,
    slots::Located,
};

/// A live object of an extent that is to be cleaned.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LiveObject {
    /// As given to [`Batch::push`](crate::Batch::push).
    pub owner: Owner,
    /// Where it lies until it is released.
    pub place: Place,
    /// As given to [`Batch::push`](crate::Batch::push).
    pub label: Label,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Spill {
    /// Slots of up to `count` extents of which live objects fill less than `percent`, with their entries in the directory; and the bytes that
    /// they fill, the sparsest first. None of which something did not open: it would stay.
    pub fn sparsest(&self, count: usize, percent: u8) -> Vec<(u32, u32)> {
        let Some(_operation) = self.enter() else { return Vec::new() };
        self.slots.lock().sparsest(count, self.extent_bytes, percent)
    }

    /// As [`sparsest`](Self::sparsest), of the extents with any dead object; and the bytes of all dead objects there.
    pub fn with_dead(&self, count: usize) -> (Vec<u32>, u64) {
        let Some(_operation) = self.enter() else { return Default::default() };
        self.slots.lock().with_dead(count)
    }

    /// The sequence and the slot of the extent that was written next after a sequence; with 0, of the oldest.
    pub fn written_after(&self, sequence: u64) -> Option<(u64, u32)> {
        let _operation = self.enter()?;
        self.slots.lock().written_after(sequence)
    }

    /// The owners and places of the live objects of a slot's extent, without their bytes.
    ///
    /// # Errors
    /// As [`live_objects`](Self::live_objects).
    pub fn live_owners(&self, slot: u32) -> Result<Vec<(Owner, Place)>, ReadError> {
        let extent = {
            let _operation = self.enter().ok_or(ReadError::Abandoned)?;
            self.slots.lock().extent(slot).ok_or(ReadError::Gone)?
        };
        let offset = u32::try_from(extent.objects_end).map_err(|_| ReadError::Gone)?;
        let mut bytes = vec![0; directory_bytes(extent.count)];
        let owners = self.read_range(slot, offset, &mut bytes).and_then(|()| {
            let owners = open_directory(&self.sealer, extent.directory, &mut bytes);
            owners.map_err(|_| Failure::Damaged)
        });
        let owners = owners.map_err(|failure| {
            let is_there = self.is_now(|slots| {
                slots.extent(slot).is_some_and(|now| now.directory == extent.directory)
            });
            self.damaged_error(extent.directory, failure, is_there)
        })?;
        let live = extent.objects.iter();
        Ok(live.filter_map(|&place| Some((*owners.get(place.number())?, place))).collect())
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
        let outcome = self.read_range(slot, 0, &mut bytes).and_then(|()| {
            let (objects, directory) = bytes.split_at_mut(directory_at);
            let owners = open_directory(&self.sealer, extent.directory, directory);
            Ok((objects, owners.map_err(|_| Failure::Damaged)?))
        });
        let (objects, owners) = outcome.map_err(|failure| {
            let is_there = self.is_now(|slots| {
                slots.extent(slot).is_some_and(|now| now.directory == extent.directory)
            });
            self.damaged_error(extent.directory, failure, is_there)
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
                    self.damaged_error(extent.directory, Failure::Damaged, is_there);
                }
            }
        }
        Ok(live)
    }

    /// The error, after the slot was noted if something of it is damaged.
    fn damaged_error(&self, at: Binding, failure: Failure, is_there: bool) -> ReadError {
        let error = self.error_of(failure, is_there);
        if let (ReadError::Corrupt, Some(_operation)) = (&error, self.enter()) {
            self.slots.lock().note_damaged(at.slot, at.generation);
        }
        error
    }
}
