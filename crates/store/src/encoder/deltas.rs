//! Pages against their base pages. `docs/BASES.md` has the forms, `pagefold_codec` makes them.
//!
//! Contexts and buffers are made, and charged, with the first base of a store.

use std::sync::{Arc, OnceLock};

use pagefold_codec::{CodecError, Deltas as Forms, TryCodecError};
use pagefold_frame::{Charge, MemoryBudget, OutOfFrames};

use crate::page::Page;

const BUILD_BYTES: usize = if cfg!(loom) { 0 } else { 1 << 20 };
/// As of the codec of single pages.
const CONTEXTS: usize = 2;

/// What deltas need.
#[derive(Default)]
pub(crate) struct Deltas {
    made: OnceLock<Made>,
}

struct Made {
    forms: Forms,
    charged: usize,
    _charge: Charge,
}

impl Deltas {
    /// Makes contexts and buffers, once.
    pub(crate) fn prepare(&self, memory: &Arc<MemoryBudget>) -> Result<(), OutOfFrames> {
        if self.made.get().is_some() {
            return Ok(());
        }
        // For a moment it takes more than in the end.
        let building = memory.charge_beside(BUILD_BYTES)?;
        let forms = if cfg!(loom) {
            Forms::without_zstd(CONTEXTS)
        } else {
            Forms::new().map_err(|_| OutOfFrames)?
        };
        forms.limit_contexts(CONTEXTS);
        let charged = forms.metadata_bytes_max();
        drop(building);
        let charge = memory.charge_beside(charged)?;
        // Another thread may have been faster: then this one's goes.
        _ = self.made.set(Made { forms, charged, _charge: charge });
        Ok(())
    }

    /// Charged bytes not resident.
    pub(super) fn reserved_bytes(&self) -> usize {
        let made = self.made.get();
        made.map_or(0, |made| made.charged.saturating_sub(made.forms.metadata_bytes()))
    }

    /// Frees what only encoding needs, until the next page comes.
    pub(super) fn rest(&self) {
        if let Some(forms) = self.forms() {
            forms.release_contexts();
        }
    }

    pub(super) fn forms(&self) -> Option<&Forms> {
        self.made.get().map(|made| &made.forms)
    }

    /// Makes the page from the base page in `page`; with `waits` also when it must wait for a context. Any bytes may be given.
    pub(super) fn patch(
        &self,
        object: &[u8],
        page: &mut Page,
        waits: bool,
    ) -> Result<(), TryCodecError> {
        let invalid = CodecError::Invalid { codec: "delta", capacity: page.len() };
        let forms = self.forms().ok_or(invalid)?;
        if waits { Ok(forms.decode(object, page)?) } else { forms.try_decode(object, page) }
    }
}
