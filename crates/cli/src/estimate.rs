//! `pagefold estimate`: what would compressed memory save on this input?
//!
//! ```text
//! paths --discover--> files --read, sampler--> spool --worker--> codec, pool --run--> rows
//! ```
//!
//! The input is read once into a spool in memory. Each combination of codec and allocator then gets a fresh pool, one
//! after another, on the same bytes: every page is encoded, stored, read back, and held against its 128-bit hash.
//!
//! | module | holds |
//! |---|---|
//! | [`discover`] | which files there are, and what is skipped |
//! | [`choose`], [`process`], [`mapping`] | which processes, why not, and what their mappings are for |
//! | [`process_read`], [`shared_read`], [`address_space`] | reading a process that runs on: what is its own, what several have |
//! | [`cgroup`], [`identity`] | the processes of a control group; whether a file was met before |
//! | [`dictionary`] | codecs with a dictionary that was trained from the input |
//! | [`core_file`], [`core_notes`], [`core_read`] | what a core file has of a process |
//! | [`sampler`], [`read`], [`spool`] | which pages are kept, how they are read, where they lie |
//! | [`extents`] | which parts of a file have data |
//! | [`plan`], [`headroom`] | how large the sample is, and how much memory there is |
//! | [`projection`] | what a pool of the whole input takes, where only a sample was measured |
//! | [`interval`], [`share`] | what each part of the input came to, and how sure a sample makes of it |
//! | [`worker`], [`latency`] | storing and loading one page, and the time it took |
//! | [`mod@run`], [`passes`], [`row`] | the phases of one run, what a thread does in them, what was measured |

mod address_space;
mod cgroup;
mod choose;
mod core_file;
mod core_notes;
mod core_read;
mod dictionary;
mod discover;
mod extents;
mod headroom;
mod identity;
mod interval;
mod latency;
mod mapping;
mod passes;
mod plan;
mod process;
mod process_read;
mod projection;
mod read;
mod row;
mod run;
mod sampler;
mod share;
mod shared_read;
mod sizes;
mod spool;
mod worker;

use std::thread;

use pagefold_codec::{Codec, Encoded, accept_len, decode, encode};
use pagefold_pool::{Allocator, PoolBuilder};
use pagefold_procfs::{CompressedSwap, Process, compressed_swap, rss_anon};

pub(crate) use self::{
    dictionary::DictionaryNote,
    discover::Skipped,
    interval::Interval,
    latency::Percentiles,
    mapping::MappingKind,
    plan::DEFAULT_SAMPLE,
    process::{MappingSummary, ProcessSummary, Share},
    row::{Phase, Row},
    sizes::{BUCKET_BYTES, Sizes},
    spool::PAGE,
};
use self::{
    interval::Cost,
    projection::Whole,
    read::Sample,
    run::{Bookkeeping, Run},
    spool::Spool,
};
#[cfg(test)]
pub(crate) use self::{process::Proportional, row::test_row};
use crate::{
    args::{EstimateConfig, Output, Sampling},
    exit::Failure,
    interrupt::Interrupt,
    like::{Algorithms, Like},
    progress::Progress,
};

/// Beside the pages themselves: room for the metadata of a small pool.
const LIMIT_SLACK: usize = 64 << 20;

/// How many pages a thread compresses before its first run, so that the codec has made its contexts by then.
const WARM_UP_PAGES: usize = 16;

/// Everything that was found.
#[derive(Debug)]
pub(crate) struct Report {
    pub input: InputSummary,
    /// In the order of the runs, one for each phase.
    pub rows: Vec<Row>,
    /// The first page that did not come back as it was stored.
    pub mismatch: Option<String>,
    /// Why the runs ended early, if they did; the rows before are good.
    pub failure: Option<Failure>,
    /// Whether Ctrl-C cut it short.
    pub interrupted: bool,
}

/// What was read.
#[derive(Debug)]
pub(crate) struct InputSummary {
    /// The bytes that were kept and measured.
    pub bytes: u64,
    pub pages: u64,
    pub same_filled: u64,
    pub skipped: Vec<Skipped>,
    /// The bytes of the whole input.
    pub total_bytes: u64,
    pub total_pages: u64,
    /// The bytes of files' holes, which are not in the figures.
    pub hole_bytes: u64,
    pub files: u64,
    pub seed: u64,
    /// Whether the user chose the fraction.
    pub sample_asked: bool,
    /// The most bytes that are measured.
    pub sample_max: u64,
    /// What leaves no room for as many as are measured by default.
    pub sample_bound: Option<String>,
    /// The processes and core files, in the order they were read.
    pub processes: Vec<ProcessSummary>,
    /// Whether their mappings were asked for.
    pub maps: bool,
    /// What the system has in compressed swap already; only where processes were read.
    pub compressed_swap: Option<CompressedSwap>,
    /// What the kernel has that was followed, if it was.
    pub like: Option<Algorithms>,
    /// What became of each dictionary that was asked for.
    pub dictionaries: Vec<DictionaryNote>,
}

impl InputSummary {
    /// Whether some pages were left out.
    pub(crate) fn is_sampled(&self) -> bool {
        self.pages < self.total_pages
    }
}

/// Reads the input and measures every combination of codec and allocator on it.
///
/// # Errors
/// When nothing can be measured; what could be is in the report.
pub(crate) fn measure(config: &EstimateConfig, output: Output) -> Result<Report, Failure> {
    check_pools(config)?;
    let interrupt = Interrupt::install()?;
    let progress = Progress::new(output);
    let mut sample = read::read(config, &progress)?;
    interrupt.set_reportable();

    let input = summary(&mut sample, config);
    let mut report =
        Report { input, rows: Vec::new(), mismatch: None, failure: None, interrupted: false };
    report.failure = run_all(config, &sample.spool, &interrupt, &progress, &mut report).err();
    progress.finish();
    report.interrupted = interrupt.is_requested();
    Ok(report)
}

/// Runs every combination, and adds to `report` what each one gives.
fn run_all(
    config: &EstimateConfig,
    spool: &Spool,
    interrupt: &Interrupt,
    progress: &Progress,
    report: &mut Report,
) -> Result<(), Failure> {
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

/// Finds out before anything is read whether the pools and codecs can be built at all.
fn check_pools(config: &EstimateConfig) -> Result<(), Failure> {
    for &allocator in &config.allocators {
        if let Some(limit) = config.limit {
            pool_builder(config, allocator).limit(limit).build().map_err(Failure::Limit)?;
        }
    }
    for choice in &config.codecs {
        choice.spec.build()?;
    }
    Ok(())
}

/// A pool as it is measured.
fn pool_builder(config: &EstimateConfig, allocator: Allocator) -> PoolBuilder {
    PoolBuilder::new(match allocator {
        // The kernel's classes do not lend slots.
        Allocator::Zsmalloc(options) if config.like.is_some() => {
            options.class_lending(false).into()
        }
        allocator => allocator,
    })
}

fn summary(sample: &mut Sample, config: &EstimateConfig) -> InputSummary {
    let processes = std::mem::take(&mut sample.processes);
    InputSummary {
        bytes: sample.spool.total_bytes(),
        pages: sample.spool.len() as u64,
        same_filled: sample.spool.same_filled(),
        skipped: sample.skipped.clone(),
        total_bytes: sample.total_bytes,
        total_pages: sample.total_pages,
        hole_bytes: sample.hole_bytes,
        files: sample.files,
        seed: config.seed,
        sample_asked: matches!(config.sampling, Sampling::Fraction(_)),
        sample_max: sample.cap,
        sample_bound: sample.bound.clone(),
        // Beside the figures; a system that does not say costs nothing but this line.
        compressed_swap: processes
            .iter()
            .any(|process| process.process_id.is_some() && process.core.is_none())
            .then(|| compressed_swap().unwrap_or_default()),
        processes,
        maps: config.maps,
        like: config.like.map(Like::algorithms),
        dictionaries: Vec::new(),
    }
}

/// Measures one codec with one allocator in a fresh pool; adds its rows and returns its first mismatch.
fn run(
    config: &EstimateConfig,
    codec: &dyn Codec,
    allocator: Allocator,
    spool: &Spool,
    (interrupt, progress): (&Interrupt, &Progress),
    report: &mut Report,
) -> Result<Option<String>, Failure> {
    let limit = config.limit.unwrap_or_else(|| limit_for(spool.len()));
    let books = Bookkeeping::new(spool, config.threads.get());
    let dictionary = dictionary::bytes_of(&report.input.dictionaries, codec.name());
    let rss_before = rss_anon(Process::Current).ok();
    let pool = headroom::build_pool(config, allocator, limit)?;
    let input = &report.input;
    let whole = Whole { pages: input.total_pages, sample_max: input.sample_max };
    let seed = config.seed;
    let mut run = Run {
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
    // Its memory may be what the projection needs.
    drop(pool);
    if let Some(fill) = report.rows[first..].iter_mut().find(|row| row.phase == Phase::Fill) {
        let cost = match lengths.filter(|_| fill.is_complete()) {
            Some(lengths) => lengths.cost(config, allocator, fill, whole.pages)?,
            None => Cost::of(fill),
        };
        share::attribute(&filled, cost, fill, &mut report.input);
    }
    // A limit of our own holds every page even if none compresses, so it is the system that has no more.
    if config.limit.is_none() && report.rows[first..].iter().any(|row| row.limit_reached) {
        return Err(Failure::OutOfMemory { bytes: limit as u64, what: "a pool" });
    }
    Ok(mismatch)
}

/// A limit that holds every page even if none of them compresses.
fn limit_for(pages: usize) -> usize {
    let bytes = pages.saturating_mul(PAGE);
    bytes.saturating_add(bytes / 100 * 15).saturating_add(LIMIT_SLACK)
}

/// Compresses and decompresses a few pages on each thread: contexts that a codec makes on first use are its own
/// memory, not the pool's, and the time they take is nobody's store.
fn warm_up(codec: &dyn Codec, spool: &Spool, threads: usize) -> Result<(), Failure> {
    let body = || {
        let (mut scratch, mut page) = ([0; accept_len(PAGE)], [0; PAGE]);
        for index in 0..spool.len().min(WARM_UP_PAGES) {
            let accepted = accept_len(spool.page_len(index));
            let encoded = encode(codec, spool.page(index), &mut scratch[..accepted]);
            if let Encoded::Compressed(_) = encoded {
                // Whether it comes back right is found out, and reported, when it was in a pool.
                let _ = decode(codec, encoded, &mut page[..spool.page_len(index)]);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            thread::Builder::new().spawn_scoped(scope, body).map_err(Failure::Thread)?;
        }
        Ok(())
    })
}
