//! A fill as if every page were idle: what a store's idle pass makes of a leaf.
//!
//! The pages of a leaf that are neither same-filled nor short are taken four at a time, in order. If they save enough as
//! a cluster, that is stored; otherwise, and for the rest of the leaf, each page alone.
//!
//! The time of a store is that of compressing the page alone, as at its put, and a quarter of the time for its cluster.

use std::time::{Duration, Instant};

use pagefold_codec::{Codec, accept_len, checked_compress, encode, same_filled};
use pagefold_pool::AllocError;

use crate::estimate::{
    config::PAGE,
    error::EstimateError,
    measure::{
        passes::{Ended, Pass, SlotShare, stopped},
        worker::{Shared, SpoolSlot, Worker},
    },
    result::{
        clusters::Groups,
        kept::{CLUSTER_PAGES, Kept},
    },
};

pub(crate) const CLUSTER_BYTES: usize = CLUSTER_PAGES * PAGE;

/// A cluster saves at least one in so many bytes of what its pages take alone, as in a store.
const SAVED_AT_LEAST_ONE_IN: usize = 32;

/// A store counts lengths in such steps.
const STEP_BYTES: usize = 16;

/// A thread's memory for clusters.
#[derive(Debug)]
pub(crate) struct Making {
    pub(crate) groups: Groups,
    pages: Vec<u8>,
    singles: Vec<u8>,
    object: Vec<u8>,
}

/// A page alone, compressed.
#[derive(Debug, Clone, Copy)]
struct Single {
    /// `None` if it is incompressible.
    len: Option<usize>,
    time: Duration,
}

impl Making {
    pub(crate) fn new() -> Self {
        // Ones: zeroed memory would not be resident.
        Self {
            groups: Groups::default(),
            pages: vec![1; CLUSTER_BYTES],
            singles: vec![1; CLUSTER_BYTES],
            object: vec![1; CLUSTER_BYTES],
        }
    }

    /// The length of the cluster in `object`; `None` if the pages stay alone.
    fn cluster(
        &mut self,
        shared: &Shared<'_>,
        group: &[SpoolSlot],
        alone: [usize; CLUSTER_PAGES],
    ) -> Option<usize> {
        let clusters = shared.codecs.clusters.as_ref()?;
        for (slot, page) in group.iter().zip(self.pages.chunks_exact_mut(PAGE)) {
            page.copy_from_slice(shared.spool.page(slot.source as usize));
        }
        let sum: usize = alone.iter().sum();
        let below = sum - sum / SAVED_AT_LEAST_ONE_IN;
        let room = below.saturating_sub(1).min(CLUSTER_BYTES);
        let len = checked_compress(clusters.codec, &self.pages, &mut self.object[..room]);
        // A store counts a quarter of it for each page.
        let counted =
            |len: &usize| len.div_ceil(CLUSTER_PAGES).next_multiple_of(STEP_BYTES) * CLUSTER_PAGES;
        let counted_alone: usize = alone.iter().map(|len| len.next_multiple_of(STEP_BYTES)).sum();
        let Some(len) = len.filter(|len| counted(len) <= counted_alone) else {
            self.groups.not_shorter += 1;
            return None;
        };
        if len > shared.pool.max_len() {
            self.groups.too_long += 1;
            return None;
        }
        Some(len)
    }
}

/// Makes the contexts of the codec for clusters.
pub(crate) fn warm_up(codec: &dyn Codec) {
    let pages: Vec<u8> = (0..=250).flat_map(|byte| [byte; 7]).cycle().take(CLUSTER_BYTES).collect();
    let (mut object, mut back) = (vec![0; CLUSTER_BYTES], vec![0; CLUSTER_BYTES]);
    if let Some(len) = checked_compress(codec, &pages, &mut object) {
        // The run checks the content.
        let _ = codec.decompress_start(&object[..len], &mut back, CLUSTER_BYTES);
    }
}

/// A pass over whole leaves.
pub(crate) fn fill(shared: &Shared<'_>, worker: &mut Worker, share: SlotShare<'_>) -> Pass<Ended> {
    let begins = |slot: &SpoolSlot| shared.spool.begins_unit(slot.source as usize);
    for leaf in share.slots.chunk_by_mut(|_, next| !begins(next)) {
        if shared.should_stop() {
            return Ok(stopped(shared));
        }
        let ended = match fill_leaf(shared, worker, leaf) {
            Ok(()) => continue,
            Err((AllocError::OutOfMemory { .. }, _)) => Ended::LimitReached,
            Err((reason, page)) => {
                let (allocator, page) = (shared.pool.name(), shared.spool.describe(page));
                return Err(EstimateError::Store { allocator, page, reason });
            }
        };
        shared.halt();
        return Ok(ended);
    }
    Ok(Ended::Complete)
}

/// The error names the page.
fn fill_leaf(
    shared: &Shared<'_>,
    worker: &mut Worker,
    leaf: &mut [SpoolSlot],
) -> Result<(), (AllocError, usize)> {
    let may_join = |slot: &SpoolSlot| {
        let page = shared.spool.page(slot.source as usize);
        page.len() == PAGE && same_filled(page).is_none()
    };
    let (mut group, mut places) = ([leaf[0]; CLUSTER_PAGES], [0; CLUSTER_PAGES]);
    let mut found = 0;
    let mut alone = Vec::new();
    for at in 0..leaf.len() {
        if !may_join(&leaf[at]) {
            alone.push(at);
            continue;
        }
        (group[found], places[found]) = (leaf[at], at);
        found += 1;
        if found == CLUSTER_PAGES {
            found = 0;
            let result = fill_group(shared, worker, &mut group);
            for (slot, &place) in group.iter().zip(&places) {
                leaf[place] = *slot;
            }
            result?;
        }
    }
    for at in alone.into_iter().chain(places[..found].iter().copied()) {
        let source = leaf[at].source as usize;
        let stored = worker.store(shared, source).map_err(|reason| (reason, source))?;
        (leaf[at].kept, leaf[at].payload) = stored;
        worker.tick(shared);
    }
    Ok(())
}

/// Stores four pages, together or alone.
fn fill_group(
    shared: &Shared<'_>,
    worker: &mut Worker,
    group: &mut [SpoolSlot; CLUSTER_PAGES],
) -> Result<(), (AllocError, usize)> {
    let singles = compress_alone(shared, worker, group);
    let begun = Instant::now();
    let alone = singles.map(|single| single.len.unwrap_or(PAGE));
    let making = &mut worker.making;
    let made = making.cluster(shared, group, alone);
    let handle = made.map(|len| shared.pool.store(&making.object[..len])).transpose();
    let handle = handle.map_err(|reason| (reason, group[0].source as usize))?;
    #[expect(clippy::cast_possible_truncation, reason = "few pages")]
    let part = begun.elapsed() / CLUSTER_PAGES as u32;
    for (at, (slot, single)) in group.iter_mut().zip(singles).enumerate() {
        let mut time = single.time + part;
        if let (Some(handle), Some(len)) = (handle, made) {
            // The first pages have the bytes that do not divide.
            let share = len / CLUSTER_PAGES + usize::from(at < len % CLUSTER_PAGES);
            #[expect(clippy::cast_possible_truncation, reason = "at most a page; few pages")]
            let (payload, page) = (share as u16, at as u8);
            (slot.payload, slot.kept) = (payload, Kept::Member { handle, page });
            worker.sizes.record(share);
        } else {
            let begun = Instant::now();
            let scratch = &worker.making.singles[at * PAGE..];
            let source = slot.source as usize;
            let bytes = match single.len {
                Some(len) => &scratch[..len],
                None => shared.spool.page(source),
            };
            let handle = shared.pool.store(bytes).map_err(|reason| (reason, source))?;
            time += begun.elapsed();
            #[expect(clippy::cast_possible_truncation, reason = "at most a page")]
            let payload = bytes.len() as u16;
            let kept = if single.len.is_some() { Kept::Compressed } else { Kept::Raw };
            (slot.payload, slot.kept) = (payload, kept(handle));
            if single.len.is_some() {
                worker.sizes.record(bytes.len());
            }
        }
        worker.stores.record(time);
        worker.tick(shared);
    }
    worker.making.groups.clusters += u64::from(handle.is_some());
    Ok(())
}

/// Compresses each page to its place in `singles`.
fn compress_alone(
    shared: &Shared<'_>,
    worker: &mut Worker,
    group: &[SpoolSlot; CLUSTER_PAGES],
) -> [Single; CLUSTER_PAGES] {
    std::array::from_fn(|at| {
        let source = group[at].source as usize;
        let scratch = &mut worker.making.singles[at * PAGE..][..accept_len(PAGE)];
        let begun = Instant::now();
        let encoded = encode(shared.codecs.of(source), shared.spool.page(source), scratch);
        let len = match encoded {
            pagefold_codec::Encoded::Compressed(bytes) => Some(bytes.len()),
            _ => None,
        };
        Single { len, time: begun.elapsed() }
    })
}
