//! Stores and loads single pages; the clock covers nothing else.
//!
//! A slot stands for one page of the input: whose content it has, and where the pool stored it. Each worker owns a
//! share of the slots; all share codec, pool and spool.

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

/// How many pages pass between two updates of the progress bar.
const PAGES_PER_TICK: usize = 256;

#[derive(Clone, Copy)]
pub(crate) struct Shared<'a> {
    pub(crate) spool: &'a Spool,
    pub(crate) codec: &'a dyn Codec,
    pub(crate) pool: &'a dyn Pool,
    pub(crate) interrupt: &'a Interrupt,
    pub(crate) progress: &'a Progress,
    /// Set by the first worker that cannot go on.
    pub(crate) halted: &'a AtomicBool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct SpoolSlot {
    /// The page of the spool with this slot's content.
    pub(crate) source: u32,
    pub(crate) kept: Kept,
}

/// The memory of one thread, allocated and touched before the pool is built so that it does not count as the pool's.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) stores: Latency,
    pub(crate) loads: Latency,
    /// The lengths of the pages stored compressed.
    pub(crate) sizes: Sizes,
    /// The stores of each group, from the first group of the share to the last. Valid after a fill, when each page was
    /// stored once; churn stores pages of other groups too, which are not counted.
    pub(crate) tallies: Vec<Tally>,
    pub(crate) first_group: usize,
    /// The slots of the share, to be shuffled.
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
            // Filled with ones: zeroed memory would not be resident before its first use.
            scratch: vec![1; accept_len(PAGE)],
            object: vec![1; PAGE],
            page: vec![1; PAGE],
            ticks: 0,
        }
    }

    /// Stores page `source` of the spool. The time covers encoding and storing.
    ///
    /// # Errors
    /// [`AllocError`] from the pool; the time is not counted then.
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

    /// Loads a slot's page, then compares it with the hash of the page that was read. The time covers reading from the
    /// pool and decoding, not the check.
    ///
    /// # Errors
    /// [`LoadError`] when the page is not what it should be.
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

/// Decodes an object in the pool's memory if it is contiguous there, else through `object`.
fn read(
    shared: &Shared<'_>,
    handle: Handle,
    object: &mut [u8],
    page: &mut [u8],
    form: impl Fn(&[u8]) -> Encoded<'_>,
) -> Result<(), LoadError> {
    // An object longer than any stored page is wrong content, too.
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
    /// Tells all workers to stop after their current page.
    pub(crate) fn halt(&self) {
        // ORDERING: Relaxed; a hint to stop early. What a worker did is published by the join of its thread.
        self.halted.store(true, Ordering::Relaxed);
    }

    pub(crate) fn should_stop(&self) -> bool {
        // ORDERING: Relaxed; see `halt`.
        self.halted.load(Ordering::Relaxed) || self.interrupt.is_requested()
    }
}
