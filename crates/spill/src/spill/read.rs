//! One object from the backing, or a run of neighbours.

use std::{fmt, io, time::Instant};

use super::Spill;
use crate::{
    Label, Place, ReadError,
    backing::caught,
    batch::open_object,
    slots::{Located, Slots},
    threads::{Pending, Range},
};

/// A run is no longer: what a device reads at once.
const RUN_BYTES: u32 = 64 << 10;

/// A read that was started.
pub struct Reading<'a> {
    spill: &'a Spill,
    place: Place,
    located: Located,
    /// In the bytes read, behind the object.
    followers: Vec<(Place, Located)>,
    state: State<'a>,
}

/// An object, and those behind it in its extent that were read along.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Run {
    /// As given to [`Batch::push`](crate::Batch::push).
    pub label: Label,
    /// Its bytes.
    pub object: Vec<u8>,
    /// The live ones that opened, in their order. A caller checks that its index still names their places.
    pub followers: Vec<(Place, Label, Vec<u8>)>,
}

enum State<'a> {
    Read(Vec<u8>),
    /// Until then; `None`: without a deadline.
    Waits(Pending<'a, Range>, Option<Instant>),
    Failed(io::Error),
}

impl fmt::Debug for Reading<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reading({:?})", self.place)
    }
}

/// Why a read gave no bytes.
pub(super) enum Failure {
    Io(io::Error),
    Timeout,
    Damaged,
}

impl Spill {
    /// Starts to read an object.
    ///
    /// # Errors
    /// [`ReadError::Gone`], [`ReadError::Abandoned`].
    pub fn start(&self, place: Place) -> Result<Reading<'_>, ReadError> {
        self.start_run(place, 0)
    }

    /// As [`start`](Self::start), with up to `followers` live objects behind it in its extent, in one read of at most 64 KiB.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_run(&self, place: Place, followers: usize) -> Result<Reading<'_>, ReadError> {
        let (located, followers) = {
            let _operation = self.enter().ok_or(ReadError::Abandoned)?;
            let slots = self.slots.lock();
            let located = slots.locate(place).ok_or(ReadError::Gone)?;
            let followers = match followers {
                0 => Vec::new(),
                count => slots.followers(&located, count, RUN_BYTES),
            };
            (located, followers)
        };
        let Located { slot, offset, len, .. } = located;
        let end = followers.last().map_or(offset + len, |(_, last)| last.offset + last.len);
        let len = (end - offset) as usize;
        let mut bytes = vec![0; len];
        let state = match caught(|| self.backing.try_read(slot, offset, &mut bytes)) {
            Ok(()) => {
                self.counts.add(&self.counts.cached_reads, 1);
                State::Read(bytes)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let until = Instant::now().checked_add(self.read_deadline);
                match self.readers.start(Range { slot, offset, len }) {
                    Ok(pending) => State::Waits(pending, until),
                    Err((_, error)) => State::Failed(error),
                }
            }
            Err(error) => State::Failed(error),
        };
        Ok(Reading { spill: self, place, located, followers, state })
    }

    /// Reads an object to the start of `into`; its length.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read(&self, place: Place, into: &mut [u8]) -> Result<usize, ReadError> {
        self.start(place)?.finish(into)
    }

    /// As [`read`](Self::read), to memory of its own, with the label.
    ///
    /// # Errors
    /// [`ReadError`], never `TooLong`.
    pub fn read_object(&self, place: Place) -> Result<(Label, Vec<u8>), ReadError> {
        self.start(place)?.finish_object()
    }

    /// What was released may be overwritten at any time: that damages nothing.
    pub(super) fn is_now(&self, is_there: impl FnOnce(&Slots) -> bool) -> bool {
        self.enter().is_some_and(|_operation| is_there(&self.slots.lock()))
    }

    pub(super) fn error_of(&self, failure: Failure, is_there: bool) -> ReadError {
        let count = |count| self.counts.add(count, 1);
        match failure {
            _ if !is_there => ReadError::Gone,
            Failure::Timeout => {
                count(&self.counts.timeouts);
                ReadError::Timeout(self.read_deadline)
            }
            Failure::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
                count(&self.counts.timeouts);
                ReadError::Timeout(self.read_deadline)
            }
            // An extent that is shorter than it was written is damaged.
            Failure::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                count(&self.counts.read_failures);
                ReadError::Io(error)
            }
            Failure::Io(_) | Failure::Damaged => {
                count(&self.counts.corrupt);
                ReadError::Corrupt
            }
        }
    }

    /// A part of a slot's extent.
    pub(super) fn read_range(
        &self,
        slot: u32,
        offset: u32,
        bytes: &mut [u8],
    ) -> Result<(), Failure> {
        match caught(|| self.backing.try_read(slot, offset, bytes)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            outcome => return outcome.map_err(Failure::Io),
        }
        let until = Instant::now().checked_add(self.read_deadline);
        let pending = self.readers.start(Range { slot, offset, len: bytes.len() });
        let pending = pending.map_err(|(_, error)| Failure::Io(error))?;
        let outcome = pending.wait(until).ok_or(Failure::Timeout)?;
        bytes.copy_from_slice(&outcome.map_err(Failure::Io)?);
        Ok(())
    }
}

impl Reading<'_> {
    /// Waits for the backing, until the deadline. Copies the object to the start of `into`; its length.
    ///
    /// # Errors
    /// [`ReadError`]. If the object was released meanwhile, [`ReadError::Gone`].
    pub fn finish(self, into: &mut [u8]) -> Result<usize, ReadError> {
        let (_, object) = self.finish_object()?;
        let (len, given) = (object.len(), into.len());
        let into = into.get_mut(..len).ok_or(ReadError::TooLong { len, given })?;
        into.copy_from_slice(&object);
        Ok(len)
    }

    /// As [`finish`](Self::finish), with the label, in memory of its own.
    ///
    /// # Errors
    /// [`ReadError`], never `TooLong`.
    pub fn finish_object(self) -> Result<(Label, Vec<u8>), ReadError> {
        self.finish_run().map(|run| (run.label, run.object))
    }

    /// As [`finish_object`](Self::finish_object), with what was read along. What lies behind the object never makes its read fail,
    /// except that it may take longer.
    ///
    /// # Errors
    /// [`ReadError`], never `TooLong`.
    pub fn finish_run(self) -> Result<Run, ReadError> {
        let Self { spill, place, located, followers, state } = self;
        let outcome = match state {
            State::Read(bytes) => Ok(bytes),
            State::Failed(error) => Err(Failure::Io(error)),
            State::Waits(pending, until) => match pending.wait(until) {
                Some(outcome) => outcome.map_err(Failure::Io),
                None => Err(Failure::Timeout),
            },
        };
        if let (Err(Failure::Io(_)), false) = (&outcome, followers.is_empty()) {
            // The extent may have only been cut behind the object.
            return spill.start(place)?.finish_run();
        }
        let opened = outcome.and_then(|mut bytes| {
            let open = |bytes: &mut [u8], at: &Located| {
                let range = &mut bytes[(at.offset - located.offset) as usize..][..at.len as usize];
                open_object(&spill.sealer, at.binding, range).map(<[u8]>::to_vec)
            };
            let followers = followers.iter().filter_map(|(place, at)| {
                Some((*place, at.binding.label, open(&mut bytes, at).ok()?))
            });
            let followers = followers.collect();
            let object = &mut bytes[..located.len as usize];
            let len = open_object(&spill.sealer, located.binding, object)
                .map_err(|_| Failure::Damaged)?
                .len();
            bytes.truncate(len);
            Ok(Run { label: located.binding.label, object: bytes, followers })
        });
        let run = opened.map_err(|failure| {
            let is_there = spill.is_now(|slots| slots.locate(place) == Some(located));
            spill.error_of(failure, is_there)
        })?;
        spill.counts.add(&spill.counts.reads, 1);
        spill.counts.add(&spill.counts.read_bytes, run.object.len() as u64);
        Ok(run)
    }
}
