//! Ending an object: one exchange of its handle entry decides which thread frees it.

use super::packing::Packing;
use crate::{error::HandleError, handle::Handle};

/// Frees an object. Never waits.
pub(super) fn free(packing: &impl Packing, handle: Handle) -> Result<(), HandleError> {
    loop {
        let found = packing.base().find(handle)?;
        // Compaction or an overwrite may have changed the entry: look again.
        if packing.free(&found) {
            packing.base().counters.remove_object();
            return Ok(());
        }
    }
}
