//! Spilled objects that a get needs.

use std::time::Instant;

use pagefold_spill::{Place, ReadError as SpillError, Reading};

use super::spilling::SpilledCounts;
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
    pub(super) along: Along,
    /// What was read along.
    pub(super) followers: Vec<Follower>,
}

impl Fetched {
    pub(crate) fn is_at(&self, place: Place) -> bool {
        self.place == place
    }

    pub(crate) fn object(&self) -> &[u8] {
        &self.object
    }
}

/// An object behind the one that a get asked for.
pub(crate) struct Follower {
    pub(super) place: Place,
    pub(super) form: SpilledForm,
    pub(super) object: Vec<u8>,
}

/// Whether a read brings others along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Along {
    Nothing,
    Followers,
}

/// A read of the backing, under way.
pub(crate) struct Fetch<'a> {
    place: Place,
    reading: Reading<'a>,
    along: Along,
    began: Instant,
    counts: &'a SpilledCounts,
}

impl StoreState {
    /// Starts to read the object of a word. Not inside an operation: it may wait. `None` if it is not spilled, or gone: the
    /// word has changed.
    pub(crate) fn start_fetch(&self, entry: Entry, along: Along) -> Option<Fetch<'_>> {
        let (Entry::Spilled { place, .. }, Some(spilling)) = (entry, &self.spilling) else {
            return None;
        };
        let began = Instant::now();
        let followers = match along {
            Along::Followers if !self.is_above_high() => spilling.settings.prefetch,
            _ => 0,
        };
        let reading = spilling.spill.start_run(place, followers).ok()?;
        Some(Fetch { place, reading, along, began, counts: &spilling.counts })
    }

    /// The bytes of a spilled page or value; `None` if it is gone.
    pub(crate) fn spilled_len(&self, place: Place) -> Option<usize> {
        let (label, len) = self.spilling.as_ref()?.spill.kept(place)?;
        Some(SpilledForm::of(label).original(len))
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
            (Entry::Spilled { place, part }, Some(fetched)) if fetched.place == place => {
                self.encoder.read_spilled(&fetched.object, fetched.form, part, into)
            }
            _ => self.read(entry, into, Wait::Allowed),
        }
    }
}

impl Fetch<'_> {
    /// Waits until the deadline. `None` if the object is gone.
    pub(crate) fn finish(self) -> Result<Option<Fetched>, GetError> {
        let Self { place, reading, along, began, counts } = self;
        let read = reading.finish_run();
        counts.fetch_took(began.elapsed());
        match read {
            Ok(run) => {
                let followers = run.followers.into_iter().map(|(place, label, object)| Follower {
                    place,
                    form: SpilledForm::of(label),
                    object,
                });
                let (form, object) = (SpilledForm::of(run.label), run.object);
                Ok(Some(Fetched { place, form, object, along, followers: followers.collect() }))
            }
            Err(SpillError::Gone) => Ok(None),
            Err(SpillError::Timeout(_)) => Err(GetError::Timeout),
            Err(SpillError::Io(error)) => Err(GetError::Io(error.kind())),
            Err(_) => Err(GetError::Corrupt),
        }
    }
}
