//! The pages of a frozen space, as a base.
//!
//! A space is frozen while bases use it. The mark is set at a moment without operations, and each operation that would
//! change the space looks at it when it begins, so none is under way once it is set.

use std::sync::{Arc, Weak};

use super::{
    SpaceState, StoreState,
    spill::{Along, Fetched},
};
use crate::{
    base::{AtHand, BaseFault, BasePages, Found},
    encoder::decode::{ReadError, Wait},
    error::GetError,
    page::Page,
    spin::look_again,
};

/// Thaws the space when it is dropped.
pub(super) struct FrozenPages {
    // The space may be one of those that the store lists, so a count would never end.
    store: Weak<StoreState>,
    space: Arc<SpaceState>,
}

impl FrozenPages {
    /// The space was just frozen for it.
    pub(super) fn new(store: &Arc<StoreState>, space: Arc<SpaceState>) -> Self {
        Self { store: Arc::downgrade(store), space }
    }
}

impl BasePages for FrozenPages {
    fn at_hand(&self, page: u64, into: &mut Page, how: AtHand) -> Found {
        let Some(store) = self.store.upgrade() else { return Found::NotAtHand };
        let wait = match how {
            AtHand::Soon => Wait::Allowed,
            AtHand::Never => Wait::Never,
        };
        let Some(found) = self.space.index.try_find(page) else { return Found::NotAtHand };
        // A move or a pass may come between; then the caller looks again by `load`.
        match store.read(found.word.entry(), into, wait) {
            Ok(()) => Found::Page,
            Err(_) => Found::NotAtHand,
        }
    }

    fn load(&self, page: u64, into: &mut Page) -> Result<(), BaseFault> {
        let gone = BaseFault::Io(std::io::ErrorKind::NotFound);
        let store = self.store.upgrade().ok_or(gone)?;
        let mut fetched: Option<Fetched> = None;
        loop {
            let word = {
                let _operation = store.enter().map_err(|_| gone)?;
                let word = self.space.index.load(page);
                if word.is_empty() {
                    // Frozen: it was never put.
                    into.fill(0);
                    return Ok(());
                }
                match store.read_with(word.entry(), fetched.as_ref(), into) {
                    Ok(()) => return Ok(()),
                    Err(ReadError::Spilled) => word,
                    Err(ReadError::Stale | ReadError::WouldBlock) => {
                        look_again();
                        continue;
                    }
                    Err(_) => return Err(BaseFault::Changed),
                }
            };
            let started = store.start_fetch(word.entry(), Along::Nothing);
            fetched = match started.map(|fetch| fetch.finish()) {
                None | Some(Ok(None)) => None,
                Some(Ok(some)) => some,
                Some(Err(GetError::Io(kind))) => return Err(BaseFault::Io(kind)),
                Some(Err(GetError::Timeout)) => {
                    return Err(BaseFault::Io(std::io::ErrorKind::TimedOut));
                }
                Some(Err(_)) => return Err(BaseFault::Changed),
            };
        }
    }
}

impl Drop for FrozenPages {
    fn drop(&mut self) {
        // In an operation, so that a fork leaves no lock behind.
        if let Some(store) = self.store.upgrade()
            && let Ok(_operation) = store.enter()
            && self.space.thaw()
        {
            store.drop_space(&self.space);
        }
    }
}
