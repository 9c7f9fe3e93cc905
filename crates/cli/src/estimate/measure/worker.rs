//! Stores and loads single pages; the clock covers nothing else.
//!
//! A slot says which page of the input it contains and where the pool stored it. Workers share codec, pool and spool.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use pagefold_codec::{Codec, CodecError, Encoded, accept_len, decode, encode};
use pagefold_pool::{AllocError, Handle, HandleError, Pool};

use crate::{
    estimate::{
        config::PAGE,
        measure::{
            codecs::Codecs,
            idle::{CLUSTER_BYTES, Making},
            latency::Latency,
        },
        read::spool::Spool,
        result::{kept::Kept, sizes::Sizes},
    },
    interrupt::Interrupt,
    progress::Progress,
};

/// Pages between updates of the progress bar.
const PAGES_PER_TICK: usize = 256;

#[derive(Clone, Copy)]
pub(crate) struct Shared<'a> {
    pub(crate) spool: &'a Spool,
    pub(crate) codecs: Codecs<'a>,
    pub(crate) pool: &'a dyn Pool,
    pub(crate) interrupt: &'a Interrupt,
    pub(crate) progress: &'a Progress,
    pub(crate) halted: &'a AtomicBool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct SpoolSlot {
    pub(crate) source: u32,
    /// Its share of an object.
    pub(crate) payload: u16,
    pub(crate) kept: Kept,
}

/// A thread's memory, touched before the pool is built so that it does not count as the pool's.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) stores: Latency,
    pub(crate) loads: Latency,
    pub(crate) sizes: Sizes,
    pub(crate) order: Vec<u32>,
    pub(crate) making: Making,
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
    pub(crate) fn new(slots: u32) -> Self {
        Self {
            stores: Latency::new(),
            loads: Latency::new(),
            sizes: Sizes::new(),
            order: (0..slots).collect(),
            making: Making::new(),
            // Ones: zeroed memory would not be resident.
            scratch: vec![1; accept_len(PAGE)],
            object: vec![1; CLUSTER_BYTES],
            page: vec![1; CLUSTER_BYTES],
            ticks: 0,
        }
    }

    /// Encodes and stores a page, timed; returns also the length of its object.
    ///
    /// # Errors
    /// [`AllocError`] from the pool; not timed.
    pub(crate) fn store(
        &mut self,
        shared: &Shared<'_>,
        source: usize,
    ) -> Result<(Kept, u16), AllocError> {
        let page = shared.spool.page(source);
        let accepted = accept_len(page.len());
        let begun = Instant::now();
        let (kept, payload) =
            match encode(shared.codecs.of(source), page, &mut self.scratch[..accepted]) {
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
        #[expect(clippy::cast_possible_truncation, reason = "at most a page")]
        let payload = payload as u16;
        Ok((kept, payload))
    }

    /// Loads a slot's page, timed, then checks its hash.
    ///
    /// # Errors
    /// [`LoadError`] when the page is wrong.
    pub(crate) fn load(&mut self, shared: &Shared<'_>, slot: SpoolSlot) -> Result<(), LoadError> {
        let source = slot.source as usize;
        let len = shared.spool.page_len(source);
        let codec = shared.codecs.of(source);
        let Self { object, page: pages, .. } = self;
        let mut start = 0;
        let begun = Instant::now();
        match slot.kept {
            Kept::Nothing => return Ok(()),
            Kept::SameFilled(word) => decode(codec, Encoded::SameFilled(word), &mut pages[..len])?,
            Kept::Compressed(handle) => read(shared, handle, object, |bytes| {
                decode(codec, Encoded::Compressed(bytes), &mut pages[..len])
            })?,
            Kept::Raw(handle) => read(shared, handle, object, |bytes| {
                decode(codec, Encoded::Raw(bytes), &mut pages[..len])
            })?,
            Kept::Member { handle, page } => {
                start = usize::from(page) * PAGE;
                let clusters = shared.codecs.clusters.as_ref().ok_or(LoadError::Content)?;
                read(shared, handle, object, |bytes| {
                    decode_start(clusters.codec, bytes, pages, start + len)
                })?;
            }
        }
        self.loads.record(begun.elapsed());
        let page = &self.page[start..start + len];
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
    mut decode: impl FnMut(&[u8]) -> Result<(), CodecError>,
) -> Result<(), LoadError> {
    let mut outcome = Err(LoadError::Content);
    shared.pool.read(handle, &mut |slices| {
        let bytes = match slices.contiguous() {
            Some(bytes) => Some(bytes),
            None => slices.copy_to(object).map(|len| &object[..len]),
        };
        if let Some(bytes) = bytes {
            outcome = decode(bytes).map_err(LoadError::from);
        }
    })?;
    outcome
}

/// Restores the first `wanted` bytes of a cluster.
fn decode_start(
    codec: &dyn Codec,
    bytes: &[u8],
    pages: &mut [u8],
    wanted: usize,
) -> Result<(), CodecError> {
    let decoded = codec.decompress_start(bytes, pages, wanted)?;
    if decoded < wanted {
        return Err(CodecError::WrongLength { expected: wanted, decoded });
    }
    Ok(())
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
