//! The charge for the tables of the spill, which grow with the objects in the backing.

use pagefold_frame::Charge;

use crate::state::StoreState;

const STEP_BYTES: usize = 64 << 10;
/// What an extent may add: its slot, and a word and a bit an object.
const EXTENT_BYTES: usize = 512 + 5 * pagefold_spill::OBJECTS_MAX;

/// Steps that are charged, beside the first one.
#[derive(Default)]
pub(super) struct Tables {
    steps: Vec<Charge>,
}

impl Tables {
    /// With a spare step, because at the limit nothing can be charged, and just then an extent is to go.
    pub(super) const FIXED_BYTES: usize = STEP_BYTES;

    fn charged(&self) -> usize {
        (1 + self.steps.len()) * STEP_BYTES
    }
}

impl StoreState {
    /// Whether the tables may grow by an extent. Inside an operation.
    pub(super) fn charge_tables(&self) -> bool {
        let Some(spilling) = &self.spilling else { return false };
        let used = usize::try_from(spilling.spill.stats().metadata_bytes).unwrap_or(usize::MAX);
        let needed = used.saturating_add(EXTENT_BYTES);
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
