//! Extents in the heap of this process: a backing for models and fuzzing, which saves no memory.

use std::{
    collections::HashMap,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::Backing;

/// See the module.
#[derive(Debug, Default)]
pub struct HeapBacking(Mutex<HashMap<u32, Vec<u8>>>);

impl HeapBacking {
    /// By slot. Calls of the backing wait until the guard is dropped.
    pub fn extents(&self) -> MutexGuard<'_, HashMap<u32, Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backing for HeapBacking {
    fn write(&self, slot: u32, bytes: &[u8]) -> io::Result<()> {
        self.extents().insert(slot, bytes.to_vec());
        Ok(())
    }

    fn read(&self, slot: u32, offset: u32, into: &mut [u8]) -> io::Result<()> {
        let extents = self.extents();
        let bytes = extents.get(&slot).and_then(|bytes| bytes.get(offset as usize..));
        let bytes = bytes.and_then(|bytes| bytes.get(..into.len()));
        into.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn try_read(&self, slot: u32, offset: u32, into: &mut [u8]) -> io::Result<()> {
        self.read(slot, offset, into)
    }

    fn discard(&self, slot: u32) -> io::Result<()> {
        self.extents().remove(&slot);
        Ok(())
    }
}
