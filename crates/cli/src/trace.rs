//! `pagefold estimate --trace FILE`: what would each allocator take for these objects, and how long?
//!
//! A trace is a sequence of `pagefold torture`. Of its steps those that any allocator does in the same way are done:
//! objects are stored, written, read and freed, and there is compaction and trimming. Nothing is verified here; that is
//! what `torture --replay` is for. Contents are incompressible, so a pool sees what a codec would have made.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufReader, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use pagefold_pool::{Allocator, Handle, Pool, PoolBuilder, Stats};
use pagefold_testkit::{
    pattern::Pattern,
    trace::{Step, Trace, TraceError},
};
use serde::Serialize;

use crate::{
    args::Output,
    bytes,
    exit::{self, Exit, Failure},
    printable::printable,
};

/// What is to be measured.
#[derive(Debug)]
pub(crate) struct TraceConfig {
    pub path: PathBuf,
    /// In order; at least one.
    pub allocators: Vec<Allocator>,
    /// In place of the trace's own.
    pub limit: Option<usize>,
    pub output: Output,
}

/// The version of the JSON.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Document {
    version: u32,
    trace: String,
    steps: usize,
    limit_bytes: usize,
    runs: Vec<Run>,
}

/// What one allocator made of the trace.
#[derive(Debug, Serialize)]
struct Run {
    allocator: String,
    refused: u64,
    left_out: u64,
    /// Where most payload would be, if nothing were refused.
    fullest: Account,
    end: Account,
    store_ns: Option<f64>,
    write_ns: Option<f64>,
    read_ns: Option<f64>,
    free_ns: Option<f64>,
}

#[derive(Debug, Default, Serialize)]
struct Account {
    objects: u64,
    payload_bytes: u64,
    frame_bytes: u64,
    metadata_bytes: u64,
    density: f64,
    metadata_bytes_per_object: Option<f64>,
}

impl From<Stats> for Account {
    fn from(stats: Stats) -> Self {
        Self {
            objects: stats.objects,
            payload_bytes: stats.payload_bytes,
            frame_bytes: stats.frame_bytes,
            metadata_bytes: stats.metadata_bytes,
            density: stats.density(),
            metadata_bytes_per_object: (stats.objects > 0)
                .then(|| stats.metadata_bytes as f64 / stats.objects as f64),
        }
    }
}

/// Reads a trace.
///
/// # Errors
/// [`Failure::Trace`].
pub(crate) fn read(path: &Path) -> Result<Trace, Failure> {
    let wrong = |source| Failure::Trace { path: path.to_owned(), source };
    let file = File::open(path).map_err(|source| wrong(TraceError::Io { line: 1, source }))?;
    Trace::read(&mut BufReader::new(file)).map_err(wrong)
}

/// Measures, and prints what came of it.
///
/// # Errors
/// When the trace cannot be used, no pool can be built, or stdout cannot be written.
pub(crate) fn estimate(config: &TraceConfig) -> Result<Exit, Failure> {
    let trace = read(&config.path)?;
    let limit = config.limit.unwrap_or(trace.header.limit);
    let fullest = fullest(&trace.steps);
    let runs: Result<Vec<Run>, Failure> = config
        .allocators
        .iter()
        .map(|allocator| {
            let pool = PoolBuilder::new(*allocator).limit(limit).build().map_err(Failure::Limit)?;
            Ok(Replay::new(&*pool, trace.header.seed.value()).run(&trace.steps, fullest))
        })
        .collect();
    let document = Document {
        version: VERSION,
        trace: config.path.display().to_string(),
        steps: trace.steps.len(),
        limit_bytes: limit,
        runs: runs?,
    };
    let mut text = Vec::new();
    let composed =
        if config.output.json { json(&document, &mut text) } else { table(&document, &mut text) };
    composed.map_err(Failure::Output)?;
    exit::print_text(&text)
}

/// The step after which there is most payload, if nothing is refused.
fn fullest(steps: &[Step]) -> usize {
    let (mut lengths, mut payload, mut most, mut at) = (HashMap::new(), 0, 0, 0);
    for (index, step) in steps.iter().enumerate() {
        match *step {
            Step::Store { object, len } | Step::Alloc { object, len } => {
                payload += u64::from(len);
                lengths.insert(object, len);
            }
            Step::Free { object } => {
                payload -= lengths.remove(&object).map_or(0, u64::from).min(payload);
            }
            _ => {}
        }
        if payload > most {
            (most, at) = (payload, index);
        }
    }
    at
}

/// Operations of one kind, and how long they took.
#[derive(Debug, Default)]
struct Times {
    count: u32,
    sum: Duration,
}

impl Times {
    fn time<T>(&mut self, f: impl FnOnce() -> T) -> T {
        let begin = Instant::now();
        let outcome = f();
        self.sum += begin.elapsed();
        self.count += 1;
        outcome
    }

    fn mean_ns(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum.as_secs_f64() * 1e9 / f64::from(self.count))
    }
}

struct Replay<'p> {
    pool: &'p dyn Pool,
    seed: u64,
    objects: HashMap<u32, (Handle, usize)>,
    buffer: Vec<u8>,
    refused: u64,
    left_out: u64,
    store: Times,
    write: Times,
    read: Times,
    free: Times,
}

impl<'p> Replay<'p> {
    fn new(pool: &'p dyn Pool, seed: u64) -> Self {
        Self {
            pool,
            seed,
            objects: HashMap::new(),
            buffer: Vec::new(),
            refused: 0,
            left_out: 0,
            store: Times::default(),
            write: Times::default(),
            read: Times::default(),
            free: Times::default(),
        }
    }

    fn run(mut self, steps: &[Step], fullest: usize) -> Run {
        let mut account = Account::default();
        for (index, step) in steps.iter().enumerate() {
            if !self.perform(*step) {
                self.left_out += 1;
            }
            if index == fullest {
                account = self.pool.stats().into();
            }
        }
        Run {
            allocator: self.pool.name().to_owned(),
            refused: self.refused,
            left_out: self.left_out,
            fullest: account,
            end: self.pool.stats().into(),
            store_ns: self.store.mean_ns(),
            write_ns: self.write.mean_ns(),
            read_ns: self.read.mean_ns(),
            free_ns: self.free.mean_ns(),
        }
    }

    /// `false`: the step is none of those that are done here, or its object is not there.
    fn perform(&mut self, step: Step) -> bool {
        let pool = self.pool;
        match step {
            Step::Store { object, len } | Step::Alloc { object, len } => {
                if self.objects.contains_key(&object) {
                    return false;
                }
                let len = usize::try_from(len).unwrap_or(usize::MAX);
                self.fill(object, 0, len);
                let bytes = &self.buffer;
                match self.store.time(|| pool.store(bytes)) {
                    Ok(handle) => _ = self.objects.insert(object, (handle, len)),
                    Err(_) => self.refused += 1,
                }
                true
            }
            Step::Write { object, version } => {
                let Some((handle, len)) = self.objects.get(&object).copied() else { return false };
                self.fill(object, version, len);
                let bytes = &self.buffer;
                self.refused += u64::from(self.write.time(|| pool.write(handle, bytes)).is_err());
                true
            }
            Step::Read { object } | Step::Hold { object, .. } => {
                let Some((handle, len)) = self.objects.get(&object).copied() else { return false };
                self.buffer.resize(len, 0);
                let bytes = &mut self.buffer;
                self.read.time(|| pool.read_into(handle, bytes)).is_ok()
            }
            Step::Free { object } => {
                let Some((handle, _)) = self.objects.remove(&object) else { return false };
                self.free.time(|| pool.free(handle)).is_ok()
            }
            Step::Compact { bytes } => {
                pool.compact(usize::try_from(bytes).unwrap_or(usize::MAX));
                true
            }
            Step::Trim => {
                pool.trim();
                true
            }
            _ => false,
        }
    }

    fn fill(&mut self, object: u32, version: u32, len: usize) {
        self.buffer.resize(len, 0);
        Pattern::new(self.seed, object.into(), version.into()).fill(&mut self.buffer);
    }
}

fn json(document: &Document, out: &mut Vec<u8>) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, document)?;
    writeln!(out)
}

fn table(document: &Document, out: &mut Vec<u8>) -> io::Result<()> {
    let Document { trace, steps, limit_bytes, runs, .. } = document;
    let (trace, limit) = (printable(trace), bytes::show(*limit_bytes as u64));
    writeln!(out, "{trace}: {steps} steps, limit {limit}\n")?;
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    let figure = |figure: Option<f64>| {
        figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.0}"))
    };
    let mut row = |words: &str, cell: &dyn Fn(&Run) -> String| {
        let cells = runs.iter().map(|run| right(cell(run)));
        table.add_row(std::iter::once(Cell::new(words)).chain(cells));
    };
    row("", &|run| run.allocator.clone());
    row("refused", &|run| run.refused.to_string());
    let per_object = |account: &Account| {
        account
            .metadata_bytes_per_object
            .map_or_else(|| "-".to_owned(), |bytes| format!("{bytes:.1}"))
    };
    for (when, account) in [
        ("at its fullest", (|run| &run.fullest) as fn(&Run) -> &Account),
        ("at the end", |run| &run.end),
    ] {
        row(&format!("payload {when}"), &|run| bytes::show(account(run).payload_bytes));
        row(&format!("density {when}"), &|run| format!("{:.3}", account(run).density));
        row(&format!("metadata, B an object, {when}"), &|run| per_object(account(run)));
    }
    row("store, ns", &|run| figure(run.store_ns));
    row("write, ns", &|run| figure(run.write_ns));
    row("read, ns", &|run| figure(run.read_ns));
    row("free, ns", &|run| figure(run.free_ns));
    writeln!(out, "{table}")?;
    let left_out = runs.iter().map(|run| run.left_out).max().unwrap_or(0);
    writeln!(out, "\n{left_out} steps left out: of other kinds, or on objects that were refused")
}
