//! Spilled objects that a get needs.

use std::time::Instant;

use pagefold_spill::{Place, ReadError as SpillError};

use crate::{
    encoder::decode::{ReadError, SpilledForm, Wait},
    error::GetError,
    state::StoreState,
    word::Entry,
};

/// A spilled object, in memory.
pub(crate) struct Fetched {
    place: Place,
    form: SpilledForm,
    object: Vec<u8>,
}

impl StoreState {
    /// Reads the object of a word. Not inside an operation: it may wait until the deadline. `None` if it is gone: the word
    /// has changed.
    pub(crate) fn fetch(&self, entry: Entry) -> Result<Option<Fetched>, GetError> {
        let (Entry::Spilled { place, .. }, Some(spilling)) = (entry, &self.spilling) else {
            return Ok(None);
        };
        let began = Instant::now();
        let read = spilling.spill.read_object(place);
        spilling.counts.fetch_took(began.elapsed());
        match read {
            Ok((label, object)) => {
                Ok(Some(Fetched { place, form: SpilledForm::of(label), object }))
            }
            Err(SpillError::Gone) => Ok(None),
            Err(SpillError::Timeout(_)) => Err(GetError::Timeout),
            Err(SpillError::Io(error)) => Err(GetError::Io(error.kind())),
            Err(_) => Err(GetError::Corrupt),
        }
    }

    /// As [`read`](Self::read), and waits; a spilled page if this is its object.
    #[inline]
    pub(crate) fn read_with(
        &self,
        entry: Entry,
        fetched: Option<&Fetched>,
        into: &mut [u8],
    ) -> Result<(), ReadError> {
        match (entry, fetched) {
            (Entry::Spilled { place, slot }, Some(fetched)) if fetched.place == place => {
                self.encoder.read_spilled(&fetched.object, fetched.form, slot, into)
            }
            _ => self.read(entry, into, Wait::Allowed),
        }
    }
}
