//! Frees: one exchange of the handle entry decides which thread frees.

use super::packing::Packing;
use crate::{error::HandleError, handle::Handle};

/// Never waits.
pub(super) fn free(packing: &impl Packing, handle: Handle) -> Result<(), HandleError> {
    loop {
        let found = packing.base().find(handle)?;
        // Compaction or an overwrite changed the entry.
        if packing.free(&found) {
            packing.base().counters.remove_object();
            return Ok(());
        }
    }
}
