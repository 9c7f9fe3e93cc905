//! lz4 by `lz4_flex`, without unsafe code. Same format as the C library's.
//!
//! The library compresses only into a buffer for the worst case, so a slot owns one and copies from it. The library
//! turns a small table into a large one for good and then codes pages worse, so a slot has one of each.

use std::sync::atomic::{AtomicUsize, Ordering};

use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size,
};
use pagefold_sys::sync::{SlotArray, default_slot_count};

use crate::{Codec, CodecError};

/// The first length for which the library needs positions of 4 bytes.
const SMALL_TABLE_INPUT_END: usize = u16::MAX as usize;
/// 4096 entries of 2 bytes.
const SMALL_TABLE_BYTES: usize = 4096 * size_of::<u16>();
/// 4096 entries of 4 bytes.
const LARGE_TABLE_BYTES: usize = 4096 * size_of::<u32>();

/// lz4 blocks by `lz4_flex`. Decompression needs no context.
pub struct Lz4Pure {
    slots: SlotArray<Workspace>,
    workspace_bytes: AtomicUsize,
}

struct Workspace {
    small: CompressTable,
    large: Option<CompressTable>,
    worst_case: Vec<u8>,
    /// This workspace's part of `workspace_bytes`.
    bytes: usize,
}

impl Lz4Pure {
    /// Makes the codec with a workspace for each of [`default_slot_count`] slots.
    #[expect(
        clippy::new_without_default,
        reason = "it allocates and asks for the number of processors"
    )]
    pub fn new() -> Self {
        let slots = SlotArray::from_fn(default_slot_count(), |_| Workspace::new());
        let workspace_bytes = AtomicUsize::new(slots.len() * SMALL_TABLE_BYTES);
        Self { slots, workspace_bytes }
    }
}

impl Workspace {
    fn new() -> Self {
        Self {
            small: CompressTable::small(),
            large: None,
            worst_case: Vec::new(),
            bytes: SMALL_TABLE_BYTES,
        }
    }

    fn compress(&mut self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        let table = if src.len() < SMALL_TABLE_INPUT_END {
            &mut self.small
        } else {
            self.large.get_or_insert_with(CompressTable::large)
        };
        let worst_case = get_maximum_output_size(src.len());
        if dst.len() >= worst_case {
            return compress_into_with_table(src, dst, table).ok();
        }
        if self.worst_case.len() < worst_case {
            self.worst_case.try_reserve_exact(worst_case - self.worst_case.len()).ok()?;
            self.worst_case.resize(worst_case, 0);
        }
        let len = compress_into_with_table(src, &mut self.worst_case, table).ok()?;
        dst.get_mut(..len)?.copy_from_slice(&self.worst_case[..len]);
        Some(len)
    }

    fn held_bytes(&self) -> usize {
        let large = if self.large.is_some() { LARGE_TABLE_BYTES } else { 0 };
        SMALL_TABLE_BYTES + large + self.worst_case.capacity()
    }
}

impl Codec for Lz4Pure {
    fn name(&self) -> &str {
        "lz4"
    }

    fn compress(&self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        self.slots.acquire().with(|workspace| {
            let result = workspace.compress(src, dst);
            let grown = workspace.held_bytes() - workspace.bytes;
            if grown > 0 {
                workspace.bytes += grown;
                // ORDERING: Relaxed; a sum for `metadata_bytes`.
                self.workspace_bytes.fetch_add(grown, Ordering::Relaxed);
            }
            result
        })
    }

    fn decompress(&self, src: &[u8], dst: &mut [u8]) -> Result<usize, CodecError> {
        let capacity = dst.len();
        decompress_into(src, dst).map_err(|_| CodecError::Invalid { codec: "lz4", capacity })
    }

    fn metadata_bytes(&self) -> usize {
        // ORDERING: Relaxed; a statistic.
        self.slots.array_bytes() + self.workspace_bytes.load(Ordering::Relaxed)
    }
}
