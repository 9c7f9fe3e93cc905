//! Replacing the bytes of an object: in place if no guard is in the way, and otherwise at another location, so that an
//! open read keeps the old bytes.

use pagefold_frame::LockError;

use super::{
    deferred::drain_some,
    insert::make_room,
    lookup,
    packing::{Attempt, Packing},
};
use crate::{error::WriteError, handle::Handle};

/// Replaces the bytes of an object by others of the same length.
pub(super) fn write(
    packing: &impl Packing,
    handle: Handle,
    bytes: &[u8],
) -> Result<(), WriteError> {
    // The length of an object does not change while its handle is live.
    let len = lookup::len(packing, handle)?;
    if len != bytes.len() {
        return Err(WriteError::WrongLength { len, given: bytes.len() });
    }
    packing.base().scratch.with_copy(bytes, |copy| replace(packing, handle, copy))
}

fn replace(packing: &impl Packing, handle: Handle, bytes: &[u8]) -> Result<(), WriteError> {
    loop {
        let found = packing.base().find(handle)?;
        // Under the write guard an entry that says this location stays so; only a free may come after the bytes.
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
