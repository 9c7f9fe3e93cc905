//! Bases: opened, and listed for the accounts.

use std::{
    fs::File,
    sync::{Arc, Weak},
    time::Duration,
};

use super::{SpaceState, StoreState, frozen::FrozenPages};
use crate::{
    base::{
        BaseError, BaseFault, BasePages, BaseState, BaseStats, FilePages, Hashing, Locked, Resident,
    },
    config::SpaceKind,
    error::{GetError, KeyError},
    page::PAGE_BYTES,
};

/// The share of the limit that decoded pages of a base may take by default.
const RESIDENT_SHARE: usize = 64;
const FREEZE_WAIT: Duration = Duration::from_secs(10);

/// How a base is made.
pub(crate) struct Opening {
    pub(crate) name: Arc<str>,
    /// In bytes.
    pub(crate) resident: Option<usize>,
    pub(crate) locked: bool,
    pub(crate) expected: Option<u128>,
}

impl StoreState {
    /// The pages of a file.
    pub(crate) fn open_file(
        &self,
        file: Result<File, std::io::Error>,
        opening: Opening,
    ) -> Result<Arc<BaseState>, BaseError> {
        let name = opening.name.to_string();
        let failed = |error| BaseError::Io { name: name.clone(), error };
        let source = file.and_then(FilePages::new).map_err(failed)?;
        let pages = source.pages();
        // The page cache has a file already: a copy here costs more than it saves (record 2026-11-27-bases).
        self.open(pages, Box::new(source), opening, 0).map_err(|error| match error {
            Failed::Page(_, BaseFault::Io(kind)) => failed(kind.into()),
            Failed::Page(_, _) => failed(std::io::ErrorKind::UnexpectedEof.into()),
            Failed::Other(error) => error,
        })
    }

    /// The pages of a space, which is frozen for the base.
    pub(crate) fn open_space(
        self: &Arc<Self>,
        space: &Arc<SpaceState>,
        opening: Opening,
    ) -> Result<Arc<BaseState>, BaseError> {
        let name = || space.name.clone();
        if space.kind == SpaceKind::Ephemeral {
            return Err(BaseError::Ephemeral { space: name() });
        }
        if space.mapping.is_some() {
            return Err(BaseError::Chain { space: name() });
        }
        let source = {
            let _quiet = self.operations.quiesce(FREEZE_WAIT).ok_or(BaseError::Busy)?;
            if !space.freeze() {
                return Err(KeyError::Dropped.into());
            }
            // From here on its drop thaws the space.
            FrozenPages::new(self, Arc::clone(space))
        };
        if let Ok(_operation) = self.enter() {
            self.flush();
        }
        let pages = self.check_pages(space)?;
        let resident = self.limit() / RESIDENT_SHARE;
        self.open(pages, Box::new(source), opening, resident).map_err(|error| match error {
            Failed::Page(key, BaseFault::Io(kind)) => {
                BaseError::Get { key, error: GetError::Io(kind) }
            }
            Failed::Page(key, _) => BaseError::Get { key, error: GetError::Corrupt },
            Failed::Other(error) => error,
        })
    }

    /// The number of pages of a frozen space up to the last used key, if it has pages only.
    fn check_pages(&self, space: &SpaceState) -> Result<u64, BaseError> {
        let mut from = Some(0);
        let mut pages = 0;
        loop {
            let _operation = self.enter()?;
            let Some((key, word)) = from.and_then(|from| space.index.next_used(from)) else {
                return Ok(pages);
            };
            if self.original(word.entry()) != PAGE_BYTES {
                return Err(BaseError::NotAPage { space: space.name.clone(), key });
            }
            (pages, from) = (key + 1, key.checked_add(1));
        }
    }

    fn open(
        &self,
        pages: u64,
        source: Box<dyn BasePages>,
        opening: Opening,
        default_resident: usize,
    ) -> Result<Arc<BaseState>, Failed> {
        let full = |_| Failed::Other(BaseError::Full);
        let pages = usize::try_from(pages).map_err(|_| Failed::Other(BaseError::Full))?;
        {
            let _operation = self.enter().map_err(|error| Failed::Other(error.into()))?;
            self.encoder.deltas.prepare(&self.memory).map_err(full)?;
        }
        let fixed = size_of::<BaseState>() + Hashing::bytes(pages);
        let hashes = self.charge_for_base(fixed)?;
        let (mut hashing, mut page) = (Hashing::new(pages), [0; PAGE_BYTES]);
        for number in 0..pages as u64 {
            source.load(number, &mut page).map_err(|fault| Failed::Page(number, fault))?;
            hashing.add(&page);
        }
        let Opening { name, resident, locked, expected } = opening;
        let found = hashing.fingerprint();
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            let name = name.to_string();
            return Err(Failed::Other(BaseError::Fingerprint { name, expected, found }));
        }
        let holes = usize::try_from(hashing.holes()).expect("at most the pages");
        let (more, budget) = if locked {
            (Resident::locked_bytes(pages, holes), 0)
        } else {
            let budget = resident.unwrap_or(default_resident);
            let budget = (budget / PAGE_BYTES).min(pages - holes);
            (Resident::cache_bytes(budget), budget)
        };
        drop(hashes);
        let charge = self.charge_for_base(fixed + more)?;
        let resident = if locked {
            let mut all = Locked::new(pages);
            for number in 0..pages as u64 {
                source.load(number, &mut page).map_err(|fault| Failed::Page(number, fault))?;
                let at = usize::try_from(number).expect("below the pages");
                match hashing.look(at, &page) {
                    None => return Err(Failed::Page(number, BaseFault::Changed)),
                    Some(true) => {}
                    Some(false) => all.push(at, &page),
                }
            }
            Resident::All(all)
        } else {
            Resident::cache(budget)
        };
        let charge = (charge, fixed + more);
        let base = Arc::new(BaseState::new(name, hashing, resident, source, charge));
        // In an operation, so that a fork leaves no lock behind.
        let _operation = self.enter().map_err(|error| Failed::Other(error.into()))?;
        let mut bases = self.bases.lock();
        bases.retain(|base| base.strong_count() > 0);
        bases.push(Arc::downgrade(&base));
        Ok(base)
    }

    fn charge_for_base(&self, bytes: usize) -> Result<pagefold_frame::Charge, Failed> {
        let _operation = self.enter().map_err(|error| Failed::Other(error.into()))?;
        let charge = || self.memory.charge_beside(bytes);
        let charge = charge().or_else(|_| {
            self.shrink(bytes);
            charge()
        });
        charge.map_err(|_| Failed::Other(BaseError::Full))
    }

    pub(super) fn base_stats(&self) -> Vec<BaseStats> {
        let bases: Vec<_> = self.bases.lock().iter().filter_map(Weak::upgrade).collect();
        bases.iter().map(|base| base.stats()).collect()
    }
}

enum Failed {
    Page(u64, BaseFault),
    Other(BaseError),
}
