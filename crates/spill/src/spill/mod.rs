//! Writing, releasing, accounts; `read` one object or a run of neighbours, `clean` sparse extents.

mod clean;
mod read;

use std::{
    fmt,
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use pagefold_sys::{
    memory::MemoryError,
    quiesce::{Entered, Gate},
    sync::{AtomicU64, Mutex, Ordering},
};

use crate::{
    Backing, Batch, Label, Place, Released, SpillBuilder, SpillStats, WriteError,
    backing::caught,
    pace::{Pace, Wait},
    readers::Readers,
    seal::{Binding, Sealer, TAG_BYTES},
    slots::{Purpose, Slots},
    stats::Counts,
};

pub use clean::LiveObject;
pub use read::{Reading, Run};

/// Objects in a [`Backing`], by [`Place`].
///
/// # Concurrency
/// Threads share it. Its lock is held for memory only: no thread that writes, reads or discards holds it while the backing works.
///
/// # Fork
/// A fork waits for none of the backing's work. The child reads what its parent had written, as long as the parent does not use the slot again:
/// then it gets [`ReadError::Corrupt`](crate::ReadError::Corrupt). It does not write, and gives no space back: it has its parent's key and its parent's file.
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
        self.write_for(batch, Purpose::New)
    }

    /// As [`write`](Self::write), for objects that lie in the backing already: it may use the last slot, because it frees others.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_moved(&self, batch: &mut Batch) -> Result<Written<'_>, WriteError> {
        self.write_for(batch, Purpose::Moved)
    }

    fn write_for(&self, batch: &mut Batch, purpose: Purpose) -> Result<Written<'_>, WriteError> {
        if !self.sealer.seals_here() {
            return Err(WriteError::Child);
        }
        let began = Instant::now();
        let (slot, directory) = {
            let _operation = self.enter().ok_or(WriteError::Abandoned)?;
            self.admit(batch, began)?;
            self.reserve(purpose).inspect_err(|_| {
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
                if purpose == Purpose::Moved {
                    self.counts.add(&self.counts.moved_bytes, len);
                }
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

    fn reserve(&self, purpose: Purpose) -> Result<(u32, Binding), WriteError> {
        // ORDERING: Relaxed; each number is given once, and orders nothing.
        let sequence = self
            .sequences
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| last.checked_add(1));
        let sequence = sequence.map_err(|_| WriteError::UsedUp)?;
        let (slot, generation) =
            self.slots.lock().reserve(sequence, purpose).ok_or(WriteError::Full)?;
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

    /// Gives the space of one free slot back to the backing; whether there was one. The child of a fork gives nothing back:
    /// its parent may have written the slot again.
    pub fn discard_one(&self) -> bool {
        if !self.sealer.seals_here() {
            return false;
        }
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

    /// Makes objects live, as [`keep`](Self::keep) does one.
    ///
    /// # Panics
    /// As [`place`](Self::place).
    pub fn keep_some(&self, numbers: Range<usize>) {
        if let Some(_operation) = self.spill.enter() {
            let mut slots = self.spill.slots.lock();
            numbers.for_each(|number| slots.keep(self.place(number)));
        }
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
