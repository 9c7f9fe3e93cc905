//! Spilled objects that a get needs.

use std::time::Instant;

use pagefold_spill::{Place, ReadError as SpillError, Reading};

use super::SpilledCounts;
use crate::{
    encoder::decode::{ReadError, SpilledForm, Wait},
    error::GetError,
    state::StoreState,
    word::Entry,
};

/// A spilled object, in memory.
pub(crate) struct Fetched {
    pub(super) place: Place,
    pub(super) form: SpilledForm,
    pub(super) object: Vec<u8>,
}

/// A read of the backing, under way.
pub(crate) struct Fetch<'a> {
    place: Place,
    reading: Reading<'a>,
    began: Instant,
    counts: &'a SpilledCounts,
}

impl StoreState {
    /// Starts to read the object of a word. Not inside an operation: it may wait. `None` if it is not spilled, or gone: the
    /// word has changed.
    pub(crate) fn start_fetch(&self, entry: Entry) -> Option<Fetch<'_>> {
        let (Entry::Spilled { place, .. }, Some(spilling)) = (entry, &self.spilling) else {
            return None;
        };
        let began = Instant::now();
        let reading = spilling.spill.start(place).ok()?;
        Some(Fetch { place, reading, began, counts: &spilling.counts })
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

impl Fetch<'_> {
    /// Waits until the deadline. `None` if the object is gone.
    pub(crate) fn finish(self) -> Result<Option<Fetched>, GetError> {
        let Self { place, reading, began, counts } = self;
        let read = reading.finish_object();
        counts.fetch_took(began.elapsed());
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
}
