//! The look-up protocol: from a handle to the bytes of its object under a guard. (I-LOOKUP, see `found`)

use pagefold_frame::LockError;

use super::{found::Wait, packing::Packing};
use crate::{
    contract::Slices,
    error::{HandleError, TryReadError},
    handle::Handle,
};

/// Calls `f` once with the bytes of an object.
#[inline]
pub(super) fn visit<F: FnMut(Slices<'_>) + ?Sized>(
    packing: &impl Packing,
    handle: Handle,
    wait: Wait,
    f: &mut F,
) -> Result<(), TryReadError> {
    loop {
        let found = packing.base().find(handle)?;
        match packing.read(&found, wait, f) {
            Ok(()) => return Ok(()),
            Err(LockError::Busy) => return Err(TryReadError::WouldBlock),
            // Freed or moved after its entry was loaded.
            Err(LockError::Gone) => {}
        }
        #[cfg(loom)]
        pagefold_sys::sync::yield_now();
    }
}

/// As [`visit`], waiting for writers.
#[inline]
pub(super) fn read<F: FnMut(Slices<'_>) + ?Sized>(
    packing: &impl Packing,
    handle: Handle,
    f: &mut F,
) -> Result<(), HandleError> {
    match visit(packing, handle, Wait::ForWriter, f) {
        Ok(()) => Ok(()),
        Err(TryReadError::Handle(error)) => Err(error),
        Err(TryReadError::WouldBlock) => unreachable!("the reader waits"),
    }
}

/// The length of an object.
pub(super) fn len(packing: &impl Packing, handle: Handle) -> Result<usize, HandleError> {
    loop {
        let found = packing.base().find(handle)?;
        let Some(len) = packing.len(&found) else { break };
        // The same word twice: the length is of the object that the handle names.
        if found.is_current() {
            return Ok(len);
        }
    }
    let mut len = 0;
    read(packing, handle, &mut |slices: Slices<'_>| len = slices.len())?;
    Ok(len)
}
