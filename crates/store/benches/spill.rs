//! What a backing costs gets of pages in memory, what a get of a spilled page takes, and how fast pages leave memory.
//!
//! `cargo bench -p pagefold-store --bench spill [-- DIRECTORY] [MEGABYTES] [ROUNDS] [gets | speeds]` prints tables: the median over the rounds, and the
//! lowest and the highest round; then the targets, as quotients of medians of this run. Every page that comes back is compared with
//! what was put. Files are made in DIRECTORY. *Flushed*: up to the end of `sync -f DIRECTORY`, when the bytes are on the disk; without it, when the last write
//! has returned. Each measurement ends with a flush, so none pays for another.
//!
//! - *In memory*: gets of 2000 pages that stay in memory, in a store of 64 MiB that is at its limit. *Puts beside*: another thread puts 64 pages every
//!   5 ms, which have to make room. *Dead*: the backing refuses every call. *Slow*: each call takes 400 ms.
//! - *Spilled*: gets of pages whose extents are in the page cache; each page once.
//! - *Spill path*: a store full of pages whose limit is lowered. *End to end*: puts of MEGABYTES of pages once memory is full, which wait for the
//!   spiller. *Raw*: pages that no codec makes shorter. *Plain*: as many bytes, an extent at a time, to a file of the same directory.
#![forbid(unsafe_code)]

use std::{
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use pagefold_codec::Raw;
use pagefold_store::{
    Page, Space, SpaceConfig, Store, StoreBuilder,
    spill::{EXTENT_BYTES, FileBacking, Spill},
};
use pagefold_testkit::{
    backing::{FaultyBacking, ReadFault, WriteFault},
    corpus::Mix,
    seed::Seed,
};
use rand::{Rng as _, RngExt as _, seq::SliceRandom as _};

const LIMIT: usize = 64 << 20;
const HOT: u64 = 2000;
const GETS: usize = 100_000;
const BURST: usize = 64;
const BURST_EVERY: Duration = Duration::from_millis(5);

/// Of samples in microseconds: the median and the 99th percentile.
fn percentiles(mut samples: Vec<f64>) -> [f64; 2] {
    samples.sort_by(f64::total_cmp);
    [samples[samples.len() / 2], samples[samples.len() * 99 / 100]]
}

#[derive(Default)]
struct Rows(Vec<(String, &'static str, Vec<f64>)>);

impl Rows {
    fn add(&mut self, name: &str, unit: &'static str, value: f64) {
        match self.0.iter_mut().find(|(known, ..)| known == name) {
            Some((.., values)) => values.push(value),
            None => self.0.push((name.to_owned(), unit, vec![value])),
        }
    }

    /// Without a flush, and with it.
    fn add_speeds(&mut self, name: &str, [speed, flushed]: [f64; 2]) {
        self.add(name, "MB/s", speed);
        self.add(&format!("{name}, flushed"), "MB/s", flushed);
    }

    fn add_percentiles(&mut self, name: &str, samples: Vec<f64>) {
        let [median, high] = percentiles(samples);
        self.add(&format!("{name}, median"), "us", median);
        self.add(&format!("{name}, p99"), "us", high);
    }

    /// `None`: it was not measured.
    fn median(&self, name: &str) -> Option<f64> {
        let mut values = self.0.iter().find(|(known, ..)| known == name)?.2.clone();
        values.sort_by(f64::total_cmp);
        Some(values[values.len() / 2])
    }

    #[expect(clippy::print_stdout, reason = "the table is the output")]
    fn print(&self) {
        println!("| what | median | lowest to highest round |\n|---|---|---|");
        for (name, unit, values) in &self.0 {
            let (low, high) = values
                .iter()
                .fold((f64::MAX, 0_f64), |(low, high), value| (low.min(*value), high.max(*value)));
            let median = self.median(name).expect("a row of the table");
            println!("| {name} | {median:.2} {unit} | {low:.2} to {high:.2} |");
        }
    }

    #[expect(clippy::print_stdout, reason = "the table is the output")]
    fn print_targets(&self) {
        println!("\n| what | over | is | target |\n|---|---|---|---|");
        let line = |name: &str, over: &str, target: f64, at_most: bool| {
            let base = if over == "1 us" { Some(1.0) } else { self.median(over) };
            let (Some(is), Some(base)) = (self.median(name), base) else { return };
            let is = is / base;
            let missed = if (is > target) == at_most && is != target { ": missed" } else { "" };
            let word = if at_most { "at most" } else { "at least" };
            println!("| {name} | {over} | {is:.3} | {word} {target}{missed} |");
        };
        let high = |name: &str| format!("in memory, {name}, p99");
        line(&high("backing idle"), &high("no backing"), 1.2, true);
        for state in ["backing busy", "backing dead", "backing slow"] {
            let name = high(&format!("{state}, puts beside"));
            line(&name, &high("no backing, puts beside"), 1.2, true);
        }
        line("spilled, page cache, encrypted, median", "1 us", 25.0, true);
        // Sustained: at the pace of the disk.
        for path in ["spill path", "end to end"] {
            for kind in ["raw pages", "compressed pages"] {
                for seal in ["encrypted", "checked"] {
                    let name = format!("{path}, {kind}, {seal}, flushed");
                    line(&name, "plain writes, flushed", 0.8, false);
                }
            }
        }
    }
}

/// A page of each kind, marked with its key.
struct Source {
    compressible: Vec<Page>,
    random: Vec<u8>,
}

impl Source {
    fn new() -> Self {
        let mix = Mix { same_filled: 0, ..Mix::PROCESS };
        let pages = mix.pages(&mut Seed::new(0x5b17).rng(0), 4000);
        let compressible =
            pages.iter().map(|page| page.as_slice().try_into().expect("a page")).collect();
        let mut random = vec![0; 4 << 20];
        Seed::new(0x5b17).rng(1).fill_bytes(&mut random);
        Self { compressible, random }
    }

    fn page(&self, key: u64, is_raw: bool) -> Page {
        let number = usize::try_from(key).expect("small");
        let mut page = if is_raw {
            let start = number * 61 % (self.random.len() - 4096);
            self.random[start..][..4096].try_into().expect("a page")
        } else {
            self.compressible[number % self.compressible.len()]
        };
        page[..8].copy_from_slice(&key.to_le_bytes());
        page
    }
}

fn file(directory: &Path, encrypts: bool) -> Spill {
    let backing = FileBacking::new(directory, EXTENT_BYTES).expect("a file");
    Spill::builder(backing).encrypts(encrypts).build().expect("sensible")
}

/// Until the bytes of all files of a directory are on the disk.
fn flush(directory: &Path) {
    let done = Command::new("sync").arg("-f").arg(directory).status();
    assert!(done.expect("coreutils").success());
}

/// In MB/s, without the flush and with it.
fn speeds(bytes: u64, began: Instant, directory: &Path) -> [f64; 2] {
    let written = began.elapsed();
    flush(directory);
    [written, began.elapsed()].map(|took| bytes as f64 / took.as_secs_f64() / 1e6)
}

fn plain(directory: &Path, source: &Source, megabytes: usize) -> [f64; 2] {
    let file = tempfile::tempfile_in(directory).expect("a file");
    let began = Instant::now();
    for extent in 0..megabytes {
        let bytes = &source.random[(extent % 3) << 20..][..EXTENT_BYTES];
        file.write_all_at(bytes, (extent * EXTENT_BYTES) as u64).expect("room");
    }
    speeds((megabytes * EXTENT_BYTES) as u64, began, directory)
}

/// Fills a space until the store is at its limit; the keys that have a page.
fn fill(space: &Space, source: &Source, is_raw: bool, most: u64) -> u64 {
    (0..most).find(|&key| space.put(key, &source.page(key, is_raw)).is_err()).unwrap_or(most)
}

/// Gets of hot pages, each compared.
fn gets(hot: &Space, source: &Source, seed: u64) -> Vec<f64> {
    let mut rng = Seed::new(0x5b18).rng(seed);
    let keys: Vec<u64> = (0..GETS).map(|_| rng.random_range(0..HOT)).collect();
    let mut back = [0; 4096];
    let mut samples = Vec::with_capacity(GETS);
    for key in keys {
        let began = Instant::now();
        hot.get(key, &mut back).expect("in memory");
        samples.push(began.elapsed().as_secs_f64() * 1e6);
        assert!(back == source.page(key, false), "page {key} is another one");
    }
    samples
}

/// The states of a backing beside which pages in memory are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    None,
    NoneWithPuts,
    Idle,
    Busy,
    Dead,
    Slow,
}

const STATES: [(State, &str); 6] = [
    (State::None, "no backing"),
    (State::Idle, "backing idle"),
    (State::NoneWithPuts, "no backing, puts beside"),
    (State::Busy, "backing busy, puts beside"),
    (State::Dead, "backing dead, puts beside"),
    (State::Slow, "backing slow, puts beside"),
];

fn in_memory(
    rows: &mut Rows,
    directory: &Path,
    source: &Source,
    (state, name): (State, &str),
    round: u64,
) {
    let builder = Store::builder().limit(LIMIT).idle_share(0).self_training(false);
    let faulty = Arc::new(FaultyBacking::new(false));
    let builder = match state {
        State::None | State::NoneWithPuts => builder,
        State::Idle | State::Busy => builder.spill(file(directory, true)),
        State::Dead | State::Slow => {
            builder.spill(Spill::builder(Arc::clone(&faulty)).build().expect("sensible"))
        }
    };
    let store = builder.build().expect("room");
    let hot = store.space(SpaceConfig::persistent(HOT)).expect("room");
    assert_eq!(fill(&hot, source, false, HOT), HOT);
    // Far more than memory with a backing; without one as much as there is room for.
    let most = 120_000;
    let cold = store.space(SpaceConfig::persistent(most)).expect("room");
    let count = fill(&cold, source, false, most);
    store.flush();
    match state {
        State::Dead => faulty.fail_all(Some(WriteFault::Fails), Some(ReadFault::Fails)),
        State::Slow => faulty.fail_all(Some(WriteFault::Slow), Some(ReadFault::Hangs)),
        _ => {}
    }
    let done = AtomicBool::new(false);
    let samples = thread::scope(|scope| {
        if !matches!(state, State::None | State::Idle) {
            scope.spawn(|| {
                let mut rng = Seed::new(0x5b19).rng(round);
                while !done.load(Ordering::Relaxed) {
                    for _ in 0..BURST {
                        // A dead backing, and none, refuse what is longer than before.
                        let key = rng.random_range(0..count);
                        let _ = cold.put(key, &source.page(key, false));
                    }
                    thread::sleep(BURST_EVERY);
                }
            });
        }
        drop(gets(&hot, source, round));
        let samples = gets(&hot, source, round + 100);
        done.store(true, Ordering::Relaxed);
        samples
    });
    assert_eq!(hot.stats().spilled, 0, "hot pages stay in memory");
    rows.add_percentiles(&format!("in memory, {name}"), samples);
}

fn spilled(rows: &mut Rows, directory: &Path, source: &Source, encrypts: bool, round: u64) {
    let builder = Store::builder().limit(LIMIT).idle_share(0).self_training(false);
    let store = builder.spill(file(directory, encrypts)).build().expect("room");
    let space = store.space(SpaceConfig::persistent(120_000)).expect("room");
    fill(&space, source, false, 120_000);
    store.flush();
    let is_spilled = |key: &u64| space.form_of(*key) == Some("spilled");
    let mut keys: Vec<u64> = (0..120_000).filter(is_spilled).collect();
    keys.shuffle(&mut Seed::new(0x5b1a).rng(round));
    keys.truncate(20_000);
    assert!(keys.len() > 10_000, "{}", keys.len());
    let mut samples = Vec::new();
    let mut back = [0; 4096];
    for key in keys {
        let began = Instant::now();
        space.get(key, &mut back).expect("in the backing");
        samples.push(began.elapsed().as_secs_f64() * 1e6);
        assert!(back == source.page(key, false), "page {key} is another one");
    }
    let backing = store.stats().spill.expect("a backing").backing;
    let cached = backing.cached_reads as f64 / backing.reads as f64;
    assert!(cached > 0.9, "{cached} of the reads were from the page cache");
    let seal = if encrypts { "encrypted" } else { "checked" };
    rows.add_percentiles(&format!("spilled, page cache, {seal}"), samples);
}

/// In MB/s: pages leave a store because its limit is lowered, and no put is beside.
fn spill_path(
    directory: &Path,
    source: &Source,
    is_raw: bool,
    encrypts: bool,
    megabytes: usize,
) -> [f64; 2] {
    let pages = megabytes << 20;
    // Below the high watermark, until the limit is lowered.
    let builder = with_codec(Store::builder().limit(pages + pages / 2 + LIMIT), is_raw);
    let store = builder.spill(file(directory, encrypts)).build().expect("room");
    let space = store.space(SpaceConfig::persistent(1 << 24)).expect("room");
    let count = (0..1 << 24)
        .find(|&key| {
            space.put(key, &source.page(key, is_raw)).expect("room");
            key % 256 == 0 && store.resident() > pages
        })
        .expect("less memory than that")
        + 1;
    store.flush();
    assert_eq!(space.stats().spilled, 0, "all are in memory");
    let began = Instant::now();
    store.set_limit(LIMIT / 2).expect("the backing has room");
    let written = store.stats().spill.expect("a backing").backing.written_bytes;
    let speeds = speeds(written, began, directory);
    let stats = space.stats();
    assert!(stats.spilled > count * 3 / 4, "{} of {count}", stats.spilled);
    check(&space, source, is_raw, count);
    speeds
}

/// In MB/s, of extents: puts of so many pages, each of which has to make room for itself.
fn end_to_end(
    directory: &Path,
    source: &Source,
    is_raw: bool,
    encrypts: bool,
    megabytes: usize,
) -> [f64; 2] {
    let store = with_codec(Store::builder().limit(LIMIT), is_raw);
    let store = store.spill(file(directory, encrypts)).build().expect("room");
    let most = 1 << 24;
    let space = store.space(SpaceConfig::persistent(most)).expect("room");
    let written = || store.stats().spill.expect("a backing").backing.written_bytes;
    // Until memory is full.
    let put = |key| space.put(key, &source.page(key, is_raw)).expect("the backing has room");
    let first = (0..most).find(|&key| {
        put(key);
        key % 256 == 0 && written() > 0
    });
    let first = first.expect("less memory than that") + 1;
    let last = first + ((megabytes as u64) << 8);
    let (before, began) = (written(), Instant::now());
    (first..last).for_each(put);
    let speeds = speeds(written() - before, began, directory);
    check(&space, source, is_raw, last);
    speeds
}

fn with_codec(builder: StoreBuilder, is_raw: bool) -> StoreBuilder {
    let builder = builder.idle_share(0).self_training(false);
    if is_raw { builder.codec_with(Box::new(Raw)) } else { builder }
}

fn check(space: &Space, source: &Source, is_raw: bool, count: u64) {
    let mut back = [0; 4096];
    for key in (0..count).step_by(17) {
        space.get(key, &mut back).expect("there");
        assert!(back == source.page(key, is_raw), "page {key} is another one");
    }
}

#[expect(clippy::print_stdout, reason = "the table is the output")]
fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let directory = arguments.iter().map(PathBuf::from).find(|path| path.is_dir());
    let directory = directory.unwrap_or_else(std::env::temp_dir);
    let mut numbers = arguments.iter().filter_map(|text| text.parse::<usize>().ok());
    let (megabytes, rounds) = (numbers.next().unwrap_or(256), numbers.next().unwrap_or(5));
    let is_wanted = |part| {
        let names = |word: &str| arguments.iter().any(|argument| argument == word);
        names(part) || !names("gets") && !names("speeds")
    };
    let source = Source::new();
    let mut rows = Rows::default();
    for round in 0..rounds as u64 {
        // In another order from round to round.
        let mut states = STATES;
        states.rotate_left(usize::try_from(round).expect("few") % STATES.len());
        if is_wanted("gets") {
            for state in states {
                in_memory(&mut rows, &directory, &source, state, round);
            }
            for encrypts in [true, false] {
                spilled(&mut rows, &directory, &source, encrypts, round);
            }
        }
        if !is_wanted("speeds") {
            continue;
        }
        flush(&directory);
        rows.add_speeds("plain writes", plain(&directory, &source, megabytes));
        for (is_raw, kind) in [(true, "raw pages"), (false, "compressed pages")] {
            for (encrypts, seal) in [(true, "encrypted"), (false, "checked")] {
                let speeds = spill_path(&directory, &source, is_raw, encrypts, megabytes);
                rows.add_speeds(&format!("spill path, {kind}, {seal}"), speeds);
                let speeds = end_to_end(&directory, &source, is_raw, encrypts, megabytes);
                rows.add_speeds(&format!("end to end, {kind}, {seal}"), speeds);
            }
        }
    }
    let system = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    println!(
        "{megabytes} MB in {}, {rounds} rounds, kernel {}",
        directory.display(),
        system.trim()
    );
    rows.print();
    rows.print_targets();
}
