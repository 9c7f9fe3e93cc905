//! Copies of input, made before any lock is taken: a read of user memory may fault, and a pool may serve the fault.

use pagefold_sys::sync::{self, Mutex, Padded};

/// Passes before the heap is used.
const ROUNDS: usize = if cfg!(loom) { 1 } else { 32 };

type Buffer = Padded<Mutex<Box<[u8]>>>;

#[derive(Debug)]
pub(crate) struct Scratch {
    buffers: Box<[Buffer]>,
    bytes_each: usize,
}

impl Scratch {
    pub(crate) fn new(count: usize, bytes_each: usize) -> Self {
        Self {
            buffers: (0..count).map(|_| Padded(Mutex::new(vec![0; bytes_each].into()))).collect(),
            bytes_each,
        }
    }

    pub(crate) fn fixed_bytes(&self) -> usize {
        self.buffers.len() * (size_of::<Buffer>() + self.bytes_each)
    }

    pub(crate) fn with_copy<R>(&self, bytes: &[u8], f: impl FnOnce(&[u8]) -> R) -> R {
        let hint = sync::shard_hint();
        let rounds = if bytes.len() <= self.bytes_each { ROUNDS } else { 0 };
        for _ in 0..rounds {
            for step in 0..self.buffers.len() {
                if let Some(mut buffer) =
                    self.buffers[hint.wrapping_add(step) % self.buffers.len()].try_lock()
                {
                    let copy = &mut buffer[..bytes.len()];
                    copy.copy_from_slice(bytes);
                    return f(copy);
                }
            }
            sync::yield_now();
        }
        // The threads with buffers may wait for their input.
        let copy = bytes.to_vec();
        f(&copy)
    }
}
