//! Bytes in a mapping of their own.

use std::{
    ops::{Deref, DerefMut},
    ptr::NonNull,
    slice,
};

use super::{CoreDump, MemoryError, Reservation, commit, page_bytes, release, reserve};

/// Zeroed bytes that go back to the system when the buffer is dropped. The heap of the C library keeps megabytes of what
/// large buffers give back.
///
/// # Invariants
/// `mapping` is committed, no other code has it, and it has `len` bytes or more; `None` for no bytes.
#[derive(Debug)]
pub struct Buffer {
    mapping: Option<Reservation>,
    len: usize,
}

impl Buffer {
    /// Maps `len` bytes.
    ///
    /// # Errors
    /// [`MemoryError`] without address space or memory.
    pub fn zeroed(len: usize) -> Result<Self, MemoryError> {
        if len == 0 {
            return Ok(Self { mapping: None, len });
        }
        let bytes = len.next_multiple_of(page_bytes());
        let mapping = reserve(bytes, page_bytes(), CoreDump::Include)?;
        // INVARIANT: new; if it cannot be committed, dropping `buffer` releases it.
        let buffer = Self { mapping: Some(mapping), len };
        if let Some(mapping) = &buffer.mapping {
            commit(mapping, 0..bytes)?;
        }
        Ok(buffer)
    }

    fn start(&self) -> NonNull<u8> {
        self.mapping.as_ref().map_or(NonNull::dangling(), Reservation::base)
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: committed, so readable and initialised (zeros), for `len` bytes (invariant); borrowed like `self`. Without
        // a mapping `len` is 0.
        unsafe { slice::from_raw_parts(self.start().as_ptr(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, writable, and exclusive by `&mut self`.
        unsafe { slice::from_raw_parts_mut(self.start().as_ptr(), self.len) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(mapping) = self.mapping.take() {
            // SAFETY: from `reserve`, dropped once; slices of it borrowed `self`.
            unsafe { release(mapping) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_zeroed_has_its_length_and_can_be_written_to_the_end() {
        for len in [0, 1, 4095, 4096, 4097, 5 << 20] {
            let mut buffer = Buffer::zeroed(len).expect("memory");
            assert_eq!(buffer.len(), len);
            assert!(buffer.iter().all(|&byte| byte == 0));
            buffer.fill(7);
            assert!(buffer.iter().all(|&byte| byte == 7));
        }
    }

    #[test]
    fn more_than_the_address_space_is_an_error() {
        assert!(Buffer::zeroed(1 << 60).is_err());
    }
}
