//! The charge for the tables of the spill, which grow with the objects in the backing.

use super::spilling::{STEP_BYTES, TURNS};
use crate::state::StoreState;

/// What the extents that are being written may add: for each its slot, and a word, a note and a bit an object.
const WRITTEN_BYTES: usize = TURNS * (512 + 7 * pagefold_spill::OBJECTS_MAX);

impl StoreState {
    /// Whether the tables may grow by the extents that are being written. Inside an operation.
    pub(super) fn charge_tables(&self) -> bool {
        let Some(spilling) = &self.spilling else { return false };
        let used = usize::try_from(spilling.spill.stats().metadata_bytes).unwrap_or(usize::MAX);
        let needed = used.saturating_add(WRITTEN_BYTES);
        let mut tables = spilling.tables.lock();
        while tables.charged() < needed.saturating_add(STEP_BYTES)
            && let Ok(charge) = self.memory.charge_beside(STEP_BYTES)
        {
            tables.steps.push(charge);
        }
        while tables.charged() > needed.saturating_add(3 * STEP_BYTES)
            && tables.steps.pop().is_some()
        {}
        tables.charged() >= needed
    }
}
