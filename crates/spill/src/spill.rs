//! Writing, reading, releasing, cleaning.

use std::{
    fmt, io,
    sync::Arc,
    time::{Duration, Instant},
};

use pagefold_sys::{
    memory::MemoryError,
    quiesce::{Entered, Gate},
    sync::{AtomicU64, Mutex, Ordering},
};

use crate::{
    Backing, Batch, Label, Owner, Place, ReadError, Released, SpillBuilder, SpillStats, WriteError,
    backing::caught,
    batch::{directory_bytes, open_directory, open_object},
    pace::{Pace, Wait},
    readers::{Pending, Range, Readers},
    seal::{Binding, Sealer, TAG_BYTES},
    slots::{Located, Slots},
    stats::Counts,
};

/// Objects in a [`Backing`], by [`Place`].
///
/// # Concurrency
/// Threads share it. Its lock is held for memory only: no thread that writes, reads or discards holds it while the backing works.
///
/// # Fork
/// A fork waits for none of the backing's work. The child reads what its parent had written, as long as the parent does not use the slot again:
/// then it gets [`ReadError::Corrupt`]. It does not write: it has its parent's key.
pub struct Spill {
    backing: Arc<dyn Backing>,
    readers: Readers,
    sealer: Sealer,
    extent_bytes: usize,
    slots_max: u32,
    read_deadline: Duration,
    write_deadline: Duration,
    sequences: AtomicU64,
    /// The locks below are taken only inside it, so that a fork finds them free.
    gate: Gate,
    slots: Mutex<Slots>,
    pace: Mutex<Pace>,
    counts: Counts,
}

impl fmt::Debug for Spill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spill").field("backing", &self.backing).finish_non_exhaustive()
    }
}

/// An extent that was written, before any object of it counts. Its slot stays until this is dropped.
pub struct Written<'a> {
    spill: &'a Spill,
    slot: u32,
    generation: u32,
    objects: usize,
}

impl fmt::Debug for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { slot, generation, objects, .. } = self;
        write!(f, "Written({objects} objects in slot {slot}, life {generation})")
    }
}

/// A read that was started.
pub struct Reading<'a> {
    spill: &'a Spill,
    place: Place,
    located: Located,
    state: State<'a>,
}

enum State<'a> {
    Read(Vec<u8>),
    /// Until then; `None`: without a deadline.
    Waits(Pending<'a>, Option<Instant>),
    Failed(io::Error),
}

impl fmt::Debug for Reading<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reading({:?})", self.place)
    }
}

/// Why a read gave no bytes.
enum Failure {
    Io(io::Error),
    Timeout,
    Damaged,
}

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
    /// Settings of one with this backing.
    pub fn builder(backing: impl Backing + 'static) -> SpillBuilder {
        SpillBuilder::new(Arc::new(backing))
    }

    #[expect(clippy::too_many_arguments, reason = "the builder has checked them")]
    pub(crate) fn new(
        backing: Arc<dyn Backing>,
        readers: Readers,
        sealer: Sealer,
        (slots, slots_max): (Slots, u32),
        pace: Pace,
        gate: Gate,
        extent_bytes: usize,
        (read_deadline, write_deadline): (Duration, Duration),
    ) -> Self {
        Self {
            backing,
            readers,
            sealer,
            extent_bytes,
            slots_max,
            read_deadline,
            write_deadline,
            sequences: AtomicU64::new(0),
            gate,
            slots: Mutex::new(slots),
            pace: Mutex::new(pace),
            counts: Counts::default(),
        }
    }

    fn enter(&self) -> Option<Entered<'_>> {
        self.gate.enter().ok()
    }

    /// An empty batch of an extent, which keeps that many bytes of memory.
    ///
    /// # Errors
    /// [`MemoryError`].
    pub fn batch(&self) -> Result<Batch, MemoryError> {
        Batch::new(self.extent_bytes)
    }

    /// Seals the batch's objects and writes them; the batch is empty afterwards. Waits for the backing.
    ///
    /// # Errors
    /// [`WriteError`]. Nothing is written then that a place leads to. After `Full`, `Budget`, `Resting`, `Child` and `Abandoned` the batch is as
    /// before; after `Io` it is empty.
    pub fn write(&self, batch: &mut Batch) -> Result<Written<'_>, WriteError> {
        if !self.sealer.seals_here() {
            return Err(WriteError::Child);
        }
        let began = Instant::now();
        let (slot, directory) = {
            let _operation = self.enter().ok_or(WriteError::Abandoned)?;
            self.admit(batch, began)?;
            self.reserve().inspect_err(|_| {
                self.pace.lock().give_back(batch.written_bytes() as u64);
            })?
        };
        // From here on the slot is given back when this is dropped.
        let mut written =
            Written { spill: self, slot, generation: directory.generation, objects: 0 };
        let (ends, objects) = (batch.ends(), batch.len());
        let bytes = batch.seal(&self.sealer, directory);
        let outcome = caught(|| self.backing.write(slot, bytes));
        let (len, took) = (bytes.len() as u64, began.elapsed());
        batch.clear();
        let _operation = self.enter().ok_or(WriteError::Abandoned)?;
        match outcome {
            Ok(()) => {
                self.counts.add(&self.counts.writes, 1);
                self.counts.add(&self.counts.written_bytes, len);
                self.note_written(took);
                self.slots.lock().publish(slot, ends);
                written.objects = objects;
                Ok(written)
            }
            Err(error) => {
                self.counts.add(&self.counts.write_failures, 1);
                let rest = self.pace.lock().note_failure(Instant::now());
                tracing::warn!(%error, rest_s = rest.as_secs(), "the backing cannot write; pages stay in memory");
                Err(WriteError::Io(error))
            }
        }
    }

    fn admit(&self, batch: &Batch, now: Instant) -> Result<(), WriteError> {
        let bytes = batch.written_bytes() as u64;
        self.pace.lock().admit(bytes, now).map_err(|wait| match wait {
            Wait::Budget(time) => WriteError::Budget(time),
            Wait::Resting(time) => WriteError::Resting(time),
        })
    }

    fn reserve(&self) -> Result<(u32, Binding), WriteError> {
        // ORDERING: Relaxed; each number is given once, and orders nothing.
        let sequence = self
            .sequences
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| last.checked_add(1));
        let sequence = sequence.map_err(|_| WriteError::UsedUp)?;
        let (slot, generation) = self.slots.lock().reserve(sequence).ok_or(WriteError::Full)?;
        Ok((slot, Binding { sequence, slot, generation, number: u32::MAX, label: Label::NONE }))
    }

    fn note_written(&self, took: Duration) {
        if took > self.write_deadline {
            self.counts.add(&self.counts.slow_writes, 1);
            let rest = self.pace.lock().note_failure(Instant::now());
            tracing::warn!(
                took_ms = took.as_millis(),
                rest_s = rest.as_secs(),
                "the backing is slow; pages stay in memory"
            );
        } else if self.pace.lock().note_success() {
            tracing::info!("the backing writes again");
        }
    }

    /// Starts to read an object.
    ///
    /// # Errors
    /// [`ReadError::Gone`], [`ReadError::Abandoned`].
    pub fn start(&self, place: Place) -> Result<Reading<'_>, ReadError> {
        let located = {
            let _operation = self.enter().ok_or(ReadError::Abandoned)?;
            self.slots.lock().locate(place).ok_or(ReadError::Gone)?
        };
        let Located { slot, offset, len, .. } = located;
        let mut bytes = vec![0; len as usize];
        let state = match caught(|| self.backing.try_read(slot, offset, &mut bytes)) {
            Ok(()) => {
                self.counts.add(&self.counts.cached_reads, 1);
                State::Read(bytes)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let until = Instant::now().checked_add(self.read_deadline);
                match self.readers.start(Range { slot, offset, len: len as usize }) {
                    Ok(pending) => State::Waits(pending, until),
                    Err(error) => State::Failed(error),
                }
            }
            Err(error) => State::Failed(error),
        };
        Ok(Reading { spill: self, place, located, state })
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

    /// No caller names the object any more; what it was, if it was live. The last live object of an extent frees its slot.
    pub fn release(&self, place: Place) -> Option<Released> {
        let _operation = self.enter()?;
        self.slots.lock().release(place)
    }

    /// The label of an object, and its bytes; `None` if nothing live lies there.
    pub fn kept(&self, place: Place) -> Option<(Label, usize)> {
        let _operation = self.enter()?;
        let located = self.slots.lock().locate(place)?;
        Some((located.binding.label, located.len as usize - TAG_BYTES))
    }

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

    /// What was released may be overwritten at any time: that damages nothing.
    fn is_now(&self, is_there: impl FnOnce(&Slots) -> bool) -> bool {
        self.enter().is_some_and(|_operation| is_there(&self.slots.lock()))
    }

    fn error_of(&self, failure: Failure, is_there: bool) -> ReadError {
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

    fn read_range(&self, slot: u32, bytes: &mut [u8]) -> Result<(), Failure> {
        let until = Instant::now().checked_add(self.read_deadline);
        let pending = self.readers.start(Range { slot, offset: 0, len: bytes.len() });
        let outcome = pending.map_err(Failure::Io)?.wait(until).ok_or(Failure::Timeout)?;
        bytes.copy_from_slice(&outcome.map_err(Failure::Io)?);
        Ok(())
    }

    /// Gives the space of one free slot back to the backing; whether there was one.
    pub fn discard_one(&self) -> bool {
        let taken = self.enter().and_then(|_operation| self.slots.lock().take_undiscarded());
        let Some(slot) = taken else { return false };
        self.counts.add(&self.counts.discards, 1);
        if let Err(error) = caught(|| self.backing.discard(slot)) {
            self.counts.add(&self.counts.discard_failures, 1);
            tracing::debug!(%error, slot, "the backing keeps the space of a free slot");
        }
        if let Some(_operation) = self.enter() {
            self.slots.lock().discarded(slot);
        }
        true
    }

    /// Bytes of an extent.
    pub fn extent_bytes(&self) -> usize {
        self.extent_bytes
    }

    /// Statistics, not of one instant.
    pub fn stats(&self) -> SpillStats {
        let mut stats = self.counts.stats();
        let Some(_operation) = self.enter() else { return stats };
        let slots = self.slots.lock();
        let (live_objects, live_bytes) = slots.live();
        stats.extent_bytes = self.extent_bytes as u64;
        stats.extents = slots.in_use().into();
        stats.extents_max = self.slots_max.into();
        stats.used_up = slots.used_up().into();
        stats.undiscarded = slots.undiscarded() as u64;
        (stats.live_objects, stats.live_bytes) = (live_objects, live_bytes);
        stats.metadata_bytes = slots.bytes() as u64;
        drop(slots);
        stats.rests = self.pace.lock().is_resting(Instant::now());
        stats.key_is_locked = self.sealer.is_locked();
        stats
    }

    /// Checks the sums of the table. Not beside writes.
    ///
    /// # Errors
    /// What is wrong.
    pub fn audit(&self) -> Result<(), String> {
        match self.enter() {
            Some(_operation) => self.slots.lock().audit(),
            None => Ok(()),
        }
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
        let Self { spill, place, located, state } = self;
        let outcome = match state {
            State::Read(bytes) => Ok(bytes),
            State::Failed(error) => Err(Failure::Io(error)),
            State::Waits(pending, until) => match pending.wait(until) {
                Some(outcome) => outcome.map_err(Failure::Io),
                None => Err(Failure::Timeout),
            },
        };
        let opened = outcome.and_then(|mut bytes| {
            let object = open_object(&spill.sealer, located.binding, &mut bytes);
            let len = object.map_err(|_| Failure::Damaged)?.len();
            bytes.truncate(len);
            Ok(bytes)
        });
        let object = opened.map_err(|failure| {
            let is_there = spill.is_now(|slots| slots.locate(place) == Some(located));
            spill.error_of(failure, is_there)
        })?;
        spill.counts.add(&spill.counts.reads, 1);
        spill.counts.add(&spill.counts.read_bytes, object.len() as u64);
        Ok((located.binding.label, object))
    }
}

impl Written<'_> {
    /// Objects of the extent.
    pub fn len(&self) -> usize {
        self.objects
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.objects == 0
    }

    /// The place of an object, by its number.
    ///
    /// # Panics
    /// Beyond the extent's objects.
    pub fn place(&self, number: usize) -> Place {
        assert!(number < self.objects, "object {number} of {}", self.objects);
        Place::new(self.slot, number, self.generation)
    }

    /// Makes an object live, and returns its place. Before the caller's index names it; the one that takes the name out calls
    /// [`Spill::release`].
    ///
    /// # Panics
    /// As [`place`](Self::place).
    pub fn keep(&self, number: usize) -> Place {
        let place = self.place(number);
        if let Some(_operation) = self.spill.enter() {
            self.spill.slots.lock().keep(place);
        }
        place
    }
}

impl Drop for Written<'_> {
    fn drop(&mut self) {
        if let Some(_operation) = self.spill.enter() {
            self.spill.slots.lock().end_writing(self.slot);
        }
    }
}
