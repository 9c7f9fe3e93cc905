//! The layout of a span: objects from the front, a slot directory from the back.
//!
//! ```text
//!  0                              tail                                    len
//!  | object | hole | object | .. | ...... free ...... | slot n-1 | .. | slot 0 |
//!
//!  slot    offset (2 bytes)   length (2), 0 when free   handle index (4)
//! ```
//! # Invariants (I-SPAN)
//! - Objects do not overlap, and none reaches beyond `tail`; `tail` does not reach into the directory.
//! - `payload` and `live` are the sums over used slots; the last slot of the directory is used.
//! - No slot below `hint` is free.

use std::ops::Range;

pub(crate) const SLOT_BYTES: usize = 8;
/// Slots sorted in a small array.
const FEW: usize = 64;
/// Slots of 64 KiB full of objects of 1 byte.
const MANY: usize = 65_536 / (SLOT_BYTES + 1) + 1;

/// 12 bytes of a span's descriptor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SpanBody {
    tail: u16,
    payload: u16,
    slots: u16,
    live: u16,
    hint: u16,
    pub(crate) listed: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpanSlot {
    pub(crate) offset: u16,
    pub(crate) len: u16,
    pub(crate) index: u32,
}

impl SpanSlot {
    fn from_bytes(bytes: [u8; SLOT_BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h] = bytes;
        Self {
            offset: u16::from_le_bytes([a, b]),
            len: u16::from_le_bytes([c, d]),
            index: u32::from_le_bytes([e, f, g, h]),
        }
    }
}

fn slot_at(len: usize, slot: u16) -> usize {
    len - SLOT_BYTES * (usize::from(slot) + 1)
}

#[inline]
pub(crate) fn read_slot(bytes: &[u8], slot: u16) -> SpanSlot {
    let at = slot_at(bytes.len(), slot);
    SpanSlot::from_bytes(bytes[at..at + SLOT_BYTES].try_into().expect("eight bytes"))
}

#[inline]
pub(crate) fn object(bytes: &[u8], slot: u16) -> &[u8] {
    let slot = read_slot(bytes, slot);
    &bytes[usize::from(slot.offset)..usize::from(slot.offset) + usize::from(slot.len)]
}

/// The largest object that fits once objects slid together.
pub(crate) fn room(body: &SpanBody, len: usize) -> usize {
    let free = len - usize::from(body.payload) - SLOT_BYTES * usize::from(body.slots);
    let new_slot = if body.live < body.slots { 0 } else { SLOT_BYTES };
    free.saturating_sub(new_slot)
}

trait Key: Copy + Default + Ord {
    fn new(offset: u16, len: u16, slot: u16) -> Self;
    fn offset(self) -> usize;
    fn slot(self) -> u16;
    /// `None`: only the directory has it.
    fn len(self) -> Option<usize>;
}

type Whole = u64;
/// Half as long: a span of tiny objects is sorted on the stack.
type Short = u32;

#[expect(clippy::cast_possible_truncation, reason = "the parts are cut out of the word")]
impl Key for Whole {
    fn new(offset: u16, len: u16, slot: u16) -> Self {
        u64::from(offset) << 32 | u64::from(len) << 16 | u64::from(slot)
    }

    fn offset(self) -> usize {
        (self >> 32) as usize
    }

    fn slot(self) -> u16 {
        self as u16
    }

    fn len(self) -> Option<usize> {
        Some(usize::from((self >> 16) as u16))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the parts are cut out of the word")]
impl Key for Short {
    fn new(offset: u16, _: u16, slot: u16) -> Self {
        u32::from(offset) << 16 | u32::from(slot)
    }

    fn offset(self) -> usize {
        (self >> 16) as usize
    }

    fn slot(self) -> u16 {
        self as u16
    }

    fn len(self) -> Option<usize> {
        None
    }
}

/// The range of `order` whose holes add up to `len` at the fewest bytes to move. `extent` gives offset and length.
fn cheapest_window<K: Key>(
    order: &[K],
    extent: impl Fn(K) -> (usize, usize),
    len: usize,
    end: usize,
) -> Range<usize> {
    let (mut best, mut fewest) = (0..order.len(), usize::MAX);
    // The window closes objects `first..last` of `moved` bytes, down to `floor`.
    let (mut first, mut moved, mut floor) = (0, 0, 0);
    for last in 0..=order.len() {
        let next = order.get(last).map(|&key| extent(key));
        let ceiling = next.map_or(end, |(offset, _)| offset);
        while first < last {
            let (offset, shorter_by) = extent(order[first]);
            let (shorter, above) = (moved - shorter_by, offset + shorter_by);
            if ceiling - above < shorter + len {
                break;
            }
            (moved, floor) = (shorter, above);
            first += 1;
        }
        if ceiling - floor >= moved + len && moved < fewest {
            (best, fewest) = (first..last, moved);
            if moved == 0 {
                break;
            }
        }
        moved += next.map_or(0, |(_, len)| len);
    }
    best
}

#[derive(Debug)]
pub(crate) struct Span<'a> {
    body: &'a mut SpanBody,
    bytes: &'a mut [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) slot: u16,
    /// Bytes of other objects.
    pub(crate) slid: usize,
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "offsets, lengths and slots of a span of 64 KiB fit 16 bits"
)]
impl<'a> Span<'a> {
    pub(crate) fn new((body, bytes): (&'a mut SpanBody, &'a mut [u8])) -> Self {
        debug_assert!(bytes.len() <= 65_536, "offsets have 16 bits");
        Self { body, bytes }
    }

    pub(crate) fn live(&self) -> u16 {
        self.body.live
    }

    pub(crate) fn room(&self) -> usize {
        room(self.body, self.bytes.len())
    }

    /// Whether an object fits without sliding.
    pub(crate) fn fits_tail(&self, len: usize) -> bool {
        let slots = usize::from(self.body.slots) + usize::from(self.body.live == self.body.slots);
        usize::from(self.body.tail) + len + SLOT_BYTES * slots <= self.bytes.len()
    }

    fn slot(&self, slot: u16) -> SpanSlot {
        read_slot(self.bytes, slot)
    }

    pub(crate) fn used(&self, slot: u16) -> Option<SpanSlot> {
        (slot < self.body.slots).then(|| self.slot(slot)).filter(|slot| slot.len > 0)
    }

    fn set_slot(&mut self, slot: u16, value: SpanSlot) {
        let at = slot_at(self.bytes.len(), slot);
        let [a, b] = value.offset.to_le_bytes();
        let [c, d] = value.len.to_le_bytes();
        let [e, f, g, h] = value.index.to_le_bytes();
        self.bytes[at..at + SLOT_BYTES].copy_from_slice(&[a, b, c, d, e, f, g, h]);
    }

    pub(crate) fn objects(&self) -> impl Iterator<Item = (u16, SpanSlot)> + '_ {
        let directory = self.bytes.len() - SLOT_BYTES * usize::from(self.body.slots);
        let slots = self.bytes[directory..].as_chunks().0.iter().rev();
        (0..).zip(slots.map(|bytes| SpanSlot::from_bytes(*bytes))).filter(|(_, slot)| slot.len > 0)
    }

    pub(crate) fn bytes_of(&mut self, slot: u16) -> &mut [u8] {
        let slot = self.slot(slot);
        &mut self.bytes[usize::from(slot.offset)..usize::from(slot.offset) + usize::from(slot.len)]
    }

    /// The content is arbitrary; panics if there is no room.
    pub(crate) fn place(&mut self, len: usize, index: u32) -> Placed {
        assert!(len > 0 && len <= self.room(), "a span is asked for what it has room for");
        let slot = self.free_slot();
        let slots = self.body.slots.max(slot + 1);
        let end = self.bytes.len() - SLOT_BYTES * usize::from(slots);
        let (offset, slid) = match usize::from(self.body.tail) + len <= end {
            true => (usize::from(self.body.tail), 0),
            false if self.body.slots as usize <= FEW => self.make_hole::<Whole, FEW>(len, end),
            false => self.make_hole::<Short, MANY>(len, end),
        };
        self.body.slots = slots;
        self.body.hint = slot + 1;
        self.body.live += 1;
        self.body.payload += len as u16;
        self.body.tail = self.body.tail.max((offset + len) as u16);
        self.set_slot(slot, SpanSlot { offset: offset as u16, len: len as u16, index });
        Placed { slot, slid }
    }

    fn free_slot(&self) -> u16 {
        if self.body.live == self.body.slots {
            return self.body.slots;
        }
        let mut from = self.body.hint..self.body.slots;
        from.find(|&slot| self.slot(slot).len == 0).unwrap_or(self.body.slots)
    }

    /// Slides objects so that `len` bytes before `end` are one free piece; returns its start and the bytes moved.
    ///
    /// It closes the cheapest window to the left. When the directory grows, `end` may lie before the last object's end:
    /// then everything.
    // Not inlined: the array for many objects is 28 KiB of stack.
    #[inline(never)]
    fn make_hole<K: Key, const N: usize>(&mut self, len: usize, end: usize) -> (usize, usize) {
        let mut order = [K::default(); N];
        let mut count = 0;
        for (slot, SpanSlot { offset, len, .. }) in self.objects() {
            order[count] = K::new(offset, len, slot);
            count += 1;
        }
        let order = &mut order[..count];
        order.sort_unstable();

        let extent = |key: K| match key.len() {
            Some(len) => (key.offset(), len),
            None => (key.offset(), usize::from(self.slot(key.slot()).len)),
        };
        let last_end = order.last().map_or(0, |&key| {
            let (offset, len) = extent(key);
            offset + len
        });
        let window = match last_end <= end {
            true => cheapest_window(order, extent, len, end),
            false => 0..count,
        };
        let mut at = window.start.checked_sub(1).map_or(0, |before| {
            let (offset, len) = extent(order[before]);
            offset + len
        });
        let mut slid = 0;
        for key in &order[window.clone()] {
            let moved = self.slot(key.slot());
            let from = usize::from(moved.offset);
            if from != at {
                self.bytes.copy_within(from..from + usize::from(moved.len), at);
                self.set_slot(key.slot(), SpanSlot { offset: at as u16, ..moved });
                slid += usize::from(moved.len);
            }
            at += usize::from(moved.len);
        }
        self.body.tail = if window.end == count { at } else { last_end } as u16;
        (at, slid)
    }

    /// Panics if the slot is free.
    pub(crate) fn remove(&mut self, slot: u16) -> usize {
        let SpanSlot { offset, len, index } =
            self.used(slot).expect("I-SPAN: a slot is freed once");
        self.set_slot(slot, SpanSlot { offset: 0, len: 0, index });
        self.body.payload -= len;
        self.body.live -= 1;
        self.body.hint = self.body.hint.min(slot);
        if offset + len == self.body.tail {
            self.body.tail = offset;
        }
        while self.body.slots > 0 && self.slot(self.body.slots - 1).len == 0 {
            self.body.slots -= 1;
        }
        self.body.hint = self.body.hint.min(self.body.slots);
        if self.body.live == 0 {
            self.body.tail = 0;
        }
        usize::from(len)
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        let mut objects: Vec<(usize, usize)> = self
            .objects()
            .map(|(_, slot)| (usize::from(slot.offset), usize::from(slot.len)))
            .collect();
        objects.sort_unstable();
        let mut at = 0;
        for &(offset, len) in &objects {
            if offset < at {
                return Err(format!("I-SPAN: two objects overlap at offset {offset}"));
            }
            at = offset + len;
        }
        let body = &self.body;
        let directory = self.bytes.len() - SLOT_BYTES * usize::from(body.slots);
        if at > usize::from(body.tail) || usize::from(body.tail) > directory {
            return Err(format!(
                "I-SPAN: objects end at {at}, tail {}, directory at {directory}",
                body.tail
            ));
        }
        let payload: usize = objects.iter().map(|&(_, len)| len).sum();
        if payload != usize::from(body.payload) || objects.len() != usize::from(body.live) {
            return Err(format!(
                "I-SPAN: {} objects of {payload} bytes, not as counted: {body:?}",
                objects.len()
            ));
        }
        if body.slots > 0 && self.slot(body.slots - 1).len == 0 {
            return Err(format!("I-SPAN: the last slot is free: {body:?}"));
        }
        if (0..body.hint.min(body.slots)).any(|slot| self.slot(slot).len == 0)
            || body.hint > body.slots
        {
            return Err(format!("I-SPAN: a slot below the hint is free: {body:?}"));
        }
        Ok(())
    }
}
