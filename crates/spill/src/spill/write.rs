//! Writing an extent: admit, reserve a slot, seal, call the backing, publish.
//!
//! A write is one call, or two: after [`Spill::start_write`] a thread of the spill seals and writes, while the caller gathers the next extent.

use std::{
    fmt, io,
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use pagefold_sys::sync::Ordering;

use super::Spill;
use crate::{
    Backing, Batch, Label, Place, WriteError,
    backing::caught,
    end::Ends,
    pace::Wait,
    seal::{Binding, Sealer},
    slots::Purpose,
    threads::{Call, Flush, Pending},
};

/// Flushes that wait for the disk, at most: what comes beyond is left to the kernel.
const FLUSHES: usize = 7;

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

/// A batch for its slot. The thread that writes it seals it.
pub(crate) struct Extent {
    batch: Batch,
    directory: Binding,
    sealer: Arc<Sealer>,
}

/// What the backing answered, and how long that took.
type Answer = (io::Result<()>, Duration);

/// Afterwards the batch is empty.
fn seal_and_write(
    batch: &mut Batch,
    directory: Binding,
    sealer: &Sealer,
    backing: &dyn Backing,
) -> Answer {
    let bytes = batch.seal(sealer, directory);
    let began = Instant::now();
    let outcome = caught(|| backing.write(directory.slot, bytes));
    let took = began.elapsed();
    batch.clear();
    (outcome, took)
}

impl Call for Extent {
    type Outcome = (Batch, Answer);

    fn run(self, backing: &dyn Backing) -> Self::Outcome {
        let Self { mut batch, directory, sealer } = self;
        let answer = seal_and_write(&mut batch, directory, &sealer, backing);
        (batch, answer)
    }
}

/// A slot that is being written. When it is dropped, the slot is free again.
struct Begun<'a> {
    written: Written<'a>,
    ends: Ends,
    len: usize,
    purpose: Purpose,
}

/// An extent that another thread writes. Dropped, it waits for that, and the slot is free again.
pub struct Writing<'a> {
    // Dropped in this order: the slot is free after the write.
    state: State<'a>,
    begun: Begun<'a>,
}

enum State<'a> {
    Waits(Waiting<'a>),
    /// No thread could be started.
    Done(Batch, Answer),
}

/// `None` once the answer is taken.
struct Waiting<'a>(Option<Pending<'a, Extent>>);

impl Waiting<'_> {
    fn wait(&mut self) -> Option<(Batch, Answer)> {
        self.0.take()?.wait(None)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // The slot is written until then.
        drop(self.wait());
    }
}

impl fmt::Debug for Writing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Writing({:?})", self.begun.written)
    }
}

impl Spill {
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

    /// Lets another thread seal the batch's objects and write them, so that the caller can fill the next batch meanwhile. Without a thread
    /// to be had, the caller's does it.
    ///
    /// # Errors
    /// [`WriteError`], never `Io`, with the batch as before.
    pub fn start_write(&self, batch: Batch) -> Result<Writing<'_>, (Batch, WriteError)> {
        let (begun, directory) = match self.begin(&batch, Purpose::New) {
            Ok(begun) => begun,
            Err(error) => return Err((batch, error)),
        };
        let sealer = Arc::clone(&self.sealer);
        let state = match self.writer.start(Extent { batch, directory, sealer }) {
            Ok(pending) => State::Waits(Waiting(Some(pending))),
            Err((extent, _)) => {
                let (batch, answer) = extent.run(&*self.backing);
                State::Done(batch, answer)
            }
        };
        Ok(Writing { begun, state })
    }

    fn write_for(&self, batch: &mut Batch, purpose: Purpose) -> Result<Written<'_>, WriteError> {
        let (begun, directory) = self.begin(batch, purpose)?;
        begun.end(seal_and_write(batch, directory, &self.sealer, &*self.backing))
    }

    fn begin(&self, batch: &Batch, purpose: Purpose) -> Result<(Begun<'_>, Binding), WriteError> {
        if !self.sealer.seals_here() {
            return Err(WriteError::Child);
        }
        let (slot, directory) = {
            let _operation = self.enter().ok_or(WriteError::Abandoned)?;
            self.admit(batch, Instant::now())?;
            self.reserve(purpose).inspect_err(|_| {
                self.pace.lock().give_back(batch.written_bytes() as u64);
            })?
        };
        // From here on the slot is given back when this is dropped.
        let written = Written { spill: self, slot, generation: directory.generation, objects: 0 };
        let (ends, len) = (batch.ends(), batch.written_bytes());
        Ok((Begun { written, ends, len, purpose }, directory))
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
}

impl<'a> Begun<'a> {
    fn end(mut self, (outcome, took): Answer) -> Result<Written<'a>, WriteError> {
        let spill = self.written.spill;
        let _operation = spill.enter().ok_or(WriteError::Abandoned)?;
        let counts = &spill.counts;
        match outcome {
            Ok(()) => {
                counts.add(&counts.writes, 1);
                counts.add(&counts.written_bytes, self.len as u64);
                if self.purpose == Purpose::Moved {
                    counts.add(&counts.moved_bytes, self.len as u64);
                }
                spill.note_written(took);
                if spill.backing.starts_flushes() {
                    let (slot, bytes) = (self.written.slot, self.len);
                    spill.flusher.offer(Flush { slot, bytes }, FLUSHES);
                }
                self.written.objects = self.ends.len();
                spill.slots.lock().publish(self.written.slot, self.ends);
                Ok(self.written)
            }
            Err(error) => {
                counts.add(&counts.write_failures, 1);
                let rest = spill.pace.lock().note_failure(Instant::now());
                tracing::warn!(%error, rest_s = rest.as_secs(), "the backing cannot write; pages stay in memory");
                Err(WriteError::Io(error))
            }
        }
    }
}

impl<'a> Writing<'a> {
    /// Waits for the write. The batch comes back empty.
    ///
    /// # Errors
    /// `Io` or `Abandoned`, as [`Spill::write`].
    pub fn finish(self) -> (Batch, Result<Written<'a>, WriteError>) {
        let (batch, answer) = match self.state {
            State::Waits(mut waiting) => waiting.wait().expect("it has no deadline"),
            State::Done(batch, answer) => (batch, answer),
        };
        (batch, self.begun.end(answer))
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
