//! Measures the pages: each combination of codec and allocator gets a fresh pool and the same bytes.
//!
//! [`mod@run`] runs the phases, [`passes`] and [`worker`] a thread's work, timed in [`latency`]; [`dictionary`] trains
//! codecs; [`projection`] scales a sample up; [`attribute`] gives each part its share.

mod attribute;
mod dictionary;
mod latency;
mod passes;
mod projection;
mod run;
mod worker;

use std::thread;

use pagefold_codec::{Codec, Encoded, accept_len, decode, encode};
use pagefold_pool::Allocator;
use pagefold_procfs::{Process, rss_anon};

use crate::{
    estimate::{
        config::{EstimateConfig, PAGE},
        error::EstimateError,
        measure::{
            projection::Whole,
            run::{Bookkeeping, Measurement},
        },
        pool::{build_pool, limit_for, pool_builder},
        read::spool::Spool,
        result::{report::EstimateReport, row::Phase},
    },
    interrupt::Interrupt,
    progress::Progress,
};

/// Pages that a thread compresses first, so that the codec makes its contexts.
const WARM_UP_PAGES: usize = 16;

pub(super) fn run_all(
    config: &EstimateConfig,
    spool: &Spool,
    interrupt: &Interrupt,
    progress: &Progress,
    report: &mut EstimateReport,
) -> Result<(), EstimateError> {
    for &choice in &config.codecs {
        let (codec, note) = dictionary::build(choice, spool, config.seed)?;
        report.input.dictionaries.extend(note);
        let Some(codec) = codec else { continue };
        warm_up(&*codec, spool, config.threads.get())?;
        for &allocator in &config.allocators {
            if interrupt.is_requested() {
                return Ok(());
            }
            let mismatch = run(config, &*codec, allocator, spool, (interrupt, progress), report)?;
            report.mismatch = report.mismatch.take().or(mismatch);
        }
    }
    Ok(())
}

/// Checks before reading that the pools and codecs can be built.
pub(super) fn check_pools(config: &EstimateConfig) -> Result<(), EstimateError> {
    for &allocator in &config.allocators {
        if let Some(limit) = config.limit {
            pool_builder(config, allocator).limit(limit).build().map_err(EstimateError::Limit)?;
        }
    }
    for choice in &config.codecs {
        choice.spec.build()?;
    }
    Ok(())
}

/// Measures one combination; returns its first mismatch.
fn run(
    config: &EstimateConfig,
    codec: &dyn Codec,
    allocator: Allocator,
    spool: &Spool,
    (interrupt, progress): (&Interrupt, &Progress),
    report: &mut EstimateReport,
) -> Result<Option<String>, EstimateError> {
    let limit = config.limit.unwrap_or_else(|| limit_for(spool.len()));
    let books = Bookkeeping::new(spool, config.threads.get());
    let dictionary = dictionary::bytes_of(&report.input.dictionaries, codec.name());
    let rss_before = rss_anon(Process::Current).ok();
    let pool = build_pool(config, allocator, limit)?;
    let input = &report.input;
    let whole = Whole { pages: input.total_pages, sample_max: input.sample_max };
    let seed = config.seed;
    let mut run = Measurement {
        spool,
        codec,
        dictionary,
        pool: &*pool,
        interrupt,
        progress,
        books,
        rss_before,
        seed,
        whole,
        passes: 0,
    };
    let first = report.rows.len();
    let mismatch = run.phases(config.lifecycle, &mut report.rows)?;
    let Bookkeeping { filled, lengths, .. } = run.books;
    drop(pool);
    if let Some(fill) = report.rows[first..].iter_mut().find(|row| row.phase == Phase::Fill) {
        let cost = match lengths.filter(|_| fill.is_complete()) {
            Some(lengths) => lengths.cost(config, allocator, fill, whole.pages)?,
            None => fill.cost(),
        };
        attribute::attribute(&filled, cost, fill, &mut report.input);
    }
    // Our own limit has room for every page: the system is out of memory.
    if config.limit.is_none() && report.rows[first..].iter().any(|row| row.limit_reached) {
        return Err(EstimateError::OutOfMemory { bytes: limit as u64, what: "a pool" });
    }
    Ok(mismatch)
}

/// Makes the codec's contexts on each thread: neither the pool's memory nor a store's time.
fn warm_up(codec: &dyn Codec, spool: &Spool, threads: usize) -> Result<(), EstimateError> {
    let body = || {
        let (mut scratch, mut page) = ([0; accept_len(PAGE)], [0; PAGE]);
        for index in 0..spool.len().min(WARM_UP_PAGES) {
            let accepted = accept_len(spool.page_len(index));
            let encoded = encode(codec, spool.page(index), &mut scratch[..accepted]);
            if let Encoded::Compressed(_) = encoded {
                // The run checks the content.
                let _ = decode(codec, encoded, &mut page[..spool.page_len(index)]);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            thread::Builder::new().spawn_scoped(scope, body).map_err(EstimateError::Thread)?;
        }
        Ok(())
    })
}
