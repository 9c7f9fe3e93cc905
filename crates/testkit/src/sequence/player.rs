//! Performs generated or recorded steps on a pool and its model.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::faulty::FaultPlan;
use pagefold_pool::{AllocError, Handle, WriteError};

use super::Log;
use crate::{
    model::{Checked, Eviction, HeldRange, Mismatch, agree},
    pattern::Pattern,
    torture::{EMPTY_RESIDENT_MAX, Watch},
    trace::{Header, Step},
};

pub(super) trait Feed {
    fn next(&mut self, state: &State) -> Option<Step>;
}

impl Feed for std::slice::Iter<'_, Step> {
    fn next(&mut self, _: &State) -> Option<Step> {
        Iterator::next(self).copied()
    }
}

#[derive(Debug, Clone, Copy)]
struct Known {
    handle: Handle,
    len: usize,
    place: Option<usize>,
}

/// A feed sees this.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) live: Vec<u32>,
    /// The last ones that died.
    pub(super) dead: Vec<u32>,
    pub(super) ranges: Vec<u32>,
    /// Whether the last object was refused.
    pub(super) refused: bool,
    /// Whether the last compaction said "more".
    pub(super) more: bool,
    pub(super) steps: usize,
}

const DEAD_MAX: usize = 64;
const REPORT_EVERY: u64 = 64;

pub(super) struct Player<'a, 'p> {
    header: &'a Header,
    source: &'a Arc<FaultPlan>,
    log: &'a mut Log,
    watch: &'a Watch,
    objects: HashMap<u32, Known>,
    names: HashMap<Handle, u32>,
    ranges: BTreeMap<u32, HeldRange<'p>>,
    state: State,
}

impl<'a, 'p> Player<'a, 'p> {
    pub(super) fn new(
        header: &'a Header,
        source: &'a Arc<FaultPlan>,
        log: &'a mut Log,
        watch: &'a Watch,
    ) -> Self {
        Self {
            header,
            source,
            log,
            watch,
            objects: HashMap::new(),
            names: HashMap::new(),
            ranges: BTreeMap::new(),
            state: State::default(),
        }
    }

    /// Stops after `most` steps.
    pub(super) fn play(
        &mut self,
        on: &mut Checked<'p>,
        feed: &mut dyn Feed,
        most: usize,
    ) -> Result<(), Mismatch> {
        for _ in 0..most {
            if self.watch.stopped() {
                break;
            }
            let Some(step) = feed.next(&self.state) else { break };
            self.log.steps.push(step);
            self.state.steps += 1;
            if (self.state.steps as u64).is_multiple_of(REPORT_EVERY) {
                self.watch.report(REPORT_EVERY);
            }
            if !self.perform(on, step, feed)? {
                self.log.skipped += 1;
            }
        }
        Ok(())
    }

    /// `false`: the step's object does not exist.
    fn perform(
        &mut self,
        on: &mut Checked<'p>,
        step: Step,
        feed: &mut dyn Feed,
    ) -> Result<bool, Mismatch> {
        match step {
            Step::Store { object, len } => return self.store(on, object, len, false),
            Step::Alloc { object, len } => return self.store(on, object, len, true),
            Step::Compact { bytes } => {
                let report = on.compact(usize::try_from(bytes).unwrap_or(usize::MAX))?;
                self.state.more = report.more;
                self.log.tally.compact += 1;
                self.log.note(report.moved_bytes);
            }
            Step::Reclaim { retries, refused, panics } => {
                self.reclaim(on, retries, refused, panics)?;
            }
            Step::AllocContiguous { range, frames, align } => {
                return self.alloc_contiguous(on, range, frames, align);
            }
            Step::FreeContiguous { range } => {
                let Some(held) = self.ranges.remove(&range) else { return Ok(false) };
                self.state.ranges.retain(|other| *other != range);
                on.drop_contiguous(held)?;
                self.log.tally.contiguous_freed += 1;
            }
            Step::Trim => {
                let report = on.trim()?;
                self.log.tally.trim += 1;
                self.log.note(report.frame_bytes);
            }
            Step::Limit { bytes } => self.limit(on, bytes)?,
            Step::Stats => {
                let stats = on.stats()?;
                self.log.tally.stats += 1;
                self.log.note(stats.payload_bytes);
            }
            Step::Check => self.check(on)?,
            Step::Stale { object } => {
                let known = self.objects.get(&object).filter(|known| known.place.is_none());
                let Some(known) = known else { return Ok(false) };
                on.misuse(known.handle)?;
                self.log.tally.stale += 1;
            }
            Step::Write { object, .. }
            | Step::Read { object }
            | Step::Hold { object, .. }
            | Step::Free { object }
            | Step::Migrate { object } => {
                let known = self.objects.get(&object).filter(|known| known.place.is_some());
                let Some(known) = known.copied() else { return Ok(false) };
                self.perform_on(on, step, object, known, feed)?;
            }
        }
        Ok(true)
    }

    fn perform_on(
        &mut self,
        on: &mut Checked<'p>,
        step: Step,
        object: u32,
        Known { handle, len, .. }: Known,
        feed: &mut dyn Feed,
    ) -> Result<(), Mismatch> {
        let outcome = match step {
            Step::Write { version, .. } => {
                let answer = on.write(handle, &self.bytes(object, version, len))?;
                self.log.tally.write += 1;
                u64::from(answer.is_ok())
            }
            Step::Hold { steps, .. } => {
                let steps = usize::try_from(steps).unwrap_or(usize::MAX);
                _ = on.during_read(handle, &mut |on| self.play(on, feed, steps))?;
                self.log.tally.read_held += 1;
                2
            }
            Step::Free { .. } => {
                let answer = on.free(handle)?;
                self.bury(object);
                self.log.tally.free += 1;
                3 + u64::from(answer.is_ok())
            }
            Step::Migrate { .. } => {
                let answer = on.migrate(handle)?;
                let tally = &mut self.log.tally;
                *if answer.is_ok() { &mut tally.migrate } else { &mut tally.migrate_refused } += 1;
                5 + u64::from(answer.is_ok())
            }
            _ => {
                _ = on.read(handle)?;
                if self.state.steps.is_multiple_of(8) {
                    _ = on.try_read(handle)?;
                    _ = on.read_into(handle, len - len % 2)?;
                    _ = on.len(handle)?;
                }
                self.log.tally.read += 1;
                7
            }
        };
        self.log.note(outcome << 32 | u64::from(object));
        Ok(())
    }

    fn bytes(&self, object: u32, version: u32, len: usize) -> Vec<u8> {
        Pattern::new(self.header.seed.value(), object.into(), version.into()).bytes(len)
    }

    fn store(
        &mut self,
        on: &mut Checked<'p>,
        object: u32,
        len: u32,
        zeros: bool,
    ) -> Result<bool, Mismatch> {
        // A name stands for one object, ever.
        if self.objects.contains_key(&object) {
            return Ok(false);
        }
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let bytes = self.bytes(object, 0, len);
        let mut answer = if zeros { on.alloc(len)? } else { on.store(&bytes)? };
        if let (Ok(handle), true) = (answer, zeros)
            && let Err(WriteError::OutOfMemory { limit }) = on.write(handle, &bytes)?
        {
            _ = on.free(handle)?;
            answer = Err(AllocError::OutOfMemory { limit });
        }
        self.state.refused = answer.is_err();
        self.log.note(8 + u64::from(answer.is_ok()));
        match answer {
            Ok(handle) => {
                let place = Some(self.state.live.len());
                self.state.live.push(object);
                self.objects.insert(object, Known { handle, len, place });
                self.names.insert(handle, object);
                let tally = &mut self.log.tally;
                *if zeros { &mut tally.alloc } else { &mut tally.store } += 1;
            }
            Err(AllocError::OutOfMemory { .. }) => self.log.tally.out_of_memory += 1,
            // Too long for this pool, or empty.
            Err(_) => return Ok(false),
        }
        Ok(true)
    }

    fn bury(&mut self, object: u32) {
        let Some(known) = self.objects.get_mut(&object) else { return };
        let Some(place) = known.place.take() else { return };
        self.names.remove(&known.handle);
        self.state.live.swap_remove(place);
        if let Some(moved) = self.state.live.get(place)
            && let Some(known) = self.objects.get_mut(moved)
        {
            known.place = Some(place);
        }
        if self.state.dead.len() < DEAD_MAX {
            self.state.dead.push(object);
        } else {
            self.state.dead[usize::try_from(object).unwrap_or(0) % DEAD_MAX] = object;
        }
    }

    fn reclaim(
        &mut self,
        on: &mut Checked<'p>,
        retries: u32,
        refused: u64,
        panics: u64,
    ) -> Result<(), Mismatch> {
        let (mut asked, mut gone) = (0, Vec::new());
        let injected = &mut self.log.injected;
        let answer = on.reclaim_with_panics(retries, &mut |on, victim| {
            let bit = |bits: u64| bits.checked_shr(asked).unwrap_or(0) & 1 == 1;
            let (refuse, panic) = (bit(refused), bit(panics));
            asked += 1;
            _ = on.read(victim)?;
            if panic {
                injected.evict_panic += 1;
                return Ok(Eviction::Panic);
            }
            if refuse {
                injected.evict += 1;
                return Ok(Eviction::Refuse);
            }
            gone.push(victim);
            Ok(Eviction::Free)
        })?;
        let tally = &mut self.log.tally;
        match answer {
            Some(Ok(_)) => tally.reclaim += 1,
            Some(Err(_)) => tally.reclaim_refused += 1,
            None => {}
        }
        tally.evict += gone.len() as u64;
        self.log.note(10 + gone.len() as u64);
        for handle in gone {
            if let Some(object) = self.names.get(&handle) {
                self.bury(*object);
            }
        }
        Ok(())
    }

    fn alloc_contiguous(
        &mut self,
        on: &mut Checked<'p>,
        range: u32,
        frames: u32,
        align: u32,
    ) -> Result<bool, Mismatch> {
        if self.ranges.contains_key(&range) {
            return Ok(false);
        }
        let number = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        match on.hold_contiguous(number(frames), number(align))? {
            Ok(held) => {
                self.ranges.insert(range, held);
                self.state.ranges.push(range);
                self.log.tally.alloc_contiguous += 1;
                self.log.note(11);
            }
            Err(_) => {
                self.log.tally.contiguous_refused += 1;
                self.log.note(12);
            }
        }
        Ok(true)
    }

    fn limit(&mut self, on: &mut Checked<'p>, bytes: u64) -> Result<(), Mismatch> {
        let before = on.pool().stats().limit_bytes;
        let answer = on.set_limit(usize::try_from(bytes).unwrap_or(usize::MAX))?;
        let tally = &mut self.log.tally;
        *match answer {
            Err(_) => &mut tally.limit_refused,
            Ok(()) if bytes < before => &mut tally.limit_lowered,
            Ok(()) => &mut tally.limit_raised,
        } += 1;
        self.log.note(13 + u64::from(answer.is_ok()));
        Ok(())
    }

    fn check(&mut self, on: &mut Checked<'p>) -> Result<(), Mismatch> {
        if on.is_reading() {
            return on.check_bytes();
        }
        self.source.pause(true);
        on.check_all(16)?;
        self.source.pause(false);
        let payload = on.model().payload_bytes();
        self.log.payload_bytes_max = self.log.payload_bytes_max.max(payload);
        self.log.cycles += 1;
        self.watch.note_cycle();
        Ok(())
    }

    pub(super) fn finish(&mut self, on: &mut Checked<'p>) -> Result<(), Mismatch> {
        on.check_all(16)?;
        let payload = on.model().payload_bytes();
        self.log.payload_bytes_max = self.log.payload_bytes_max.max(payload);
        while let Some((_, range)) = self.ranges.pop_first() {
            on.drop_contiguous(range)?;
        }
        on.free_all()?;
        _ = on.trim()?;
        let stats = on.stats()?;
        agree!(
            (stats.objects, stats.payload_bytes, stats.frame_bytes) == (0, 0, 0),
            "something is left: {stats:?}"
        );
        let most = EMPTY_RESIDENT_MAX + self.header.limit as u64 / 100;
        agree!(
            stats.resident_bytes() <= most,
            "{} bytes stay resident in an empty pool: {stats:?}",
            stats.resident_bytes()
        );
        self.log.resident_bytes_end = stats.resident_bytes();
        on.validate()
    }
}
