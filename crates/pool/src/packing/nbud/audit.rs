//! Stats and validation.

use std::collections::HashSet;

use pagefold_frame::FRAME_BYTES;
use pagefold_sys::sync::Ordering;

use super::{Nbud, buckets::Listed, span::Span};
use crate::engine::{Audit, Location};

/// The most that compaction leaves free, on average, as measured.
const LEFT_A_SPAN: usize = 256;

impl Nbud {
    /// Span bytes that compaction would free.
    pub(super) fn reclaimable(&self) -> usize {
        // ORDERING: Relaxed; an estimate.
        let bytes = self.span_frames.load(Ordering::Relaxed) * FRAME_BYTES;
        let used = bytes.saturating_sub(self.buckets.holes());
        let needed = used.div_ceil(self.span_bytes() - LEFT_A_SPAN) * self.span_bytes();
        bytes.saturating_sub(needed)
    }

    pub(super) fn audit_spans(&self, audit: &mut Audit<'_>) -> Result<(), String> {
        let listed = self.audit_lists()?;
        let mut span_frames = 0;
        let ids: Vec<_> = self.spans.live().collect();
        for (id, range) in ids {
            let mut guard =
                self.spans.try_write(id).map_err(|_| format!("span {} is locked", id.get()))?;
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
                audit.entry_says(object.index, Location::Slot { id, slot })?;
                audit.object(usize::from(object.len));
            }
            span_frames += range.frames.get() as usize;
        }
        audit.frames(span_frames);
        // ORDERING: Relaxed; the pool is quiescent.
        let counted = self.span_frames.load(Ordering::Relaxed);
        if span_frames != counted {
            return Err(format!("I-COUNT: {span_frames} frames in spans, {counted} counted"));
        }
        self.spans.validate()
    }

    fn audit_lists(&self) -> Result<HashSet<u32>, String> {
        let mut listed = HashSet::new();
        self.buckets.check(&self.spans, &mut |id, place| {
            let mut guard =
                self.spans.try_write(id).map_err(|_| format!("span {} is locked", id.get()))?;
            if Listed::of(guard.parts().0) != place || !listed.insert(id.get()) {
                return Err(format!("I-BUCKET: span {} is in {place:?} wrongly", id.get()));
            }
            Ok(())
        })?;
        Ok(listed)
    }
}
