//! Measures the pages: each combination of codec and allocator gets a fresh pool and the same bytes.
//!
//! [`mod@run`] runs the phases, [`passes`], [`idle`] and [`worker`] a thread's work, timed in [`latency`]; [`codecs`] are
//! those of a run, [`dictionary`] and [`training`] give them dictionaries; [`filled`] adds up what a fill stored;
//! [`projection`] scales a sample up; [`attribute`] gives each part its share;
//! [`base`] compares pages with those of a base.

mod attribute;
pub(crate) mod base;
mod codecs;
mod dictionary;
mod filled;
mod idle;
mod latency;
mod passes;
mod projection;
mod run;
mod training;
mod worker;

use std::thread;

use pagefold_codec::{CodecSpec, Encoded, accept_len, decode, encode};
use pagefold_pool::Allocator;
use pagefold_procfs::{Process, rss_anon};

use crate::{
    estimate::{
        codec_choice::CodecChoice,
        config::{EstimateConfig, PAGE},
        error::EstimateError,
        measure::{
            codecs::{ClusterCodec, Codecs},
            dictionary::Built,
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

/// Behind the name of a codec whose idle pages lie in clusters.
const IDLE: &str = "+idle";

pub(super) fn run_all(
    config: &EstimateConfig,
    spool: &Spool,
    interrupt: &Interrupt,
    progress: &Progress,
    report: &mut EstimateReport,
) -> Result<(), EstimateError> {
    let idle_spec = CodecSpec::for_idle_pages();
    let idle_name = idle_spec.to_string();
    let idle_codec = config.idle.as_ref().map(|_| idle_spec.build_for_clusters()).transpose()?;
    for job in jobs(config) {
        let total_pages = report.input.total_pages;
        let (built, note) = dictionary::build(job.choice, spool, total_pages, config.seed)?;
        report.input.dictionaries.extend(note);
        let Some(Built { name, codec, trained, dictionary_bytes }) = built else { continue };
        let idle_run_name = format!("{name}{IDLE}");
        let plain = Codecs {
            name: &name,
            own: &*codec,
            trained: trained.as_ref(),
            dictionary_bytes,
            clusters: None,
        };
        let clusters =
            idle_codec.as_ref().map(|codec| ClusterCodec { name: &idle_name, codec: &**codec });
        let idle = Codecs { name: &idle_run_name, clusters, ..plain };
        for (codecs, allocators) in [(plain, job.allocators), (idle, job.idle_allocators)] {
            if !allocators.is_empty() {
                warm_up(codecs, spool, config.threads.get())?;
            }
            for &allocator in allocators {
                if interrupt.is_requested() {
                    return Ok(());
                }
                let mismatch =
                    run(config, codecs, allocator, spool, (interrupt, progress), report)?;
                report.mismatch = report.mismatch.take().or(mismatch);
            }
        }
    }
    Ok(())
}

/// The runs of one codec.
struct Job<'a> {
    choice: CodecChoice,
    allocators: &'a [Allocator],
    idle_allocators: &'a [Allocator],
}

/// The codecs in their order; behind them those that only idle runs have.
fn jobs(config: &EstimateConfig) -> Vec<Job<'_>> {
    let idle = config.idle.as_ref();
    let idle_allocators = |choice| {
        let has = idle.filter(|idle| idle.codecs.contains(&choice));
        has.map_or(&[][..], |idle| &idle.allocators)
    };
    let named = config.codecs.iter().map(|&choice| Job {
        choice,
        allocators: &config.allocators,
        idle_allocators: idle_allocators(choice),
    });
    let others = idle.map_or(&[][..], |idle| &idle.codecs).iter();
    let others = others.filter(|choice| !config.codecs.contains(choice)).map(|&choice| Job {
        choice,
        allocators: &[],
        idle_allocators: idle_allocators(choice),
    });
    named.chain(others).collect()
}

/// Checks before reading that the pools and codecs can be built.
pub(super) fn check_pools(config: &EstimateConfig) -> Result<(), EstimateError> {
    let idle = config.idle.as_ref().map_or(&[][..], |idle| &idle.allocators);
    for &allocator in config.allocators.iter().chain(idle) {
        if let Some(limit) = config.limit {
            pool_builder(config, allocator).limit(limit).build().map_err(EstimateError::Limit)?;
        }
    }
    for job in jobs(config) {
        job.choice.spec.build()?;
    }
    Ok(())
}

/// Measures one combination; returns its first mismatch.
fn run(
    config: &EstimateConfig,
    codecs: Codecs<'_>,
    allocator: Allocator,
    spool: &Spool,
    (interrupt, progress): (&Interrupt, &Progress),
    report: &mut EstimateReport,
) -> Result<Option<String>, EstimateError> {
    let limit = config.limit.unwrap_or_else(|| limit_for(spool.len()));
    let books = Bookkeeping::new(spool, config.threads.get());
    let rss_before = rss_anon(Process::Current).ok();
    let pool = build_pool(config, allocator, limit)?;
    let input = &report.input;
    let whole = Whole { pages: input.total_pages, sample_max: input.sample_max };
    let seed = config.seed;
    let mut run = Measurement {
        spool,
        codecs,
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
    // An idle page is neither overwritten nor freed.
    let lifecycle = config.lifecycle && codecs.clusters.is_none();
    let mismatch = run.phases(lifecycle, &mut report.rows)?;
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
fn warm_up(codecs: Codecs<'_>, spool: &Spool, threads: usize) -> Result<(), EstimateError> {
    let body = || {
        let (mut scratch, mut page) = ([0; accept_len(PAGE)], [0; PAGE]);
        if let Some(clusters) = &codecs.clusters {
            idle::warm_up(clusters.codec);
        }
        for index in 0..spool.len().min(WARM_UP_PAGES) {
            let accepted = accept_len(spool.page_len(index));
            let codec = codecs.of(index);
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
