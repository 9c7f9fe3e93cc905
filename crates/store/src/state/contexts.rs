//! Charges for memory of the codec that a new store does not have: for values longer than a page, and for more contexts.

use pagefold_frame::OutOfFrames;

use super::StoreState;
use crate::{encoder::VALUE_MAX, page::PAGE_BYTES};

impl StoreState {
    /// Charges, once, what values longer than a page need beside their own scratch: what the contexts may grow by, and
    /// the scratch that is there when the limit has no room for another.
    pub(crate) fn charge_long(&self) -> Result<(), OutOfFrames> {
        let mut long = self.long.lock();
        if long.is_none() {
            *long = Some(self.memory.charge_beside(self.encoder.growth_of_long())?);
        }
        Ok(())
    }

    /// Charges one more context of the codec, if calls have waited for one and the limit has room. Nothing waits for that.
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
