//! Where a new object goes: the append-or-fill policy.
//!
//! 1. While holes are more than [`HOLES_PER_MILLE`] of the span bytes, *fill* the tightest span with room: dense, but
//!    up to a span of `memmove`.
//! 2. *Append* to the shard's open span, or a new one.
//! 3. Without frames, fill any span.

use std::sync::atomic::AtomicU32;

use pagefold_frame::{DescriptorId, FRAME_BYTES, OutOfFrames, ReserveAccess};
use pagefold_sys::sync::{self, Ordering};

use super::{
    Nbud, SpanGuard,
    buckets::{Listed, set_may_be_open},
    span::{SLOT_BYTES, Span, SpanBody},
};
use crate::{
    config::FillPolicy,
    engine::{Content, Location, NoRoom, SlotPacking, drain_all},
};

/// Thousandths of span bytes; measured in BENCHMARKS.md.
pub(crate) const HOLES_PER_MILLE: usize = 8;
const CANDIDATES: usize = 4;
const ATTEMPTS_AT_LIMIT: usize = 64;

/// Kept for some stores, because every thread writes what it depends on.
#[derive(Debug, Default)]
pub(super) struct Decision(AtomicU32);

impl Decision {
    const STORES: u32 = 32;

    // ORDERING: Relaxed; an estimate, whose updates may be lost.
    fn again(&self, decide: impl FnOnce() -> bool) -> bool {
        let word = self.0.load(Ordering::Relaxed);
        let (age, fill) = (word >> 1, word & 1 == 1);
        if age > 0 {
            self.0.store(word - 2, Ordering::Relaxed);
            return fill;
        }
        let fill = decide();
        self.0.store((Self::STORES - 1) << 1 | u32::from(fill), Ordering::Relaxed);
        fill
    }
}

impl Nbud {
    pub(super) fn is_run(&self, len: usize) -> bool {
        let with_slot = len + SLOT_BYTES;
        with_slot > self.span_bytes() / 2
            || with_slot.div_ceil(FRAME_BYTES) > len.div_ceil(FRAME_BYTES)
    }

    pub(super) fn place_in_span(
        &self,
        content: Content<'_>,
        index: u32,
        access: ReserveAccess,
        publish: impl FnOnce(Location) -> bool,
    ) -> Result<bool, NoRoom> {
        let len = content.len();
        self.shard().sizing.note(len);
        let mut guard = self.span_with_room(len, access)?;
        let id = guard.id();
        let mut span = Span::new(guard.parts());
        let placed = span.place(len, index);
        content.copy_to(0, span.bytes_of(placed.slot));
        let published = publish(Location::Slot { id, slot: placed.slot });
        if !published {
            span.remove(placed.slot);
        }
        self.base.counters.add_slid(placed.slid);
        self.unlock_and_relist(guard);
        Ok(published)
    }

    fn wants_filling(&self) -> bool {
        match self.fill {
            FillPolicy::Tight => true,
            FillPolicy::Append => false,
            FillPolicy::Auto => self.shard().decision.again(|| {
                // ORDERING: Relaxed; an estimate.
                let bytes = self.span_frames.load(Ordering::Relaxed) * FRAME_BYTES;
                self.buckets.holes() > bytes / 1000 * HOLES_PER_MILLE
            }),
        }
    }

    fn span_with_room(
        &self,
        len: usize,
        access: ReserveAccess,
    ) -> Result<SpanGuard<'_>, OutOfFrames> {
        if self.wants_filling()
            && let Some(guard) = self.fill(len)
        {
            return Ok(guard);
        }
        if let Some(guard) = self.append(len) {
            return Ok(guard);
        }
        self.new_span(access).or_else(|OutOfFrames| self.fill_at_limit(len, access))
    }

    /// The tightest unlocked span, from this shard's set first.
    pub(super) fn fill(&self, len: usize) -> Option<SpanGuard<'_>> {
        let own = sync::shard_hint();
        let mut candidates = [DescriptorId::new(0); CANDIDATES];
        (0..self.buckets.sets()).find_map(|step| {
            let count =
                self.buckets.tightest(&self.spans, own.wrapping_add(step), len, &mut candidates);
            candidates[..count].iter().find_map(|&id| {
                let mut guard = self.spans.try_write(id).ok()?;
                self.drain_pending(&mut guard);
                let (body, bytes) = guard.parts();
                // Another thread may have changed the span.
                if Listed::of(body) != Listed::No && Span::new((body, bytes)).room() >= len {
                    return Some(guard);
                }
                self.unlock_and_relist(guard);
                None
            })
        })
    }

    fn open_span(&self) -> &sync::AtomicU32 {
        &self.open[sync::shard_hint() % self.open.len()]
    }

    /// Closes and lists the open span if the object does not fit its tail.
    fn append(&self, len: usize) -> Option<SpanGuard<'_>> {
        // ORDERING: AcqRel; pairs with itself: the thread that takes the id out has it alone.
        let word = self.open_span().swap(0, Ordering::AcqRel);
        let id = DescriptorId::new(word.checked_sub(1)?);
        let Ok(mut guard) = self.spans.try_write(id) else {
            self.put_open(id);
            return None;
        };
        self.drain_pending(&mut guard);
        if Span::new(guard.parts()).fits_tail(len) {
            set_may_be_open(guard.parts().0, true);
            self.put_open(id);
            return Some(guard);
        }
        self.unlock_and_relist(guard);
        None
    }

    /// Lists the span that another thread opened meanwhile.
    fn put_open(&self, id: DescriptorId) {
        // ORDERING: AcqRel; as in `append`.
        let before = self.open_span().swap(id.get() + 1, Ordering::AcqRel);
        if let Some(before) = before.checked_sub(1) {
            self.relist_later(DescriptorId::new(before));
        }
    }

    pub(super) fn is_open(&self, id: DescriptorId) -> bool {
        // ORDERING: Acquire; pairs with the AcqRel swaps. A thread that takes an id out lists the span or puts it back.
        self.open.iter().any(|open| open.load(Ordering::Acquire) == id.get() + 1)
    }

    pub(super) fn close_open_spans(&self) {
        for open in &self.open {
            // ORDERING: AcqRel; as in `append`.
            if let Some(id) = open.swap(0, Ordering::AcqRel).checked_sub(1) {
                self.relist_later(DescriptorId::new(id));
            }
        }
    }

    fn new_span(&self, access: ReserveAccess) -> Result<SpanGuard<'_>, OutOfFrames> {
        let frames = self.shard().sizing.frames();
        let mut guard = self.spans.create(frames, access, SpanBody::default())?;
        set_may_be_open(guard.parts().0, true);
        // ORDERING: Relaxed; a statistic.
        self.span_frames.fetch_add(frames.get() as usize, Ordering::Relaxed);
        self.put_open(guard.id());
        Ok(guard)
    }

    fn fill_at_limit(
        &self,
        len: usize,
        access: ReserveAccess,
    ) -> Result<SpanGuard<'_>, OutOfFrames> {
        for attempt in 0..ATTEMPTS_AT_LIMIT {
            if let Some(guard) = self.fill(len) {
                return Ok(guard);
            }
            self.close_open_spans();
            let more = drain_all(self);
            if let Some(guard) = self.fill(len) {
                return Ok(guard);
            }
            if let Ok(guard) = self.new_span(access) {
                return Ok(guard);
            }
            // Wait for locked spans, not for a full pool.
            if attempt > 0 && !more {
                break;
            }
            sync::yield_now();
        }
        Err(OutOfFrames)
    }
}
