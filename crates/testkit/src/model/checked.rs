//! A real pool driven beside the model: each method performs one operation on both and compares. The outer `Result`
//! is agreement, the inner one the pool's answer.

use std::{cell::Cell, sync::Arc};

use crate::faulty::FaultPlan;
use pagefold_pool::{
    AllocError, Handle, HandleError, Pool, ReadIntoError, Slices, Stats, TryReadError, WriteError,
};

use super::{Mismatch, Model, agree};

/// Checks after each operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// None.
    Result,
    /// `stats()` against model and limit.
    Stats,
    /// Also `validate()`.
    Validate,
}

/// A pool and its model.
///
/// # Examples
/// ```
/// use pagefold_testkit::{model::{Checked, Depth}, reference::MapPool};
///
/// let pool = MapPool::new(1 << 20);
/// let mut checked = Checked::new(&pool, Depth::Validate);
/// let handle = checked.store(b"cold bytes")??;
/// checked.read(handle)?;
/// checked.free(handle)??;
/// checked.misuse(handle)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Checked<'p> {
    pub(super) pool: &'p dyn Pool,
    pub(super) model: Model,
    depth: Depth,
    pub(super) open_reads: u32,
    /// Bytes freed or overwritten during a read since `stats()` was last exact. Another read of the same span may
    /// keep them longer.
    lingering: Cell<u64>,
    pub(super) contiguous: u64,
    faults: Option<Arc<FaultPlan>>,
}

impl<'p> Checked<'p> {
    /// Takes over an empty pool.
    pub fn new(pool: &'p dyn Pool, depth: Depth) -> Self {
        Self {
            pool,
            model: Model::default(),
            depth,
            open_reads: 0,
            lingering: Cell::new(0),
            contiguous: 0,
            faults: None,
        }
    }

    /// Lets operations steer the source's faults.
    pub fn faulty(self, faults: Arc<FaultPlan>) -> Self {
        Self { faults: Some(faults), ..self }
    }

    pub(super) fn with_faults(&self, f: impl FnOnce(&FaultPlan)) {
        if let Some(faults) = &self.faults {
            f(faults);
        }
    }

    /// The pool.
    pub fn pool(&self) -> &'p dyn Pool {
        self.pool
    }

    /// Whether a read is open.
    pub fn is_reading(&self) -> bool {
        self.open_reads > 0
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Stores bytes; their number selects the method.
    ///
    /// # Errors
    /// [`Mismatch`].
    pub fn store(&mut self, bytes: &[u8]) -> Result<Result<Handle, AllocError>, Mismatch> {
        let answer = match bytes.len() % 2 {
            0 => self.pool.store(bytes),
            _ => self.pool.store_resident(bytes),
        };
        self.made(answer, bytes)
    }

    /// Allocates zeros.
    ///
    /// # Errors
    /// [`Mismatch`].
    pub fn alloc(&mut self, len: usize) -> Result<Result<Handle, AllocError>, Mismatch> {
        let answer = self.pool.alloc(len);
        let zeros = vec![0; if answer.is_ok() { len } else { len.min(self.pool.max_len() + 1) }];
        self.made(answer, &zeros)
    }

    fn made(
        &mut self,
        answer: Result<Handle, AllocError>,
        bytes: &[u8],
    ) -> Result<Result<Handle, AllocError>, Mismatch> {
        let max = self.pool.max_len();
        match answer {
            Ok(_) if bytes.is_empty() || bytes.len() > max => {
                return Err(Mismatch(format!(
                    "an object of {} bytes was made; allowed are 1 to {max}",
                    bytes.len()
                )));
            }
            Ok(handle) => {
                self.model.insert(handle, bytes.to_vec())?;
                _ = self.read(handle)?;
            }
            Err(AllocError::InvalidSize) => {
                agree!(bytes.is_empty(), "InvalidSize for {} bytes", bytes.len());
            }
            Err(AllocError::TooLarge { len, max: said }) => {
                agree!(
                    bytes.len() > max && len > max && said == max,
                    "TooLarge {{ {len}, {said} }} for {} of {max} bytes",
                    bytes.len()
                );
            }
            Err(AllocError::OutOfMemory { limit }) => {
                agree!(
                    (1..=max).contains(&bytes.len()),
                    "OutOfMemory for {} bytes, which can never be stored",
                    bytes.len()
                );
                let in_force = self.pool.stats().limit_bytes;
                agree!(
                    limit as u64 == in_force,
                    "OutOfMemory names a limit of {limit} bytes instead of {in_force}"
                );
            }
        }
        self.check_depth()?;
        Ok(answer)
    }

    /// Frees an object; a dead handle must be refused.
    ///
    /// # Errors
    /// [`Mismatch`].
    pub fn free(&mut self, handle: Handle) -> Result<Result<(), HandleError>, Mismatch> {
        let answer = self.pool.free(handle);
        self.compare_liveness("free", handle, answer.err())?;
        self.linger(handle);
        self.model.remove(handle);
        self.check_depth()?;
        Ok(answer)
    }

    /// Compares the length.
    ///
    /// # Errors
    /// [`Mismatch`].
    pub fn len(&self, handle: Handle) -> Result<Result<usize, HandleError>, Mismatch> {
        let answer = self.pool.len(handle);
        self.compare_liveness("len", handle, answer.err())?;
        if let (Ok(len), Some(bytes)) = (answer, self.model.get(handle)) {
            agree!(len == bytes.len(), "len of {handle:?} is {len} instead of {}", bytes.len());
        }
        Ok(answer)
    }

    /// Replaces the bytes.
    ///
    /// # Errors
    /// [`Mismatch`].
    pub fn write(
        &mut self,
        handle: Handle,
        bytes: &[u8],
    ) -> Result<Result<(), WriteError>, Mismatch> {
        let answer = self.pool.write(handle, bytes);
        let expected_len = self.model.get(handle).map(<[u8]>::len);
        match (answer, expected_len) {
            (Ok(()), Some(len)) if len == bytes.len() => {
                self.linger(handle);
                self.model.replace(handle, bytes);
            }
            (Err(WriteError::WrongLength { len, given }), Some(expected)) => agree!(
                len == expected && given == bytes.len() && len != given,
                "write of {} bytes to {handle:?} of {expected}: WrongLength {{ {len}, {given} }}",
                bytes.len()
            ),
            (Err(WriteError::OutOfMemory { .. }), Some(len)) if len == bytes.len() => {
                agree!(
                    self.open_reads > 0,
                    "write to {handle:?} is out of memory although no read is open"
                );
            }
            (Err(WriteError::Handle(error)), None) => {
                self.compare_liveness("write", handle, Some(error))?;
            }
            _ => {
                return Err(Mismatch(format!(
                    "write of {} bytes to {handle:?} ({expected_len:?}): {answer:?}",
                    bytes.len()
                )));
            }
        }
        if expected_len.is_some() {
            _ = self.read(handle)?;
        }
        self.check_depth()?;
        Ok(answer)
    }

    /// Reads and compares every byte.
    ///
    /// # Errors
    /// [`Mismatch`].
    pub fn read(&self, handle: Handle) -> Result<Result<(), HandleError>, Mismatch> {
        let mut seen = Seen::default();
        let answer =
            self.pool.read(handle, &mut |slices| seen.look(slices, self.model.get(handle)));
        self.compare_liveness("read", handle, answer.err())?;
        seen.verdict("read", handle, answer.is_ok())?;
        Ok(answer)
    }

    /// As [`read`](Self::read); one thread alone must not meet `WouldBlock`.
    ///
    /// # Errors
    /// [`Mismatch`].
    pub fn try_read(&self, handle: Handle) -> Result<Result<(), TryReadError>, Mismatch> {
        let mut seen = Seen::default();
        let answer =
            self.pool.try_read(handle, &mut |slices| seen.look(slices, self.model.get(handle)));
        match answer {
            Ok(()) => self.compare_liveness("try_read", handle, None)?,
            Err(TryReadError::Handle(error)) => {
                self.compare_liveness("try_read", handle, Some(error))?;
            }
            Err(TryReadError::WouldBlock) => {
                return Err(Mismatch(format!(
                    "try_read of {handle:?} would block, but no thread writes"
                )));
            }
        }
        seen.verdict("try_read", handle, answer.is_ok())?;
        Ok(answer)
    }

    /// Reads into a buffer; a short one must stay unchanged.
    ///
    /// # Errors
    /// [`Mismatch`].
    pub fn read_into(
        &self,
        handle: Handle,
        capacity: usize,
    ) -> Result<Result<usize, ReadIntoError>, Mismatch> {
        const UNTOUCHED: u8 = 0xa5;
        let mut buffer = vec![UNTOUCHED; capacity];
        let answer = self.pool.read_into(handle, &mut buffer);
        let copied = match (answer, self.model.get(handle)) {
            (Ok(len), Some(bytes)) => {
                agree!(
                    len == bytes.len() && len <= capacity,
                    "read_into of {handle:?} copied {len} of {} bytes into {capacity}",
                    bytes.len()
                );
                agree!(&buffer[..len] == bytes, "read_into of {handle:?} gave other bytes");
                len
            }
            (Err(ReadIntoError::BufferTooSmall { len, capacity: said }), Some(bytes)) => {
                let right = len == bytes.len() && said == capacity && len > capacity;
                agree!(
                    right,
                    "read_into of {handle:?} ({} bytes) into {capacity}: BufferTooSmall {{ {len}, {said} }}",
                    bytes.len()
                );
                0
            }
            (Err(ReadIntoError::Handle(error)), None) => {
                self.compare_liveness("read_into", handle, Some(error))?;
                0
            }
            (answer, live) => {
                return Err(Mismatch(format!(
                    "read_into of {handle:?} (live: {}): {answer:?}",
                    live.is_some()
                )));
            }
        };
        agree!(
            buffer[copied..].iter().all(|byte| *byte == UNTOUCHED),
            "read_into of {handle:?} wrote beyond the {copied} bytes it copied"
        );
        Ok(answer)
    }

    /// Performs `inside` during a read.
    ///
    /// # Errors
    /// [`Mismatch`], also from `inside`.
    pub fn during_read(
        &mut self,
        handle: Handle,
        inside: &mut dyn FnMut(&mut Self) -> Result<(), Mismatch>,
    ) -> Result<Result<(), HandleError>, Mismatch> {
        let before = self.model.get(handle).map(<[u8]>::to_vec);
        let mut outcome = Ok(());
        let answer = self.pool.read(handle, &mut |slices| {
            let mut seen = Seen::default();
            seen.look(slices, before.as_deref());
            self.open_reads += 1;
            outcome = seen.verdict("read", handle, true).and_then(|()| inside(self));
            self.open_reads -= 1;
            let mut again = Seen::default();
            again.look(slices, before.as_deref());
            if outcome.is_ok() {
                outcome =
                    again.verdict("read (its end, after other operations inside)", handle, true);
            }
        });
        outcome?;
        let expected = if before.is_some() { None } else { Some(HandleError::Stale) };
        agree!(answer.err() == expected, "read of {handle:?}: {answer:?}");
        self.check_depth()?;
        Ok(answer)
    }

    /// Uses a dead handle in every way.
    ///
    /// # Errors
    /// [`Mismatch`].
    pub fn misuse(&mut self, handle: Handle) -> Result<(), Mismatch> {
        agree!(self.model.get(handle).is_none(), "the test misuses {handle:?}, which is alive");
        _ = self.read(handle)?;
        _ = self.try_read(handle)?;
        _ = self.read_into(handle, self.pool.max_len())?;
        _ = self.len(handle)?;
        _ = self.write(handle, &[1])?;
        _ = self.migrate(handle)?;
        _ = self.free(handle)?;
        Ok(())
    }

    /// Compares and returns the accounts.
    ///
    /// # Errors
    /// [`Mismatch`].
    pub fn stats(&self) -> Result<Stats, Mismatch> {
        let stats = self.pool.stats();
        let (objects, payload) = (self.model.objects().len() as u64, self.model.payload_bytes());
        agree!(
            stats.objects == objects,
            "stats() counts {} objects; there are {objects}",
            stats.objects
        );
        // With no read open `stats()` drains deferred frees.
        if self.open_reads == 0 {
            self.lingering.set(0);
        }
        agree!(
            (payload..=payload + self.lingering.get()).contains(&stats.payload_bytes),
            "stats() counts {} payload bytes; there are {payload}",
            stats.payload_bytes
        );
        agree!(
            stats.contiguous_bytes == self.contiguous,
            "stats() counts {} contiguous bytes; there are {}",
            stats.contiguous_bytes,
            self.contiguous
        );
        agree!(
            stats.frame_bytes >= payload,
            "{payload} payload bytes lie in {} bytes of frames",
            stats.frame_bytes
        );
        let (resident, limit) = (stats.resident_bytes(), stats.limit_bytes);
        agree!(
            resident <= limit,
            "{resident} bytes may be resident; the limit is {limit}: {stats:?}"
        );
        agree!(
            stats.compacted_bytes <= stats.moved_bytes,
            "compaction is part of what moved: {stats:?}"
        );
        agree!(
            stats.reclaimable_bytes <= stats.frame_bytes,
            "more is reclaimable than there is: {stats:?}"
        );
        Ok(stats)
    }

    /// Checks the pool's own invariants.
    ///
    /// # Errors
    /// [`Mismatch`].
    pub fn validate(&self) -> Result<(), Mismatch> {
        self.pool.validate().map_err(|violation| Mismatch(format!("validate(): {violation}")))
    }

    /// Compares everything, and up to `dead_sample` dead handles.
    ///
    /// # Errors
    /// [`Mismatch`].
    pub fn check_all(&self, dead_sample: usize) -> Result<(), Mismatch> {
        self.check_bytes()?;
        let step = (self.model.dead().len() / dead_sample.max(1)).max(1);
        for handle in self.model.dead().iter().step_by(step) {
            _ = self.read(*handle)?;
            _ = self.len(*handle)?;
        }
        self.stats()?;
        self.validate()
    }

    /// Compares every byte.
    ///
    /// # Errors
    /// [`Mismatch`].
    pub fn check_bytes(&self) -> Result<(), Mismatch> {
        for (handle, _) in self.model.objects() {
            _ = self.read(*handle)?;
            _ = self.len(*handle)?;
        }
        Ok(())
    }

    /// Frees every object.
    ///
    /// # Errors
    /// [`Mismatch`].
    pub fn free_all(&mut self) -> Result<(), Mismatch> {
        while let Some((handle, _)) = self.model.objects().last() {
            _ = self.free(*handle)?;
        }
        Ok(())
    }

    fn linger(&mut self, handle: Handle) {
        if self.open_reads > 0 {
            let len = self.model.get(handle).map_or(0, |bytes| bytes.len() as u64);
            self.lingering.set(self.lingering.get() + len);
        }
    }

    pub(super) fn check_depth(&self) -> Result<(), Mismatch> {
        if self.depth >= Depth::Stats {
            self.stats()?;
        }
        if self.depth >= Depth::Validate && self.open_reads == 0 {
            self.validate()?;
        }
        Ok(())
    }

    /// A dead handle must be stale, an unknown one refused.
    pub(super) fn compare_liveness(
        &self,
        what: &str,
        handle: Handle,
        refused: Option<HandleError>,
    ) -> Result<(), Mismatch> {
        let live = self.model.get(handle).is_some();
        let dead = self.model.buried.contains(&handle);
        let right = match refused {
            None => live,
            Some(HandleError::Stale) => !live,
            Some(HandleError::Foreign) => !live && !dead,
        };
        let state = if live {
            "live"
        } else if dead {
            "freed"
        } else {
            "unknown"
        };
        agree!(
            right,
            "{what} with the {state} handle {handle:?}: {}",
            refused.map_or("accepted".to_owned(), |error| error.to_string())
        );
        Ok(())
    }
}

/// What a read closure saw.
#[derive(Debug, Default)]
struct Seen {
    calls: u32,
    fault: Option<String>,
}

impl Seen {
    fn look(&mut self, slices: Slices<'_>, expected: Option<&[u8]>) {
        self.calls += 1;
        self.fault = match expected {
            None => Some("the closure was called for an object that does not exist".to_owned()),
            Some(bytes) if slices.len() != bytes.len() => {
                Some(format!("{} bytes instead of {}", slices.len(), bytes.len()))
            }
            Some(bytes) if slices.contiguous() == Some(bytes) => None,
            Some(bytes) => {
                let found = slices.parts().iter().copied().flatten();
                found
                    .zip(bytes)
                    .position(|(found, expected)| found != expected)
                    .map(|at| format!("another byte at offset {at} of {}", bytes.len()))
            }
        };
    }

    fn verdict(self, what: &str, handle: Handle, accepted: bool) -> Result<(), Mismatch> {
        agree!(
            self.calls == u32::from(accepted),
            "{what} of {handle:?} called its closure {} times",
            self.calls
        );
        match self.fault {
            None => Ok(()),
            Some(fault) => Err(Mismatch(format!("{what} of {handle:?}: {fault}"))),
        }
    }
}
