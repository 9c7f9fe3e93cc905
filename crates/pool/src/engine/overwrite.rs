//! Overwrites in place, or elsewhere while a guard is in the way.

use pagefold_frame::LockError;

use super::{
    deferred::drain_some,
    insert::make_room,
    lookup,
    packing::{Attempt, Packing},
};
use crate::{error::WriteError, handle::Handle};

pub(super) fn write(
    packing: &impl Packing,
    handle: Handle,
    bytes: &[u8],
) -> Result<(), WriteError> {
    // A live object's length does not change.
    let len = lookup::len(packing, handle)?;
    if len != bytes.len() {
        return Err(WriteError::WrongLength { len, given: bytes.len() });
    }
    packing.base().scratch.with_copy(bytes, |copy| replace(packing, handle, copy))
}

fn replace(packing: &impl Packing, handle: Handle, bytes: &[u8]) -> Result<(), WriteError> {
    loop {
        let found = packing.base().find(handle)?;
        // The write guard fixes the location; a free may follow.
        let replaced = match packing.overwrite(&found, bytes) {
            Ok(()) => true,
            Err(LockError::Busy) => {
                let rewrite = |attempt| {
                    drain_some(packing);
                    packing.rewrite(&found, bytes, attempt)
                };
                let rewritten = rewrite(Attempt::First).or_else(|_| {
                    make_room(packing);
                    rewrite(Attempt::AtLimit)
                });
                let limit = packing.base().limit_bytes();
                rewritten.map_err(|_| WriteError::OutOfMemory { limit })?
            }
            Err(LockError::Gone) => false,
        };
        if replaced {
            return Ok(());
        }
        #[cfg(loom)]
        pagefold_sys::sync::yield_now();
    }
}
