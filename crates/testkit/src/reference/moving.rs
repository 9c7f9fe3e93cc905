//! The reference pool's eviction, migration and contiguous ranges. Migration only keeps accounts; ranges come from a
//! small arena.

use std::{sync::Arc, thread, time::Duration};

use pagefold_pool::{
    Busy, ContiguousError, ContiguousRange, Evict, Handle, HandleError, MigrateError, Pool,
    ReclaimError, Reclaimed,
};

use super::{
    MapPool, Mutant, State,
    spans::{FRAME_BYTES, SpanId},
    spoil,
};

/// Dropping it ends the reclaim, also when `evict` panics.
struct Reclaiming<'a> {
    pool: &'a MapPool,
    span: SpanId,
    /// The span may be gone before the evictor runs.
    frames: usize,
    over: bool,
}

impl Reclaiming<'_> {
    /// Whether the span is gone.
    fn end(mut self) -> bool {
        self.over = true;
        self.pool.lock().spans.end_reclaim(self.span)
    }
}

impl Drop for Reclaiming<'_> {
    fn drop(&mut self) {
        if !self.over && !self.pool.has(Mutant::EvictPanicLeaks) {
            self.pool.lock().spans.end_reclaim(self.span);
        }
    }
}

impl MapPool {
    pub(super) fn migrate_object(&self, handle: Handle) -> Result<usize, MigrateError> {
        let mut state = self.lock();
        let found = self.find(&state, handle);
        if self.has(Mutant::MigratesStale) && matches!(found, Err(HandleError::Stale)) {
            return Ok(FRAME_BYTES);
        }
        let (index, object) = found?;
        // One reference is the table's and one is ours.
        if Arc::strong_count(&object.bytes) > 2 && !self.has(Mutant::MigratesHeld) {
            state.migration.busy_locked += 1;
            return Err(MigrateError::Busy(Busy::Locked));
        }
        if self.has(Mutant::MigrationRevives) {
            let generation = state.entries[index].generation;
            drop(state);
            // Long enough for a free to fall into it.
            thread::sleep(Duration::from_micros(500));
            state = self.lock();
            let entry = &mut state.entries[index];
            (entry.generation, entry.object) = (generation, Some(object.clone()));
        }
        if self.has(Mutant::MigrationSpoils) {
            spoil(state.entries[index].object.as_mut());
        }
        if self.has(Mutant::MigrationMoves) {
            state.spans.end_reclaim(object.span);
        }
        let bytes = state.spans.capacity(object.span);
        let unreported = if self.has(Mutant::MigrationMiscounted) { FRAME_BYTES } else { 0 };
        state.migration.isolated += 1;
        state.migration.migrated += 1;
        state.migration.bytes_copied += (bytes + unreported) as u64;
        Ok(bytes)
    }

    pub(super) fn reclaim_spans(
        &self,
        retries: u32,
        evict: &mut Evict<'_>,
    ) -> Result<Reclaimed, ReclaimError> {
        let retries = if self.has(Mutant::ZeroRetriesIgnored) { retries.max(1) } else { retries };
        let mut tried = 0;
        while let Some((span, victims)) = self.begin_reclaim() {
            if tried == retries {
                drop(span);
                return self.gave_up(tried);
            }
            tried += 1;
            let frames = span.frames;
            for victim in victims {
                if self.evict_one(victim, evict).is_err() {
                    break;
                }
            }
            if span.end() {
                let frames = u32::try_from(frames).expect("a span has 16 frames or fewer");
                return Ok(Reclaimed { frames, kept: tried - 1, deferred: false });
            }
        }
        if tried == 0 { Err(ReclaimError::NothingToReclaim) } else { self.gave_up(tried) }
    }

    fn gave_up(&self, tried: u32) -> Result<Reclaimed, ReclaimError> {
        if self.has(Mutant::ReclaimBoasts) {
            return Ok(Reclaimed { frames: 1, kept: tried, deferred: false });
        }
        let forgotten = self.has(Mutant::AgainForgotten);
        Err(if forgotten { ReclaimError::NothingToReclaim } else { ReclaimError::Again { tried } })
    }

    fn begin_reclaim(&self) -> Option<(Reclaiming<'_>, Vec<Handle>)> {
        let mut state = self.lock();
        let span = state.spans.begin_reclaim(self.has(Mutant::ReclaimNewest))?;
        let in_span = |(index, entry): (usize, &super::Entry)| {
            let object = entry.object.as_ref()?;
            let index = u32::try_from(index).expect("indices come from a u32");
            (object.span == span).then(|| self.handle(index, entry.generation))
        };
        let mut victims: Vec<Handle> =
            state.entries.iter().enumerate().filter_map(in_span).collect();
        if self.has(Mutant::VictimNeverLived) {
            let unborn = victims.first().map(|victim| victim.to_raw() ^ 1 << 47);
            victims.extend(unborn.and_then(Handle::from_raw));
        }
        let frames = state.spans.capacity(span) / FRAME_BYTES;
        Some((Reclaiming { pool: self, span, frames, over: false }, victims))
    }

    fn evict_one(
        &self,
        victim: Handle,
        evict: &mut Evict<'_>,
    ) -> Result<(), pagefold_pool::NotEvicted> {
        let _locked = self.has(Mutant::EvictLocked).then(|| self.lock());
        let answer = evict(victim);
        if answer.is_err() && self.has(Mutant::EvictForced) {
            self.free(victim).ok();
        }
        answer
    }

    pub(super) fn alloc_range(
        &self,
        frames: usize,
        align: usize,
    ) -> Result<ContiguousRange<'_>, ContiguousError> {
        let mut state = self.lock();
        let range = self.try_alloc_range(&mut state, frames, align);
        match &range {
            Ok(_) => state.migration.contiguous_allocs += 1,
            Err(_) => state.migration.contiguous_failures += 1,
        }
        range
    }

    fn try_alloc_range(
        &self,
        state: &mut State,
        frames: usize,
        align: usize,
    ) -> Result<ContiguousRange<'_>, ContiguousError> {
        let frames = frames.max(usize::from(self.has(Mutant::NoFramesAccepted)));
        let align =
            if self.has(Mutant::MisalignedRange) { align.next_power_of_two() } else { align };
        let mut range = if self.has(Mutant::RangeUnaligned) && align.is_power_of_two() {
            let _first = self.arena.alloc_contiguous(&[], 1, 1)?;
            self.arena.alloc_contiguous(&[], frames, 1)?
        } else {
            self.arena.alloc_contiguous(&[], frames, align)?
        };
        let room = self.limit_beside_ranges(state);
        state.shrink_to(room);
        if self.contiguous() > state.limit || state.resident() > room {
            return Err(ContiguousError::OutOfMemory { frames, limit: state.limit / FRAME_BYTES });
        }
        state.contiguous_max = state.contiguous_max.max(self.contiguous());
        if self.has(Mutant::RangeDirty)
            && let Some(last) = range.as_mut_slice().last_mut()
        {
            *last = 1;
        }
        let mut objects = state.entries.iter_mut().filter_map(|entry| entry.object.as_mut());
        if let Some(object) = objects.next() {
            state.migration.migrated += 1;
            state.migration.bytes_copied += FRAME_BYTES as u64;
            if self.has(Mutant::RangeSpoils) {
                spoil(Some(object));
            }
        }
        Ok(range)
    }

    pub(super) fn contiguous(&self) -> usize {
        self.arena.stats().contiguous * FRAME_BYTES
    }
}
