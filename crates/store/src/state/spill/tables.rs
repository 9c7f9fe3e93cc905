//! The charge for the tables of the spill, which grow with the objects in the backing.

use super::spilling::STEP_BYTES;
use crate::state::StoreState;

/// What an extent that is being written may add: its slot, and a word, a note and a bit an object.
const WRITTEN_BYTES: usize = 512 + 7 * pagefold_spill::OBJECTS_MAX;

impl StoreState {
    /// Whether the tables may grow by the extents that are being written. Inside an operation.
    pub(super) fn charge_tables(&self) -> bool {
        let Some(spilling) = &self.spilling else { return false };
        let used = usize::try_from(spilling.spill.stats().metadata_bytes).unwrap_or(usize::MAX);
        let needed = used.saturating_add(spilling.turns_max * WRITTEN_BYTES);
        let mut tables = spilling.tables.lock();
        while spilling.charged_tables(&tables) < needed.saturating_add(STEP_BYTES)
            && let Ok(charge) = self.memory.charge_beside(STEP_BYTES)
        {
            tables.steps.push(charge);
        }
        while spilling.charged_tables(&tables) > needed.saturating_add(3 * STEP_BYTES)
            && tables.steps.pop().is_some()
        {}
        spilling.charged_tables(&tables) >= needed
    }
}
