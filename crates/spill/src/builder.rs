//! Settings.

use std::{sync::Arc, time::Duration};

use pagefold_sys::quiesce::Gate;

use crate::{
    Backing, BuildError, Spill,
    pace::{Budget, Pace},
    place::SLOTS_MAX,
    seal::Sealer,
    slots::Slots,
    threads::Threads,
};

/// The least extent.
pub const EXTENT_BYTES_MIN: usize = 64 << 10;
/// The longest extent.
pub const EXTENT_BYTES_MAX: usize = 32 << 20;
/// Long enough for a disk to write at its speed.
pub const EXTENT_BYTES: usize = 1 << 20;
const DEADLINE: Duration = Duration::from_secs(5);
const READERS: usize = 4;

/// Settings of a [`Spill`].
#[derive(Debug)]
#[must_use]
pub struct SpillBuilder {
    backing: Arc<dyn Backing>,
    extent_bytes: usize,
    limit: u64,
    encrypts: bool,
    budget: Option<Budget>,
    read_deadline: Duration,
    write_deadline: Duration,
    readers: usize,
    rests: bool,
}

impl Spill {
    /// Settings of one with this backing.
    pub fn builder(backing: impl Backing + 'static) -> SpillBuilder {
        SpillBuilder::new(Arc::new(backing))
    }
}

impl SpillBuilder {
    fn new(backing: Arc<dyn Backing>) -> Self {
        Self {
            backing,
            extent_bytes: EXTENT_BYTES,
            limit: u64::MAX,
            encrypts: true,
            budget: None,
            read_deadline: DEADLINE,
            write_deadline: DEADLINE,
            readers: READERS,
            rests: true,
        }
    }

    /// Bytes written at once: 64 KiB to 32 MiB; 1 MiB by default. A [`FileBacking`](crate::FileBacking) is made for the same.
    pub fn extent_bytes(self, bytes: usize) -> Self {
        Self { extent_bytes: bytes, ..self }
    }

    /// Bytes that the backing may have, in whole extents; the last of several is kept for cleaning. Without one: 2^20 extents.
    pub fn limit(self, bytes: u64) -> Self {
        Self { limit: bytes, ..self }
    }

    /// Whether objects are encrypted (the default), or only checked: against accidents, not attackers.
    pub fn encrypts(self, encrypts: bool) -> Self {
        Self { encrypts, ..self }
    }

    /// At most `bytes` are written in each `interval`: for disks that wear. No budget by default.
    pub fn write_budget(self, bytes: u64, interval: Duration) -> Self {
        Self { budget: Some(Budget { bytes, interval }), ..self }
    }

    /// How long a read may wait for the backing; 5 s by default.
    pub fn read_deadline(self, deadline: Duration) -> Self {
        Self { read_deadline: deadline, ..self }
    }

    /// A write that took longer counts as a failure: its objects are there, and the next write waits. 5 s by default.
    pub fn write_deadline(self, deadline: Duration) -> Self {
        Self { write_deadline: deadline, ..self }
    }

    /// Threads that read what needs waiting, started when needed; 4 by default, at least 1.
    pub fn readers(self, threads: usize) -> Self {
        Self { readers: threads.max(1), ..self }
    }

    /// Writes go on after failures: for tests, which cannot wait.
    #[doc(hidden)]
    pub fn without_rests(self) -> Self {
        Self { rests: false, ..self }
    }

    /// # Errors
    /// [`BuildError`].
    pub fn build(self) -> Result<Spill, BuildError> {
        let (bytes, min, max) = (self.extent_bytes, EXTENT_BYTES_MIN, EXTENT_BYTES_MAX);
        if !(min..=max).contains(&bytes) {
            return Err(BuildError::Extent { bytes, min, max });
        }
        let slots = self.limit / bytes as u64;
        if slots == 0 {
            return Err(BuildError::Limit { limit: self.limit, extent: bytes });
        }
        if let Some(Budget { bytes: budget, interval }) = self.budget
            && (budget < bytes as u64 || interval < Duration::from_millis(1))
        {
            return Err(BuildError::Budget { bytes: budget, interval, extent: bytes });
        }
        let slots = u32::try_from(slots).unwrap_or(u32::MAX).min(SLOTS_MAX);
        let readers = Threads::new(Arc::clone(&self.backing), self.readers, "pagefold-reader");
        let writer = Threads::new(Arc::clone(&self.backing), 1, "pagefold-writer");
        let flusher = Threads::new(Arc::clone(&self.backing), 1, "pagefold-flusher");
        Ok(Spill::new(
            self.backing,
            (
                readers.map_err(BuildError::Fork)?,
                writer.map_err(BuildError::Fork)?,
                flusher.map_err(BuildError::Fork)?,
            ),
            Sealer::new(self.encrypts)?,
            (Slots::new(slots), slots),
            Pace::new(self.budget, self.rests),
            Gate::new().map_err(BuildError::Fork)?,
            bytes,
            (self.read_deadline, self.write_deadline),
        ))
    }
}
