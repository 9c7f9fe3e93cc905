//! Objects in nbud, as it is built by default.

use pagefold_pool::{FillPolicy, Handle, Pool};

use crate::{common::builder, memory::Memory};

/// Frames in a span, nbud's default.
const SPAN_FRAMES: u32 = 4;

/// Bytes that one call of `compact` may move.
const COMPACT_BUDGET: usize = 16 << 20;

/// A pool.
pub struct Pooled(Box<dyn Pool>);

impl Pooled {
    /// A pool with room for this payload, the metadata, and a sixteenth for what a packing loses.
    pub fn new(payload_bytes: usize) -> Self {
        let limit = payload_bytes + payload_bytes / 16 + (16 << 20);
        Self(builder(limit, SPAN_FRAMES, FillPolicy::Auto))
    }
}

impl Memory for Pooled {
    type Object = Handle;

    fn store(&mut self, bytes: &[u8]) -> Handle {
        self.0.store(bytes).expect("below the limit")
    }

    fn free(&mut self, object: Handle) {
        self.0.free(object).expect("it lives");
    }

    fn read(&self, object: &Handle, f: &mut dyn FnMut(&[u8])) {
        self.0
            .read(*object, &mut |slices| f(slices.contiguous().expect("nbud keeps one piece")))
            .expect("it lives");
    }

    fn give_back(&mut self) {
        while self.0.compact(COMPACT_BUDGET).more {}
        self.0.trim();
    }
}
