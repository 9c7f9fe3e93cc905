//! Compaction empties the emptiest spans into the tightest holes; it takes no new frames.
//!
//! For each object, it locks a destination, tries to lock the old span, copies the bytes and exchanges the handle entry
//! (I-RELOCATE). A reader waits for one object at most; a span with readers is skipped.

use pagefold_frame::DescriptorId;

use super::{
    Nbud,
    span::{SLOT_BYTES, Span, SpanSlot},
};
use crate::{
    contract::CompactReport,
    engine::{Location, SlotPacking},
};

const VICTIMS: usize = 64;
const FAILURES_MAX: usize = 16;

enum SpanMove {
    Yes {
        emptied: bool,
    },
    /// Freed or written meanwhile.
    Gone,
    NoRoom,
    Busy,
}

impl Nbud {
    pub(super) fn empty_spans(&self, budget: usize) -> CompactReport {
        let mut report = CompactReport::default();
        let Some(mut failures) = self.compactor.try_lock() else {
            return CompactReport { busy: 1, more: true, ..report };
        };
        self.close_open_spans();
        loop {
            let victims = self.buckets.emptiest(&self.spans, VICTIMS);
            let before = (report.moved_objects, report.freed_frames);
            for id in victims {
                match self.evacuate(id, &mut report) {
                    Some(true) => *failures = 0,
                    Some(false) => *failures += 1,
                    None => {}
                }
                if *failures == FAILURES_MAX {
                    *failures = 0;
                    return report;
                }
                // After the work, so that any budget makes progress.
                if report.moved_bytes >= budget as u64 && before.0 != report.moved_objects {
                    report.more = true;
                    return report;
                }
            }
            if before == (report.moved_objects, report.freed_frames) {
                *failures = 0;
                return report;
            }
        }
    }

    /// `None`: not worth trying.
    fn evacuate(&self, id: DescriptorId, report: &mut CompactReport) -> Option<bool> {
        let Ok(mut guard) = self.spans.try_write(id) else {
            report.busy += 1;
            return None;
        };
        self.drain_pending(&mut guard);
        let frames = u64::from(guard.frames().get());
        let (body, bytes) = guard.parts();
        let room = Span::new((&mut *body, &mut *bytes)).room();
        self.buckets.unlist(&self.spans, id, body);
        let mut objects: Vec<(u16, SpanSlot)> = Span::new((body, bytes)).objects().collect();
        let needed: usize =
            objects.iter().map(|(_, slot)| usize::from(slot.len) + SLOT_BYTES).sum();
        if objects.is_empty() || needed > self.buckets.holes() || room < SLOT_BYTES {
            self.unlock_and_relist(guard);
            return None;
        }
        drop(guard);
        objects.sort_unstable_by_key(|(_, slot)| std::cmp::Reverse(slot.len));
        let mut emptied = false;
        for (slot, object) in objects {
            match self.relocate(id, slot, object) {
                SpanMove::Yes { emptied: last } => {
                    report.moved_objects += 1;
                    report.moved_bytes += u64::from(object.len);
                    self.base.note_compacted(usize::from(object.len));
                    if last {
                        // The span's id may be reused.
                        emptied = true;
                        break;
                    }
                }
                SpanMove::Gone => {}
                SpanMove::NoRoom => break,
                SpanMove::Busy => report.busy += 1,
            }
        }
        if emptied {
            report.freed_frames += frames;
        } else {
            self.relist_later(id);
        }
        Some(emptied)
    }

    fn relocate(&self, from: DescriptorId, slot: u16, object: SpanSlot) -> SpanMove {
        let len = usize::from(object.len);
        let Some(mut target) = self.fill(len) else { return SpanMove::NoRoom };
        if target.id() == from {
            // Another thread listed the victim again.
            self.unlock_and_relist(target);
            return SpanMove::Gone;
        }
        let Some(mut source) = self.try_write_hard(from) else {
            self.unlock_and_relist(target);
            return SpanMove::Busy;
        };
        let unchanged =
            Span::new(source.parts()).used(slot).is_some_and(|now| now.len == object.len);
        let found = self.base.find_at(object.index, Location::Slot { id: from, slot });
        let Some(found) = found.filter(|_| unchanged) else {
            drop(source);
            self.unlock_and_relist(target);
            return SpanMove::Gone;
        };
        let id = target.id();
        let mut span = Span::new(target.parts());
        let placed = span.place(len, object.index);
        span.bytes_of(placed.slot).copy_from_slice(Span::new(source.parts()).bytes_of(slot));
        self.base.counters.add_slid(placed.slid);
        // I-RELOCATE: under both write guards. A thread that locks the old span later sees the new entry.
        if !found.relocate(Location::Slot { id, slot: placed.slot }) {
            span.remove(placed.slot);
            drop(source);
            self.unlock_and_relist(target);
            return SpanMove::Gone;
        }
        let mut old = Span::new(source.parts());
        old.remove(slot);
        let emptied = old.live() == 0;
        // The target first: returning the source's frames may take long.
        self.unlock_and_relist(target);
        if emptied {
            self.unlock_and_relist(source);
        }
        SpanMove::Yes { emptied }
    }
}
