//! lz4 through its C library.

use pagefold_sys::sync::{SlotArray, default_slot_count};

use crate::{
    Codec, CodecError, TryCodecError,
    lz4_bindings::{self, State},
};

/// lz4 blocks by the C library. Decompression needs no context.
#[derive(Debug)]
pub struct Lz4 {
    states: SlotArray<State>,
    metadata_bytes: usize,
}

impl Lz4 {
    /// Makes the codec with a state of 16 KiB for each of [`default_slot_count`] slots.
    #[expect(
        clippy::new_without_default,
        reason = "it allocates and asks for the number of processors"
    )]
    pub fn new() -> Self {
        let mut state_bytes = 0;
        let states = SlotArray::from_fn(default_slot_count(), |_| {
            let state = State::new();
            state_bytes += state.bytes();
            state
        });
        let metadata_bytes = states.array_bytes() + state_bytes;
        Self { states, metadata_bytes }
    }
}

impl Codec for Lz4 {
    fn name(&self) -> &str {
        "lz4"
    }

    fn compress(&self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        self.states.acquire().with(|state| state.compress(src, dst))
    }

    fn decompress(&self, src: &[u8], dst: &mut [u8]) -> Result<usize, CodecError> {
        let capacity = dst.len();
        lz4_bindings::decompress(src, dst).ok_or(CodecError::Invalid { codec: "lz4", capacity })
    }

    fn decompress_start(
        &self,
        src: &[u8],
        dst: &mut [u8],
        wanted: usize,
    ) -> Result<usize, CodecError> {
        let capacity = dst.len();
        if wanted >= capacity {
            return self.decompress(src, dst);
        }
        lz4_bindings::decompress_start(src, dst, wanted)
            .ok_or(CodecError::Invalid { codec: "lz4", capacity })
    }

    fn try_decompress_start(
        &self,
        src: &[u8],
        dst: &mut [u8],
        wanted: usize,
    ) -> Result<usize, TryCodecError> {
        Ok(self.decompress_start(src, dst, wanted)?)
    }

    fn metadata_bytes(&self) -> usize {
        self.metadata_bytes
    }
}
