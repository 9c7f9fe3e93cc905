//! Charges for codec memory that a new store lacks; memory that a store at rest does without.

use pagefold_frame::OutOfFrames;

use super::StoreState;
use crate::{encoder::VALUE_MAX, page::PAGE_BYTES};

impl StoreState {
    /// Charges, once, for long values: growth of contexts, and scratch.
    pub(crate) fn charge_long(&self) -> Result<(), OutOfFrames> {
        let mut long = self.long.lock();
        if long.is_none() {
            *long = Some(self.memory.charge_beside(self.encoder.growth_of_long())?);
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
        if !codec.wants_context() {
            return;
        }
        let Some(mut contexts) = self.contexts.try_lock() else { return };
        if let Ok(charge) = self.memory.charge_beside(codec.context_bytes_max(len))
            && codec.add_context()
        {
            contexts.push(charge);
        }
    }
}
