//! Clusters: the pages of a cluster, compressed together as one object.
//!
//! The pages lie one behind the other, so a codec with blocks of a page restores only those up to the wanted one. Working
//! memory is charged and made when the first cluster is tried, and not in a store that never makes one.

use std::sync::{Arc, OnceLock};

use pagefold_codec::{Codec, checked_compress, checked_metadata_bytes_max};
use pagefold_frame::{Charge, MemoryBudget, OutOfFrames};
use pagefold_pool::Slices;
use pagefold_sys::sync::{SlotArray, default_slot_count};

use super::decode::{ReadError, Wait};
use crate::{page::PAGE_BYTES, word::CLUSTER_PAGES};

pub(crate) const CLUSTER_BYTES: usize = CLUSTER_PAGES * PAGE_BYTES;
/// As of the codec of single pages.
const CONTEXTS: usize = 2;
const READ_SLOTS_MAX: usize = 4;

type Buffer = [u8; CLUSTER_BYTES];

pub(crate) struct Clusters {
    codec: Box<dyn Codec>,
    memory: OnceLock<Memory>,
}

struct Memory {
    read: SlotArray<Box<Read>>,
    /// One cluster is made at a time.
    make: SlotArray<Box<Making>>,
    _charge: Charge,
}

/// For a read.
struct Read {
    /// An object in several pieces, put together.
    object: Buffer,
    pages: Buffer,
}

/// For making a cluster.
pub(crate) struct Making {
    pub(crate) pages: Buffer,
    object: Buffer,
    restored: Buffer,
}

/// Why pages are not made into a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoCluster {
    /// It would not be shorter than asked.
    Long,
    /// The codec did not restore what it compressed.
    Damaged,
}

impl Clusters {
    pub(crate) fn new(codec: Box<dyn Codec>) -> Self {
        codec.limit_contexts(CONTEXTS);
        Self { codec, memory: OnceLock::new() }
    }

    pub(crate) fn codec(&self) -> &dyn Codec {
        &*self.codec
    }

    /// Before the first cluster.
    pub(crate) fn fixed_bytes(&self) -> usize {
        self.codec.metadata_bytes()
    }

    fn read_slots() -> usize {
        if cfg!(loom) { 2 } else { default_slot_count().min(READ_SLOTS_MAX) }
    }

    /// What [`prepare`](Self::prepare) charges.
    pub(crate) fn working_bytes(&self) -> usize {
        let most = checked_metadata_bytes_max(&*self.codec, CLUSTER_BYTES).unwrap_or(usize::MAX);
        let contexts = most.saturating_sub(self.fixed_bytes());
        let buffers = Self::read_slots() * size_of::<Read>() + size_of::<Making>();
        contexts.saturating_add(buffers)
    }

    /// Charges and makes the working memory, once.
    pub(crate) fn prepare(&self, memory: &Arc<MemoryBudget>) -> Result<(), OutOfFrames> {
        if self.memory.get().is_some() {
            return Ok(());
        }
        let charge = memory.charge_beside(self.working_bytes())?;
        let zeros = || [0; CLUSTER_BYTES];
        let made = Memory {
            read: SlotArray::from_fn(Self::read_slots(), |_| {
                Box::new(Read { object: zeros(), pages: zeros() })
            }),
            make: SlotArray::from_fn(1, |_| {
                Box::new(Making { pages: zeros(), object: zeros(), restored: zeros() })
            }),
            _charge: charge,
        };
        // Another thread may have been faster; its memory is as good.
        let _ = self.memory.set(made);
        Ok(())
    }

    /// Compresses the pages in `making` to less than `below` bytes, restores them and compares.
    pub(crate) fn encode<'m>(
        &self,
        making: &'m mut Making,
        below: usize,
    ) -> Result<&'m [u8], NoCluster> {
        let Making { pages, object, restored } = making;
        let room = below.saturating_sub(1).min(object.len());
        let len = checked_compress(&*self.codec, pages, &mut object[..room]).ok_or(NoCluster::Long)?;
        match self.codec.decompress(&object[..len], restored) {
            Ok(CLUSTER_BYTES) if restored == pages => Ok(&object[..len]),
            _ => Err(NoCluster::Damaged),
        }
    }

    /// `f` with the memory for making a cluster; `None` before [`prepare`](Self::prepare).
    pub(crate) fn making<R>(&self, f: impl FnOnce(&mut Making) -> R) -> Option<R> {
        Some(self.memory.get()?.make.acquire().with(|making| f(making)))
    }

    /// Restores one page. Any bytes may be given.
    pub(crate) fn read(
        &self,
        slices: Slices<'_>,
        slot: u8,
        into: &mut [u8],
        wait: Wait,
    ) -> Result<(), ReadError> {
        let slots = &self.memory.get().ok_or(ReadError::Corrupt)?.read;
        let mut turn = match wait {
            Wait::Allowed => slots.acquire(),
            Wait::Never => slots.try_acquire().ok_or(ReadError::WouldBlock)?,
        };
        turn.with(|read| {
            let Read { object, pages } = &mut **read;
            let bytes = match slices.contiguous() {
                Some(bytes) => bytes,
                None => {
                    let len = slices.copy_to(object).ok_or(ReadError::Corrupt)?;
                    &object[..len]
                }
            };
            let start = usize::from(slot) * PAGE_BYTES;
            let wanted = start + PAGE_BYTES;
            let restored = match wait {
                Wait::Allowed => self.codec.decompress_start(bytes, pages, wanted)?,
                Wait::Never => self.codec.try_decompress_start(bytes, pages, wanted)?,
            };
            match pages.get(start..wanted) {
                Some(page) if restored >= wanted => {
                    into.copy_from_slice(page);
                    Ok(())
                }
                _ => Err(ReadError::Corrupt),
            }
        })
    }
}
