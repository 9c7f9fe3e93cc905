//! Charges for codec memory that a new store lacks; memory that a store at rest does without.

use pagefold_frame::OutOfFrames;

use super::{StoreState, caught::caught};
use crate::{encoder::VALUE_MAX, page::PAGE_BYTES};

impl StoreState {
    /// Charges, once, for long values: growth of contexts, and scratch.
    pub(crate) fn charge_long(&self) -> Result<(), OutOfFrames> {
        if self.long.lock().is_some() {
            return Ok(());
        }
        let growth = self.encoder.growth_of_long();
        let mut long = self.long.lock();
        if long.is_none() {
            *long = Some(self.memory.charge_beside(growth)?);
        }
        Ok(())
    }

    /// Frees what only puts and passes need, until there are some. Inside an operation.
    pub(crate) fn rest(&self) {
        self.encoder.rest();
        self.staging.rest();
    }

    /// Adds a codec context if a call waited for one. Never waits.
    #[inline]
    pub(crate) fn add_wanted_context(&self) {
        if self.encoder.codec.wants_context() {
            self.add_context();
        }
    }

    #[cold]
    fn add_context(&self) {
        let Some(long) = self.long.try_lock() else { return };
        let len = if long.is_some() { VALUE_MAX } else { PAGE_BYTES };
        let codec = &self.encoder.codec;
        let Some(mut contexts) = self.contexts.try_lock() else { return };
        // Both locks stay, so that what is charged is what is added.
        let added = caught(|| {
            let wants = codec.wants_context().then(|| codec.context_bytes_max(len))?;
            let charge = self.memory.charge_beside(wants).ok()?;
            codec.add_context().then_some(charge)
        });
        match added {
            Ok(charge) => contexts.extend(charge),
            Err(_) => tracing::error!("the codec panicked when it was to add a context"),
        }
    }
}
