//! Stores and loads single pages; the clock covers nothing else.
//!
//! A slot says which page of the input it contains and where the pool stored it. Workers share codec, pool and spool.

use std::{
    ops::RangeInclusive,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use pagefold_codec::{Codec, CodecError, Encoded, accept_len, decode, encode};
use pagefold_pool::{AllocError, Handle, HandleError, Pool};

use crate::{
    estimate::{
        config::PAGE,
        measure::latency::Latency,
        read::spool::Spool,
        result::{kept::Kept, sizes::Sizes, tally::Tally},
    },
    interrupt::Interrupt,
    progress::Progress,
};

/// Pages between updates of the progress bar.
const PAGES_PER_TICK: usize = 256;

#[derive(Clone, Copy)]
pub(crate) struct Shared<'a> {
    pub(crate) spool: &'a Spool,
    pub(crate) codec: &'a dyn Codec,
    pub(crate) pool: &'a dyn Pool,
    pub(crate) interrupt: &'a Interrupt,
    pub(crate) progress: &'a Progress,
    pub(crate) halted: &'a AtomicBool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct SpoolSlot {
    pub(crate) source: u32,
    pub(crate) kept: Kept,
}

/// A thread's memory, touched before the pool is built so that it does not count as the pool's.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) stores: Latency,
    pub(crate) loads: Latency,
    pub(crate) sizes: Sizes,
    /// The stores of each group in the share. Valid after a fill; churn is not counted.
    pub(crate) tallies: Vec<Tally>,
    pub(crate) first_group: usize,
    pub(crate) order: Vec<u32>,
    scratch: Vec<u8>,
    object: Vec<u8>,
    page: Vec<u8>,
    ticks: usize,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(transparent)]
    Handle(#[from] HandleError),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("its bytes are not the ones that were stored")]
    Content,
}

impl Worker {
    pub(crate) fn new(slots: u32, groups: RangeInclusive<usize>) -> Self {
        Self {
            stores: Latency::new(),
            loads: Latency::new(),
            sizes: Sizes::new(),
            tallies: vec![Tally::default(); groups.clone().count()],
            first_group: *groups.start(),
            order: (0..slots).collect(),
            // Ones: zeroed memory would not be resident.
            scratch: vec![1; accept_len(PAGE)],
            object: vec![1; PAGE],
            page: vec![1; PAGE],
            ticks: 0,
        }
    }

    /// Encodes and stores a page, timed.
    ///
    /// # Errors
    /// [`AllocError`] from the pool; not timed.
    pub(crate) fn store(&mut self, shared: &Shared<'_>, source: usize) -> Result<Kept, AllocError> {
        let page = shared.spool.page(source);
        let accepted = accept_len(page.len());
        let begun = Instant::now();
        let (kept, payload) = match encode(shared.codec, page, &mut self.scratch[..accepted]) {
            Encoded::SameFilled(word) => (Kept::SameFilled(word), 0),
            Encoded::Compressed(bytes) => {
                (Kept::Compressed(shared.pool.store(bytes)?), bytes.len())
            }
            Encoded::Raw(bytes) => (Kept::Raw(shared.pool.store(bytes)?), bytes.len()),
        };
        self.stores.record(begun.elapsed());
        if let Kept::Compressed(_) = kept {
            self.sizes.record(payload);
        }
        let group = shared.spool.group(source).wrapping_sub(self.first_group);
        if let Some(tally) = self.tallies.get_mut(group) {
            tally.count(kept, page.len() as u64, payload as u64);
        }
        Ok(kept)
    }

    /// Loads a slot's page, timed, then checks its hash.
    ///
    /// # Errors
    /// [`LoadError`] when the page is wrong.
    pub(crate) fn load(&mut self, shared: &Shared<'_>, slot: SpoolSlot) -> Result<(), LoadError> {
        let source = slot.source as usize;
        let page = &mut self.page[..shared.spool.page_len(source)];
        let begun = Instant::now();
        match slot.kept {
            Kept::Nothing => return Ok(()),
            Kept::SameFilled(word) => decode(shared.codec, Encoded::SameFilled(word), page)?,
            Kept::Compressed(handle) => {
                read(shared, handle, &mut self.object, page, |bytes| Encoded::Compressed(bytes))?;
            }
            Kept::Raw(handle) => {
                read(shared, handle, &mut self.object, page, |bytes| Encoded::Raw(bytes))?;
            }
        }
        self.loads.record(begun.elapsed());
        if shared.spool.matches(source, page) { Ok(()) } else { Err(LoadError::Content) }
    }

    pub(crate) fn tick(&mut self, shared: &Shared<'_>) {
        self.ticks += 1;
        if self.ticks == PAGES_PER_TICK {
            shared.progress.add(PAGES_PER_TICK as u64);
            self.ticks = 0;
        }
    }
}

/// Decodes an object, through `object` if it is not contiguous.
fn read(
    shared: &Shared<'_>,
    handle: Handle,
    object: &mut [u8],
    page: &mut [u8],
    form: impl Fn(&[u8]) -> Encoded<'_>,
) -> Result<(), LoadError> {
    let mut outcome = Err(LoadError::Content);
    shared.pool.read(handle, &mut |slices| {
        let bytes = match slices.contiguous() {
            Some(bytes) => Some(bytes),
            None => slices.copy_to(object).map(|len| &object[..len]),
        };
        if let Some(bytes) = bytes {
            outcome = decode(shared.codec, form(bytes), page).map_err(LoadError::from);
        }
    })?;
    outcome
}

impl Shared<'_> {
    pub(crate) fn halt(&self) {
        // ORDERING: Relaxed; a hint to stop early. The join publishes a worker's results.
        self.halted.store(true, Ordering::Relaxed);
    }

    pub(crate) fn should_stop(&self) -> bool {
        // ORDERING: Relaxed; see `halt`.
        self.halted.load(Ordering::Relaxed) || self.interrupt.is_requested()
    }
}
