//! Releasing, accounts; `write` an extent, `read` one object or a run of neighbours, `clean` sparse extents.

mod clean;
mod read;
mod write;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use pagefold_sys::{
    memory::MemoryError,
    quiesce::{Entered, Gate},
    sync::{AtomicU64, Mutex},
};

use crate::{
    Backing, Batch, Label, Place, Released, SpillStats,
    backing::caught,
    pace::Pace,
    seal::{Sealer, TAG_BYTES},
    slots::Slots,
    stats::Counts,
    threads::{Flush, Range as ReadRange, Threads},
};

pub use clean::LiveObject;
pub use read::{Reading, Run};
pub(crate) use write::Extent;
pub use write::{Writing, Written};

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
    readers: Threads<ReadRange>,
    writer: Threads<Extent>,
    flusher: Threads<Flush>,
    sealer: Arc<Sealer>,
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

impl Spill {
    #[expect(clippy::too_many_arguments, reason = "the builder has checked them")]
    pub(crate) fn new(
        backing: Arc<dyn Backing>,
        (readers, writer, flusher): (Threads<ReadRange>, Threads<Extent>, Threads<Flush>),
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
            writer,
            flusher,
            sealer: Arc::new(sealer),
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
