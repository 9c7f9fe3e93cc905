//! From pages and values to objects, and back.
//!
//! | module | holds |
//! |---|---|
//! | `object` | an encoded object, and its index entry |
//! | `encode` | from a page or a value to an object |
//! | `decode` | from an object to a page or a value |
//!
//! A put copies its input before the codec reads it: reading user memory may fault, and a store may serve that fault.
//! Compressed values carry two bytes before the codec's own: the length of the value less 1.
//!
//! Decoding runs in signal handlers too, so it allocates nothing, and with [`Wait::Never`](decode::Wait) it waits for
//! nothing. An object that its allocator keeps in several pieces is first gathered in a slot.

pub(crate) mod decode;
mod encode;
pub(crate) mod object;

use pagefold_codec::{Codec, checked_metadata_bytes_max};
use pagefold_sys::sync::{SlotArray, default_slot_count};

use crate::page::{PAGE_BYTES, Page};

/// The longest value.
pub(crate) const VALUE_MAX: usize = 64 << 10;
/// Scratch for the longest value: a copy of it, and the output of the codec.
pub(crate) const SCRATCH_BYTES: usize = 2 * VALUE_MAX;
/// Codec contexts of a new store: one, and one for a read that interrupts it. The store charges more when calls have waited
/// for one.
const CONTEXTS: usize = 2;
/// At most this many buffers, of a page each, for objects in pieces.
const GATHER_SLOTS_MAX: usize = 8;
/// Bytes before a compressed value.
const PREFIX: usize = 2;

/// The codec of a store and its buffers.
pub(crate) struct Encoder {
    pub(crate) codec: Box<dyn Codec>,
    /// Where a get gathers an object that lies in pieces.
    gather: SlotArray<Box<Page>>,
    /// The scratch for a value longer than a page when the limit has no room for more. Made at its first use.
    scratch: SlotArray<Option<Box<[u8]>>>,
}

impl Encoder {
    pub(crate) fn new(codec: Box<dyn Codec>) -> Self {
        let count = if cfg!(loom) { 2 } else { default_slot_count().min(GATHER_SLOTS_MAX) };
        codec.limit_contexts(CONTEXTS);
        Self {
            codec,
            gather: SlotArray::from_fn(count, |_| Box::new([0; PAGE_BYTES])),
            scratch: SlotArray::from_fn(1, |_| None),
        }
    }

    fn codec_bytes_max(&self, len: usize) -> usize {
        checked_metadata_bytes_max(&*self.codec, len).unwrap_or(usize::MAX)
    }

    /// Whether the sizes that the codec states can be true.
    pub(crate) fn is_plausible(&self) -> bool {
        [PAGE_BYTES, VALUE_MAX].iter().all(|&len| {
            let context = self.codec.context_bytes_max(len);
            checked_metadata_bytes_max(&*self.codec, len).is_some()
                && isize::try_from(context).is_ok()
        })
    }

    /// Bytes of slots and contexts as long as no value is longer than a page.
    pub(crate) fn fixed_bytes(&self) -> usize {
        let slots =
            self.gather.array_bytes() + self.gather.len() * PAGE_BYTES + self.scratch.array_bytes();
        slots.saturating_add(self.codec_bytes_max(PAGE_BYTES))
    }

    /// Charged bytes that are not resident: what the contexts may still grow by, and with `long` also the scratch.
    pub(crate) fn reserved_bytes(&self, long: bool) -> usize {
        let len = if long { VALUE_MAX } else { PAGE_BYTES };
        let contexts = self.codec_bytes_max(len).saturating_sub(self.codec.metadata_bytes());
        // The thread that holds the slot has made the scratch.
        let is_made =
            || self.scratch.try_acquire().is_none_or(|mut slot| slot.with(|slot| slot.is_some()));
        contexts.saturating_add(if long && !is_made() { SCRATCH_BYTES } else { 0 })
    }

    /// Bytes to charge before the first value longer than a page: growth of the contexts, and the scratch.
    pub(crate) fn growth_of_long(&self) -> usize {
        let page = self.codec_bytes_max(PAGE_BYTES);
        let contexts = self.codec_bytes_max(VALUE_MAX).saturating_sub(page);
        contexts.saturating_add(SCRATCH_BYTES)
    }

    /// The scratch of the store, of [`SCRATCH_BYTES`].
    pub(crate) fn scratch(&self) -> &SlotArray<Option<Box<[u8]>>> {
        &self.scratch
    }
}
