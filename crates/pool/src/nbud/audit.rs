//! What the pool says of itself, and whether it is true.

use std::collections::HashSet;

use pagefold_frame::FRAME_BYTES;
use pagefold_sys::sync::Ordering;

use super::{Nbud, buckets::Listed, span::Span};
use crate::{
    Stats,
    attend::Attend,
    entries::{Place, State},
};

/// What compaction leaves free in a span, at most, on average over the sizes that were measured: it halves the density
/// lost with each doubling of the span.
const LEFT_A_SPAN: usize = 256;

impl Nbud {
    pub(super) fn account(&self) -> Stats {
        self.drain_all_deferred();
        Stats {
            reclaimable_bytes: self.reclaimable() as u64,
            lists_in_use: self.buckets.in_use() as u64,
            ..self.base.stats()
        }
    }

    /// Bytes of spans that the rest would fit without, packed as compaction packs.
    fn reclaimable(&self) -> usize {
        // ORDERING: Relaxed; an estimate.
        let bytes = self.span_frames.load(Ordering::Relaxed) * FRAME_BYTES;
        let used = bytes.saturating_sub(self.buckets.holes());
        let needed = used.div_ceil(self.span_bytes() - LEFT_A_SPAN) * self.span_bytes();
        bytes.saturating_sub(needed)
    }

    pub(super) fn audit(&self) -> Result<(), String> {
        self.drain_all_deferred();
        let listed = self.audit_lists()?;
        let (mut objects, mut payload, mut span_frames) = (0, 0, 0);
        let ids: Vec<_> = self.spans.live().collect();
        for (id, location) in ids {
            let mut guard =
                self.spans.try_write(id).map_err(|_| format!("span {} is held", id.get()))?;
            let (body, bytes) = guard.parts();
            let listed_in = Listed::of(body);
            let is_listed = listed_in != Listed::No;
            let span = Span::new((body, bytes));
            if !listed_in.suits(span.room()) {
                return Err(format!(
                    "I-BUCKET: span {} is not in the bucket of its room",
                    id.get()
                ));
            }
            span.check().map_err(|error| format!("span {}: {error}", id.get()))?;
            if !(is_listed || self.is_open(id)) || is_listed != listed.contains(&id.get()) {
                return Err(format!("I-BUCKET: span {} is neither listed nor open", id.get()));
            }
            for (slot, object) in span.objects() {
                let place = Place::Span { id, slot };
                if self.base.entries.load(object.index).state() != State::Live(place) {
                    return Err(format!(
                        "I-ENTRY: index {} does not say span {} slot {slot}",
                        object.index,
                        id.get()
                    ));
                }
                objects += 1;
                payload += u64::from(object.len);
            }
            span_frames += location.frames.get() as usize;
        }
        let (runs, run_payload, run_frames) = self.audit_runs()?;
        objects += runs;
        payload += run_payload;
        self.audit_sums(objects, payload, span_frames, run_frames)?;
        self.spans.validate()?;
        self.runs.validate()?;
        self.base.arena.validate()
    }

    /// The ids of all listed spans, each in the bucket of its room.
    fn audit_lists(&self) -> Result<HashSet<u32>, String> {
        let mut listed = HashSet::new();
        self.buckets.check(&self.spans, &mut |id, place| {
            let mut guard =
                self.spans.try_write(id).map_err(|_| format!("span {} is held", id.get()))?;
            if Listed::of(guard.parts().0) != place || !listed.insert(id.get()) {
                return Err(format!("I-BUCKET: span {} is in {place:?} wrongly", id.get()));
            }
            Ok(())
        })?;
        Ok(listed)
    }

    /// Runs by their entries: objects, payload, frames.
    fn audit_runs(&self) -> Result<(u64, u64, usize), String> {
        let (mut objects, mut payload, mut frames) = (0, 0, 0);
        let used = self.base.entries.used();
        let mut owned = HashSet::new();
        for index in 0..u32::try_from(used).expect("a table has fewer than 2^32 entries") {
            let State::Live(Place::Run { id, short }) = self.base.entries.load(index).state()
            else {
                continue;
            };
            let location = self.runs.frame_range(id).filter(|_| owned.insert(id));
            let location = location
                .ok_or_else(|| format!("I-ENTRY: index {index} says a run that is not its own"))?;
            objects += 1;
            payload += (location.frames.bytes() - usize::from(short)) as u64;
            frames += location.frames.get() as usize;
        }
        if self.runs.live().count() != owned.len() {
            return Err(format!(
                "I-ENTRY: {} runs live, {} have an entry",
                self.runs.live().count(),
                owned.len()
            ));
        }
        Ok((objects, payload, frames))
    }

    fn audit_sums(
        &self,
        objects: u64,
        payload: u64,
        span_frames: usize,
        run_frames: usize,
    ) -> Result<(), String> {
        let (counted_objects, counted_payload) = self.base.counters.sums();
        if (objects, payload) != (counted_objects, counted_payload) {
            return Err(format!(
                "I-COUNT: {objects} objects of {payload} bytes, {counted_objects} of {counted_payload} counted"
            ));
        }
        let (allocated, counted) =
            (self.base.arena.stats().allocated, self.span_frames.load(Ordering::Relaxed));
        if span_frames + run_frames != allocated || span_frames != counted {
            return Err(format!(
                "I-COUNT: {span_frames} frames in spans, {counted} counted; {run_frames} in runs; {allocated} allocated"
            ));
        }
        self.base.entries.check(objects)?;
        let (used, limit) = (self.base.memory.used(), self.base.memory.limit());
        if used > limit {
            return Err(format!("I-LIMIT: {used} frames charged of a limit of {limit}"));
        }
        Ok(())
    }
}
