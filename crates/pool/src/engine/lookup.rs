//! From a handle to bytes under a guard. (I-LOOKUP)

use pagefold_frame::LockError;

use super::{
    found::{ForWriter, Never, Wait},
    packing::Packing,
};
use crate::{
    error::{HandleError, TryReadError},
    handle::Handle,
    slices::Slices,
};

/// `would_block` is the error without waiting.
#[inline(always)]
fn visit<E: From<HandleError>, F: FnMut(Slices<'_>) + ?Sized>(
    packing: &impl Packing,
    handle: Handle,
    wait: impl Wait,
    f: &mut F,
    would_block: impl Fn() -> E,
) -> Result<(), E> {
    loop {
        let found = packing.base().find(handle)?;
        match packing.read(&found, wait, f) {
            Ok(()) => return Ok(()),
            Err(LockError::Busy) => return Err(would_block()),
            Err(LockError::Gone) => {}
        }
        #[cfg(loom)]
        pagefold_sys::sync::yield_now();
    }
}

#[inline]
pub(super) fn read<F: FnMut(Slices<'_>) + ?Sized>(
    packing: &impl Packing,
    handle: Handle,
    f: &mut F,
) -> Result<(), HandleError> {
    visit(packing, handle, ForWriter, f, || unreachable!("the reader waits"))
}

#[inline]
pub(super) fn try_read<F: FnMut(Slices<'_>) + ?Sized>(
    packing: &impl Packing,
    handle: Handle,
    f: &mut F,
) -> Result<(), TryReadError> {
    visit(packing, handle, Never, f, || TryReadError::WouldBlock)
}

pub(super) fn len(packing: &impl Packing, handle: Handle) -> Result<usize, HandleError> {
    loop {
        let found = packing.base().find(handle)?;
        if let Some(len) = packing.len(&found) {
            // Same word twice: same object.
            if found.is_current() {
                return Ok(len);
            }
            continue;
        }
        let mut len = 0;
        let seen = packing.read(&found, ForWriter, &mut |slices: Slices<'_>| len = slices.len());
        if seen.is_ok() {
            return Ok(len);
        }
        #[cfg(loom)]
        pagefold_sys::sync::yield_now();
    }
}
