//! From pages and values to objects (`encode`), and back (`decode`).
//!
//! A put first copies its input: reading user memory may fault, and a store may serve that fault. A prefix of two
//! bytes on a compressed value is its length less 1.
//!
//! Pages name the codec that made them: the base codec, or one in `trained`. Values are always the base codec's.
//!
//! With [`Wait::Never`](decode::Wait), for signal handlers, decoding neither waits nor allocates.

pub(crate) mod clusters;
pub(crate) mod decode;
pub(crate) mod deltas;
mod encode;
pub(crate) mod object;
pub(crate) mod on_base;
mod output;
pub(crate) mod trained;

use pagefold_codec::{Codec, checked_metadata_bytes_max};
use pagefold_sys::sync::{SlotArray, default_slot_count};

use self::clusters::Clusters;
use self::deltas::Deltas;
use self::trained::Trained;
use crate::page::{PAGE_BYTES, Page};

pub(crate) const VALUE_MAX: usize = 64 << 10;
pub(crate) const SCRATCH_BYTES: usize = 2 * VALUE_MAX;
/// One, and one for a read that interrupts it.
const CONTEXTS: usize = 2;
const GATHER_SLOTS_MAX: usize = 8;
const PREFIX: usize = 2;

pub(crate) struct Encoder {
    /// The base codec.
    pub(crate) codec: Box<dyn Codec>,
    /// `None`: idle pages stay single.
    pub(crate) clusters: Option<Clusters>,
    pub(crate) trained: Trained,
    pub(crate) deltas: Deltas,
    /// For objects in several pieces.
    gather: SlotArray<Box<Page>>,
    /// For a long value at the limit.
    scratch: SlotArray<Option<Box<[u8]>>>,
}

impl Encoder {
    /// `trains`: whether it may get codecs that the store trained.
    pub(crate) fn new(codec: Box<dyn Codec>, clusters: Option<Clusters>, trains: bool) -> Self {
        let count = if cfg!(loom) { 2 } else { default_slot_count().min(GATHER_SLOTS_MAX) };
        codec.limit_contexts(CONTEXTS);
        Self {
            codec,
            clusters,
            trained: Trained::new(trains),
            deltas: Deltas::default(),
            gather: SlotArray::from_fn(count, |_| Box::new([0; PAGE_BYTES])),
            scratch: SlotArray::from_fn(1, |_| None),
        }
    }

    fn codec_bytes_max(&self, len: usize) -> usize {
        checked_metadata_bytes_max(&*self.codec, len).unwrap_or(usize::MAX)
    }

    pub(crate) fn is_plausible(&self) -> bool {
        [PAGE_BYTES, VALUE_MAX].iter().all(|&len| {
            let context = self.codec.context_bytes_max(len);
            checked_metadata_bytes_max(&*self.codec, len).is_some()
                && isize::try_from(context).is_ok()
        })
    }

    /// Without long values.
    pub(crate) fn fixed_bytes(&self) -> usize {
        let slots =
            self.gather.array_bytes() + self.gather.len() * PAGE_BYTES + self.scratch.array_bytes();
        let slots = slots + self.trained.fixed_bytes();
        slots.saturating_add(self.codec_bytes_max(PAGE_BYTES))
    }

    /// Charged bytes not resident.
    pub(crate) fn reserved_bytes(&self, long: bool) -> usize {
        let len = if long { VALUE_MAX } else { PAGE_BYTES };
        let contexts = self.codec_bytes_max(len).saturating_sub(self.codec.metadata_bytes());
        // The thread that has the slot made the scratch.
        let is_made =
            || self.scratch.try_acquire().is_none_or(|mut slot| slot.with(|slot| slot.is_some()));
        let clusters = self.clusters.as_ref().map_or(0, Clusters::reserved_bytes);
        contexts
            .saturating_add(if long && !is_made() { SCRATCH_BYTES } else { 0 })
            .saturating_add(self.trained.reserved_bytes(PAGE_BYTES))
            .saturating_add(clusters)
            .saturating_add(self.deltas.reserved_bytes())
    }

    /// Frees what only encoding needs, until the next page comes. Inside an operation.
    pub(crate) fn rest(&self) {
        self.codec.release_contexts();
        self.trained.rest();
        self.deltas.rest();
        if let Some(clusters) = &self.clusters {
            clusters.rest();
        }
    }

    pub(crate) fn growth_of_long(&self) -> usize {
        let page = self.codec_bytes_max(PAGE_BYTES);
        let contexts = self.codec_bytes_max(VALUE_MAX).saturating_sub(page);
        contexts.saturating_add(SCRATCH_BYTES)
    }

    pub(crate) fn scratch(&self) -> &SlotArray<Option<Box<[u8]>>> {
        &self.scratch
    }
}
