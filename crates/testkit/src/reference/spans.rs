//! The reference pool's imaginary frames, without bytes.
//!
//! They imitate fragmentation: spans of four frames filled first fit, a run for each object above half a span, and
//! idle empty spans.

use std::collections::{BTreeMap, BTreeSet};

pub(super) const FRAME_BYTES: usize = 4096;
pub(super) const SPAN_BYTES: usize = 4 * FRAME_BYTES;

pub(super) type SpanId = usize;

#[derive(Debug, Clone, Copy)]
struct Span {
    capacity: usize,
    used: usize,
    /// When an object was last added, or reclaim gave up.
    filled: u64,
    /// During reclaim no object is added.
    reclaimed: bool,
}

impl Span {
    fn free(self) -> usize {
        self.capacity - self.used
    }
}

/// # Invariants
/// Every span has `0 < used <= capacity`; `frame_bytes` is the sum of their capacities.
#[derive(Debug, Default)]
pub(super) struct Spans {
    spans: BTreeMap<SpanId, Span>,
    next: SpanId,
    now: u64,
    pub(super) frame_bytes: usize,
    pub(super) idle_bytes: usize,
}

impl Spans {
    /// At most `room` bytes of frames are added.
    pub(super) fn place(&mut self, len: usize, room: usize) -> Option<SpanId> {
        let single = len <= SPAN_BYTES / 2;
        if single && let Some(id) = self.first_fit(len, None) {
            self.grow(id, len);
            return Some(id);
        }
        let capacity = if single { SPAN_BYTES } else { len.next_multiple_of(FRAME_BYTES) };
        if capacity > room + self.idle_bytes {
            return None;
        }
        // Reuses idle frames, or drops them without room for both.
        self.idle_bytes -= capacity.min(self.idle_bytes);
        let id = self.next;
        self.next += 1;
        self.spans.insert(id, Span { capacity, used: 0, filled: 0, reclaimed: false });
        self.frame_bytes += capacity;
        self.grow(id, len);
        Some(id)
    }

    /// Returns whether that emptied the span.
    pub(super) fn remove(&mut self, id: SpanId, len: usize) -> bool {
        let Some(span) = self.spans.get_mut(&id) else { return false };
        span.used -= len;
        let empty = span.used == 0;
        if empty {
            let capacity = span.capacity;
            self.spans.remove(&id);
            self.frame_bytes -= capacity;
            self.idle_bytes += capacity;
        }
        empty
    }

    pub(super) fn emptiest(&self) -> Option<SpanId> {
        let shared =
            self.spans.iter().filter(|(_, span)| span.capacity == SPAN_BYTES && !span.reclaimed);
        shared.min_by_key(|(_, span)| span.used).map(|(id, _)| *id)
    }

    /// To another span, at least as full; `None` without room.
    pub(super) fn relocate(&mut self, from: SpanId, len: usize) -> Option<(SpanId, bool)> {
        let to = self.first_fit(len, Some(from))?;
        self.grow(to, len);
        Some((to, self.remove(from, len)))
    }

    pub(super) fn lists_in_use(&self) -> usize {
        let rooms: BTreeSet<usize> = self.spans.values().map(|span| span.free()).collect();
        rooms.iter().filter(|room| **room > 0).count()
    }

    /// A lower bound: half of the spans that the holes would fill.
    pub(super) fn reclaimable_bytes(&self) -> usize {
        let free: usize = self
            .spans
            .values()
            .filter(|span| span.capacity == SPAN_BYTES)
            .map(|span| span.free())
            .sum();
        free / SPAN_BYTES / 2 * SPAN_BYTES
    }

    fn first_fit(&self, len: usize, from: Option<SpanId>) -> Option<SpanId> {
        let least = from.and_then(|from| self.spans.get(&from)).map_or(0, |span| span.used);
        let fits = |id: &SpanId, span: &Span| {
            Some(*id) != from
                && span.capacity == SPAN_BYTES
                && !span.reclaimed
                && span.used >= least
                && span.free() >= len
        };
        self.spans.iter().find(|(id, span)| fits(id, span)).map(|(id, _)| *id)
    }

    fn grow(&mut self, id: SpanId, len: usize) {
        if let Some(span) = self.spans.get_mut(&id) {
            span.used += len;
            self.now += 1;
            span.filled = self.now;
        }
    }

    /// The span filled longest ago (last, if `newest`).
    pub(super) fn begin_reclaim(&mut self, newest: bool) -> Option<SpanId> {
        let free = self.spans.iter_mut().filter(|(_, span)| !span.reclaimed);
        let (id, span) = if newest {
            free.max_by_key(|(_, span)| span.filled)?
        } else {
            free.min_by_key(|(_, span)| span.filled)?
        };
        span.reclaimed = true;
        Some(*id)
    }

    /// `true` if the span is gone; otherwise it counts as just filled.
    pub(super) fn end_reclaim(&mut self, id: SpanId) -> bool {
        let Some(span) = self.spans.get_mut(&id) else { return true };
        self.now += 1;
        (span.filled, span.reclaimed) = (self.now, false);
        false
    }

    pub(super) fn capacity(&self, id: SpanId) -> usize {
        self.spans.get(&id).map_or(0, |span| span.capacity)
    }
}
