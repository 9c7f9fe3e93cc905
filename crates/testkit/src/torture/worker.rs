//! One stress thread: its phases and checked operations.

use pagefold_pool::{
    AllocError, Handle, HandleError, LimitError, Slices, TryReadError, WriteError,
};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{
    Failure, Injected, Operation, Shared, Tally, ensure,
    moving::HeldRange,
    slots::{Object, ObjectSlot, Written},
};
use crate::{
    corpus::Lengths,
    pattern::{Pattern, mix},
};

const CHURN_OPS: u64 = 20_000;
/// Consecutive refusals that mean "full".
const FULL_AFTER: u32 = 8;
const DEAD_MAX: usize = 64;
pub(super) const DEPTH_MAX: u32 = 3;
const REPORT_EVERY: u64 = 64;

pub(super) struct Worker<'a> {
    pub(super) shared: &'a Shared<'a>,
    pub(super) rng: ChaCha8Rng,
    /// `None` mixes all.
    lengths: Option<Lengths>,
    left: u64,
    dead: Vec<Handle>,
    pub(super) ranges: Vec<HeldRange<'a>>,
    pub(super) depth: u32,
    pub(super) tally: Tally,
    pub(super) injected: Injected,
    digest: u64,
}

pub(super) struct Done {
    pub(super) tally: Tally,
    pub(super) injected: Injected,
    pub(super) digest: u64,
}

impl<'a> Worker<'a> {
    pub(super) fn new(
        shared: &'a Shared<'a>,
        rng: ChaCha8Rng,
        lengths: Option<Lengths>,
        left: u64,
    ) -> Self {
        Self {
            shared,
            rng,
            lengths,
            left,
            dead: Vec::new(),
            ranges: Vec::new(),
            depth: 0,
            tally: Tally::default(),
            injected: Injected::default(),
            digest: 0,
        }
    }

    pub(super) fn run(mut self, thread: u64) -> Result<Done, Failure> {
        let phases = [
            Self::fill,
            Self::churn,
            Self::free_most,
            Self::compact_all,
            Self::churn_below_the_limit,
        ];
        for phase in phases {
            // The first failure stops all threads.
            phase(&mut self, thread).inspect_err(|_| self.shared.watch.stop())?;
        }
        while !self.ranges.is_empty() {
            self.free_contiguous()?;
        }
        Ok(Done { tally: self.tally, injected: self.injected, digest: self.digest })
    }

    /// `false` when it is time to stop.
    pub(super) fn step(&mut self, outcome: u64) -> bool {
        self.digest = mix(self.digest ^ outcome);
        self.left = self.left.saturating_sub(1);
        let total = self.tally.total();
        if total.is_multiple_of(REPORT_EVERY) {
            self.shared.watch.report(REPORT_EVERY);
        }
        self.goes_on()
    }

    fn goes_on(&self) -> bool {
        self.left > 0 && !self.shared.watch.stopped()
    }

    fn fill(&mut self, _: u64) -> Result<(), Failure> {
        let slots = &self.shared.slots;
        let start = self.rng.random_range(0..slots.len());
        let mut refused = 0;
        for slot in slots.iter().cycle().skip(start).take(slots.len()) {
            if refused >= FULL_AFTER || !self.goes_on() {
                break;
            }
            match self.store(slot)? {
                Some(true) => refused = 0,
                Some(false) => {
                    refused += 1;
                    if self.has(Operation::Reclaim) && self.rng.random_ratio(1, 8) {
                        self.reclaim()?;
                    }
                }
                None => {}
            }
            if self.rng.random_ratio(1, 8) {
                self.any()?;
            }
        }
        Ok(())
    }

    /// Lowers the limit once, for a while.
    fn churn(&mut self, thread: u64) -> Result<(), Failure> {
        let squeeze = self.rng.random_range(0..CHURN_OPS);
        for op in 0..CHURN_OPS {
            if !self.goes_on() {
                break;
            }
            if op == squeeze && self.has(Operation::Limit) {
                self.lower_limit()?;
                self.churn_a_little(thread)?;
                self.raise_limit()?;
            }
            self.any()?;
        }
        Ok(())
    }

    fn free_most(&mut self, thread: u64) -> Result<(), Failure> {
        if !self.has(Operation::Free) {
            return Ok(());
        }
        let threads = self.shared.plan.threads as u64;
        for (_, slot) in
            (0..).zip(&self.shared.slots).filter(|(index, _)| index % threads == thread)
        {
            if !self.goes_on() {
                break;
            }
            if self.rng.random_ratio(4, 5) {
                self.free(slot, true)?;
            } else if self.has(Operation::Read) && self.rng.random_ratio(1, 4) {
                self.read(slot)?;
            }
        }
        Ok(())
    }

    fn compact_all(&mut self, _: u64) -> Result<(), Failure> {
        if !self.has(Operation::Compact) {
            return Ok(());
        }
        // Other threads may keep objects busy for ever.
        for _ in 0..10_000 {
            let more = self.compact();
            for _ in 0..4 {
                self.any()?;
            }
            if !more || !self.goes_on() {
                break;
            }
        }
        if self.has(Operation::Trim) {
            self.trim();
        }
        Ok(())
    }

    fn churn_below_the_limit(&mut self, thread: u64) -> Result<(), Failure> {
        for _ in 0..if self.has(Operation::Limit) { 4 } else { 0 } {
            self.lower_limit()?;
            self.churn_a_little(thread)?;
        }
        Ok(())
    }

    fn churn_a_little(&mut self, _: u64) -> Result<(), Failure> {
        for _ in 0..CHURN_OPS / 20 {
            if !self.goes_on() {
                break;
            }
            self.any()?;
        }
        Ok(())
    }

    fn has(&self, operation: Operation) -> bool {
        self.shared.plan.mix.has(operation) && self.shared.support.has(operation)
    }

    pub(super) fn any(&mut self) -> Result<(), Failure> {
        let shared = self.shared;
        let slot = &shared.slots[self.rng.random_range(0..shared.slots.len())];
        let mix = &shared.plan.mix;
        let operation = mix.pick(self.rng.random_range(0..mix.sum()));
        match operation {
            _ if !shared.support.has(operation) => self.read(slot),
            Operation::Alloc => self.store(slot).map(drop),
            Operation::Free => {
                let join = self.rng.random();
                self.free(slot, join)
            }
            Operation::Write => self.write(slot),
            Operation::Read => self.read(slot),
            Operation::Stale => self.probe_dead(),
            Operation::Compact => {
                self.compact();
                Ok(())
            }
            Operation::Trim => {
                self.trim();
                Ok(())
            }
            Operation::Stats => self.look_at_stats(),
            Operation::Migrate => self.migrate(slot),
            Operation::AllocContiguous if self.rng.random() => self.alloc_contiguous(),
            Operation::AllocContiguous => self.free_contiguous(),
            Operation::Reclaim => self.reclaim(),
            Operation::Limit if self.rng.random() => self.lower_limit(),
            Operation::Limit => self.raise_limit(),
        }
    }

    /// `Some(whether there was room)`, `None` if the slot is taken.
    fn store(&mut self, slot: &ObjectSlot) -> Result<Option<bool>, Failure> {
        let Some(version) = slot.reserve() else { return Ok(None) };
        let lengths = self
            .lengths
            .unwrap_or_else(|| Lengths::ALL[self.rng.random_range(0..Lengths::ALL.len())]);
        let len = lengths.sample(&mut self.rng, self.shared.pool.max_len());
        let id = self.rng.random();
        let bytes = self.pattern(id, version).bytes(len);
        let zeroed = self.rng.random_ratio(1, 16);
        let answer = if zeroed { self.alloc(&bytes)? } else { self.shared.pool.store(&bytes) };
        if let Ok(handle) = answer {
            self.shared.directory.insert(handle, slot.index());
        }
        slot.stored(answer.ok().map(|handle| Object { handle, id, len, version }));
        match answer {
            Ok(handle) => {
                *if zeroed { &mut self.tally.alloc } else { &mut self.tally.store } += 1;
                self.step(handle.to_raw() << 16);
                Ok(Some(true))
            }
            Err(AllocError::OutOfMemory { .. }) => {
                self.tally.out_of_memory += 1;
                self.step(1);
                Ok(Some(false))
            }
            Err(error) => Err(Failure(format!("store of {len} bytes: {error}"))),
        }
    }

    /// Compares the zeros, then writes the bytes.
    fn alloc(&self, bytes: &[u8]) -> Result<Result<Handle, AllocError>, Failure> {
        let pool = self.shared.pool;
        let handle = match pool.alloc(bytes.len()) {
            Ok(handle) => handle,
            refused => return Ok(refused),
        };
        let mut zeros = false;
        let answer = pool.read(handle, &mut |slices| {
            zeros = slices.len() == bytes.len()
                && slices.parts().iter().copied().flatten().all(|byte| *byte == 0);
        });
        ensure!(answer.is_ok() && zeros, "{} fresh bytes are not zero: {answer:?}", bytes.len());
        match pool.write(handle, bytes) {
            Ok(()) => Ok(Ok(handle)),
            Err(WriteError::OutOfMemory { limit }) => {
                let freed = pool.free(handle);
                ensure!(freed.is_ok(), "free of a fresh object: {freed:?}");
                Ok(Err(AllocError::OutOfMemory { limit }))
            }
            Err(error) => Err(Failure(format!("the first write to {handle:?}: {error}"))),
        }
    }

    fn write(&mut self, slot: &ObjectSlot) -> Result<(), Failure> {
        let Some(object) = slot.begin_write() else { return Ok(()) };
        let bytes = self.pattern(object.id, object.version).bytes(object.len);
        let answer = self.shared.pool.write(object.handle, &bytes);
        let written = match answer {
            Ok(()) => Written::Yes,
            Err(WriteError::OutOfMemory { .. }) => Written::Refused,
            Err(WriteError::Handle(HandleError::Stale)) => Written::Stale,
            Err(error) => return Err(Failure(format!("write to {object:?}: {error}"))),
        };
        slot.end_write(object, written)?;
        self.tally.write += 1;
        self.step(2 + written as u64);
        Ok(())
    }

    fn free(&mut self, slot: &ObjectSlot, join: bool) -> Result<(), Failure> {
        match slot.begin_free(join) {
            Some(object) => self.free_object(slot, object),
            None => Ok(()),
        }
    }

    /// Call it after `begin_free` or `begin_free_of`.
    pub(super) fn free_object(&mut self, slot: &ObjectSlot, object: Object) -> Result<(), Failure> {
        let answer = self.shared.pool.free(object.handle);
        ensure!(answer != Err(HandleError::Foreign), "free of {object:?} calls it foreign");
        if answer.is_ok() {
            self.shared.directory.remove(object.handle);
        }
        slot.end_free(object, answer.is_ok())?;
        self.tally.free += 1;
        self.step(5 + u64::from(answer.is_ok()));
        // Either way the handle is dead.
        if answer.is_ok() {
            if self.dead.len() == DEAD_MAX {
                let at = self.rng.random_range(0..DEAD_MAX);
                self.dead.swap_remove(at);
            }
            self.dead.push(object.handle);
            self.expect_stale(object.handle)?;
        }
        Ok(())
    }

    fn probe_dead(&mut self) -> Result<(), Failure> {
        if self.dead.is_empty() {
            return Ok(());
        }
        let handle = self.dead[self.rng.random_range(0..self.dead.len())];
        self.expect_stale(handle)
    }

    fn expect_stale(&mut self, handle: Handle) -> Result<(), Failure> {
        let pool = self.shared.pool;
        let mut called = false;
        let refused = match self.rng.random_range(0..4) {
            0 => pool.len(handle).err(),
            1 => pool.free(handle).err(),
            2 => match pool.write(handle, &[0]) {
                Err(WriteError::Handle(error)) => Some(error),
                _ => None,
            },
            _ => pool.read(handle, &mut |_| called = true).err(),
        };
        ensure!(
            refused == Some(HandleError::Stale) && !called,
            "{handle:?} was freed, and using it gives {refused:?}"
        );
        self.tally.stale += 1;
        self.step(7);
        Ok(())
    }

    /// Reads and verifies, sometimes with operations inside.
    pub(super) fn read(&mut self, slot: &ObjectSlot) -> Result<(), Failure> {
        let Some((object, least)) = slot.peek() else { return Ok(()) };
        let pool = self.shared.pool;
        let without_waiting = self.rng.random_ratio(1, 4);
        let busy_inside = self.depth < DEPTH_MAX && self.rng.random_ratio(1, 16);
        let mut verdict = Err(Failure(format!("the closure was not called for {object:?}")));
        let mut look = |slices: Slices<'_>| {
            verdict = self.verify(slices, object, least..=slot.version_max()).and_then(|version| {
                if busy_inside {
                    self.depth += 1;
                    let inside = self.inside(slot);
                    self.depth -= 1;
                    inside?;
                    self.tally.read_held += 1;
                }
                self.verify(slices, object, version..=version)
            });
        };
        let answer = if without_waiting {
            pool.try_read(object.handle, &mut look)
        } else {
            pool.read(object.handle, &mut look).map_err(TryReadError::Handle)
        };
        match answer {
            Ok(()) => drop(verdict?),
            Err(TryReadError::WouldBlock) => {}
            Err(TryReadError::Handle(HandleError::Stale)) => {
                ensure!(
                    slot.may_be_stale(object.handle),
                    "{object:?} is alive, and reading it says it is stale"
                );
            }
            Err(error) => return Err(Failure(format!("read of {object:?}: {error}"))),
        }
        self.tally.read += 1;
        self.step(8 + u64::from(answer.is_ok()));
        Ok(())
    }

    fn inside(&mut self, slot: &ObjectSlot) -> Result<(), Failure> {
        match self.rng.random_range(0..5) {
            0 if self.has(Operation::Write) => self.write(slot)?,
            1 if self.has(Operation::Free) => self.free(slot, true)?,
            2 => self.read(slot)?,
            3 if self.has(Operation::Migrate) => self.migrate(slot)?,
            _ => self.any()?,
        }
        // Other threads go on meanwhile.
        let (more, pauses) = (self.rng.random_range(0..3), self.rng.random_range(0..16));
        for _ in 0..more {
            self.any()?;
        }
        for _ in 0..if self.shared.plan.threads > 1 { pauses } else { 0 } {
            std::thread::yield_now();
        }
        Ok(())
    }

    /// Finds which visible version these bytes are.
    fn verify(
        &self,
        slices: Slices<'_>,
        object: Object,
        versions: std::ops::RangeInclusive<u64>,
    ) -> Result<u64, Failure> {
        ensure!(
            slices.len() == object.len,
            "{object:?} has {} bytes when it is read",
            slices.len()
        );
        let found = versions
            .clone()
            .find(|version| self.pattern(object.id, *version).check(slices).is_ok());
        found.ok_or_else(|| {
            let newest = self.pattern(object.id, *versions.end()).check(slices);
            let what = newest.map_or_else(|difference| difference.to_string(), |()| "no version at all".to_owned());
            Failure(format!("the bytes of {object:?} are none of the versions {versions:?}; against the newest, {what}"))
        })
    }

    fn compact(&mut self) -> bool {
        let budget = 1 << self.rng.random_range(0..20);
        let report = self.shared.pool.compact(budget);
        self.tally.compact += 1;
        self.step(report.moved_bytes);
        report.more
    }

    fn trim(&mut self) {
        let report = self.shared.pool.trim();
        self.tally.trim += 1;
        self.step(report.frame_bytes);
    }

    /// Often at what is resident now. Only a limit below the stored bytes may be refused.
    fn lower_limit(&mut self) -> Result<(), Failure> {
        let limit = self.shared.limit;
        let resident = usize::try_from(self.shared.pool.stats().resident_bytes()).unwrap_or(limit);
        let least = if self.rng.random_bool(0.5) { resident.min(limit) } else { limit / 4 };
        let bytes = self.rng.random_range(least..=limit);
        let answer = self.shared.pool.set_limit(bytes);
        let right =
            matches!(answer, Ok(()) | Err(LimitError::InUse { .. } | LimitError::TooSmall { .. }));
        ensure!(right, "a limit of {bytes} bytes, below the first one of {limit}: {answer:?}");
        let count = &mut self.tally;
        *if answer.is_ok() { &mut count.limit_lowered } else { &mut count.limit_refused } += 1;
        self.step(10 + u64::from(answer.is_ok()));
        Ok(())
    }

    /// The pool never exceeded the first limit.
    fn raise_limit(&mut self) -> Result<(), Failure> {
        let restored = self.shared.pool.set_limit(self.shared.limit);
        ensure!(restored.is_ok(), "raising the limit again: {restored:?}");
        self.tally.limit_raised += 1;
        self.step(22);
        Ok(())
    }

    /// Beside other threads the accounts are not of one instant.
    fn look_at_stats(&mut self) -> Result<(), Failure> {
        let stats = self.shared.pool.stats();
        let alone = self.shared.plan.threads == 1;
        ensure!(
            !alone || stats.resident_bytes() <= stats.limit_bytes,
            "more is resident than the limit: {stats:?}"
        );
        self.tally.stats += 1;
        self.step(stats.payload_bytes);
        Ok(())
    }

    pub(super) fn pattern(&self, id: u64, version: u64) -> Pattern {
        Pattern::new(self.shared.plan.seed.value(), id, version)
    }
}
