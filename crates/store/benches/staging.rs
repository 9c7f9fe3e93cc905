//! What a put costs that does not wait for its codec, beside one that does, and beside the kernel's zram.
//!
//! `cargo bench -p pagefold-store --bench staging [-- PAGES] [CODEC] [CORPUS] [/dev/zramN]` prints a table: the median
//! over the rounds, and the lowest and the highest round. Pages come from the page files in the directory CORPUS (made by
//! `cargo xtask corpus`), as many from each, evenly spaced and mixed by a seed; without it from the testkit's mix of a
//! process. Same-filled pages are left out. A zram device, prepared by the caller (`comp_algorithm`, `disksize`), is
//! written with O_DIRECT, 4 KiB and 64 KiB at once; its old content is lost. The time of a page in a write of 64 KiB is a
//! sixteenth of the write's. What comes back is compared with what was put.
//!
//! The last table is the targets, as quotients of the medians in the table above it.
//!
//! - *burst*: puts that fit staging, while workers rest; median and 99th percentile of the pages.
//! - *sustained*: all pages with one worker, and a flush at the end; processor time of all threads, and elapsed time.
#![forbid(unsafe_code)]

use std::{
    fs::{self, File, OpenOptions},
    hint::black_box,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Instant,
};

use pagefold_codec::{CodecSpec, same_filled};
use pagefold_store::{Page, Space, SpaceConfig, Store};
use pagefold_sys::clock::process_time;
use pagefold_testkit::{corpus::Mix, seed::Seed};
use rand::seq::SliceRandom as _;

const ROUNDS: usize = 7;
/// Half of what the limit of 1 GiB lets wait.
const BURST: usize = 2048;

#[repr(align(4096))]
struct Aligned<const BYTES: usize>([u8; BYTES]);

/// Bytes of one write of the device.
const WRITES: [usize; 2] = [4096, 65_536];

/// In microseconds.
fn timed(samples: &mut Vec<f64>, f: impl FnOnce()) {
    let begin = Instant::now();
    f();
    samples.push(begin.elapsed().as_secs_f64() * 1e6);
}

/// The median and the 99th percentile.
fn percentiles(mut samples: Vec<f64>) -> [f64; 2] {
    samples.sort_by(f64::total_cmp);
    [samples[samples.len() / 2], samples[samples.len() * 99 / 100]]
}

#[derive(Default)]
struct Rows(Vec<(String, Vec<f64>)>);

impl Rows {
    fn add(&mut self, name: &str, value: f64) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, values)) => values.push(value),
            None => self.0.push((name.to_owned(), vec![value])),
        }
    }

    fn add_percentiles(&mut self, name: &str, samples: Vec<f64>) {
        let [median, high] = percentiles(samples);
        self.add(&format!("{name}, median"), median);
        self.add(&format!("{name}, p99"), high);
    }

    /// The median of a row.
    fn median(&self, name: &str) -> Option<f64> {
        let mut values = self.0.iter().find(|(known, _)| known == name)?.1.clone();
        values.sort_by(f64::total_cmp);
        Some(values[values.len() / 2])
    }

    /// A row is over the other one; `None`: a time in microseconds.
    #[expect(clippy::print_stdout, reason = "the table is the output")]
    fn print_targets(&self, codec: &str) {
        let median = format!("burst, put staged, {codec}, median");
        let high = format!("burst, put staged, {codec}, p99");
        let time = format!("sustained, put staged, {codec}, processor time of all threads");
        let get = format!("get, fresh, {codec}, median");
        println!("\n| what | over | is | target |\n|---|---|---|---|");
        let line = |name: &str, over: Option<String>, target: f64| {
            let base = over.as_ref().map_or(Some(1.0), |over| self.median(over));
            let (Some(value), Some(base)) = (self.median(name), base) else { return };
            let is = value / base;
            let missed = if is > target { ": missed" } else { "" };
            let over = over.as_deref().unwrap_or("1 us");
            println!("| {name} | {over} | {is:.3} | {target}{missed} |");
        };
        for size in WRITES.map(|bytes| format!("zram, {} KiB", bytes >> 10)) {
            line(&median, Some(format!("burst, {size}, median")), 0.25);
            line(&high, Some(format!("burst, {size}, p99")), 1.0);
            if codec == "lz4" {
                line(&time, Some(format!("sustained, {size}, processor time")), 1.15);
            }
        }
        line(&get, None, 1.0);
    }

    #[expect(clippy::print_stdout, reason = "the table is the output")]
    fn print(&self) {
        println!("| what | median | lowest to highest round |\n|---|---|---|");
        for (name, values) in &self.0 {
            let mut values = values.clone();
            values.sort_by(f64::total_cmp);
            let median = values[values.len() / 2];
            let (low, high) = (values[0], values[values.len() - 1]);
            println!("| {name} | {median:.3} us | {low:.3} to {high:.3} |");
        }
    }
}

/// Every page in turn, through `write`; processor and elapsed time a page, in us.
fn sustained(pages: usize, write: impl FnOnce()) -> [f64; 2] {
    let (begin, used) = (Instant::now(), process_time());
    write();
    let each = |seconds: f64| seconds * 1e6 / pages as f64;
    [each((process_time() - used).as_secs_f64()), each(begin.elapsed().as_secs_f64())]
}

fn check(space: &Space, pages: &[Aligned<4096>]) {
    let mut back = [0; 4096];
    for (key, page) in pages.iter().enumerate() {
        space.get(key as u64, &mut back).expect("there");
        assert!(back == page.0, "page {key} is another one");
    }
}

fn measure_store(rows: &mut Rows, codec: &str, pages: &[Aligned<4096>]) {
    let build = |staging| {
        let store = Store::builder().codec(codec.parse().expect("a codec")).limit(1 << 30);
        let store = if staging { store } else { store.staging(0) };
        store.build().expect("room")
    };
    let burst = &pages[..BURST.min(pages.len())];
    for (name, staging) in [("put at once", false), ("put staged", true)] {
        let store = build(staging);
        let space = store.space(SpaceConfig::persistent(pages.len() as u64)).expect("room");
        // Frames are touched once before.
        for page in pages.iter().enumerate() {
            space.put(page.0 as u64, &page.1.0).expect("room");
        }
        store.flush();
        space.remove_range(0..u64::MAX).expect("alive");
        store.pause_workers();
        let mut samples = Vec::new();
        for (key, page) in burst.iter().enumerate() {
            black_box(page.0.iter().fold(0_u8, |sum, byte| sum ^ byte));
            timed(&mut samples, || space.put(key as u64, &page.0).expect("room"));
        }
        rows.add_percentiles(&format!("burst, {name}, {codec}"), samples);
        let fresh = store.stats().spaces[0].fresh;
        assert_eq!(fresh > 0, staging);
        for state in ["fresh", "compressed"] {
            let (mut samples, mut back) = (Vec::new(), [0; 4096]);
            if staging {
                for (key, page) in burst.iter().enumerate() {
                    timed(&mut samples, || space.get(key as u64, &mut back).expect("there"));
                    assert!(back == page.0, "page {key} is another one");
                }
                rows.add_percentiles(&format!("get, {state}, {codec}"), samples);
            }
            store.flush();
        }
        store.resume_workers();
        space.remove_range(0..u64::MAX).expect("alive");
        let [processor, elapsed] = sustained(pages.len(), || {
            for (key, page) in pages.iter().enumerate() {
                space.put(key as u64, &page.0).expect("room");
            }
            store.flush();
        });
        rows.add(&format!("sustained, {name}, {codec}, processor time of all threads"), processor);
        rows.add(&format!("sustained, {name}, {codec}, elapsed"), elapsed);
        check(&space, pages);
        store.validate().expect("valid");
    }
}

fn measure_zram<const BYTES: usize>(rows: &mut Rows, device: &File, writes: &[Aligned<BYTES>]) {
    let name = format!("zram, {} KiB", BYTES >> 10);
    let pages = BYTES / 4096;
    let write = |(at, bytes): (usize, &Aligned<BYTES>)| {
        device.write_all_at(&bytes.0, (at * BYTES) as u64).expect("the device takes it");
    };
    let write_all = || writes.iter().enumerate().for_each(write);
    write_all();
    let mut samples = Vec::new();
    for (at, bytes) in writes.iter().enumerate().take(BURST / pages) {
        black_box(bytes.0.iter().fold(0_u8, |sum, byte| sum ^ byte));
        timed(&mut samples, || write((at, bytes)));
    }
    let each = samples.iter().map(|sample| sample / pages as f64);
    rows.add_percentiles(&format!("burst, {name}"), each.collect());
    let [processor, elapsed] = sustained(writes.len() * pages, write_all);
    rows.add(&format!("sustained, {name}, processor time"), processor);
    rows.add(&format!("sustained, {name}, elapsed"), elapsed);
    let mut back = Aligned([0; BYTES]);
    for (at, bytes) in writes.iter().enumerate() {
        device.read_exact_at(&mut back.0, (at * BYTES) as u64).expect("the device has it");
        assert!(back.0 == bytes.0, "write {at} gave other bytes");
    }
}

/// As many pages from each file, `count` in all, without same-filled ones.
fn corpus_pages(directory: &Path, count: usize) -> Vec<Page> {
    let entries = fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("{} cannot be listed: {error}", directory.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "pages"));
    paths.sort();
    assert!(!paths.is_empty(), "{} has no page files", directory.display());
    let mut pages = Vec::new();
    for path in &paths {
        let file = fs::read(path).expect("a page file");
        let own: Vec<&Page> = file.as_chunks().0.iter().collect();
        let own: Vec<&Page> = own.into_iter().filter(|page| same_filled(*page).is_none()).collect();
        let wanted = (count / paths.len()).min(own.len());
        pages.extend((0..wanted).map(|index| *own[index * own.len() / wanted]));
    }
    pages.shuffle(&mut Seed::new(0x57a6).rng(0));
    pages
}

#[expect(clippy::print_stdout, reason = "the table is the output")]
fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let count = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(20_000);
    let codec = arguments.iter().find(|text| text.parse::<CodecSpec>().is_ok());
    let codec = codec.map_or("lz4", String::as_str);
    let corpus = arguments.iter().map(Path::new).find(|path| path.is_dir());
    let device = arguments.iter().find(|argument| argument.starts_with("/dev/")).map(|path| {
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_DIRECT);
        options.open(path).unwrap_or_else(|error| panic!("{path} cannot be opened: {error}"))
    });
    let mix = Mix { same_filled: 0, ..Mix::PROCESS };
    let pages: Vec<Page> = match corpus {
        Some(directory) => corpus_pages(directory, count),
        None => {
            let pages = mix.pages(&mut Seed::new(0x57a6).rng(0), count);
            pages.iter().map(|page| page.as_slice().try_into().expect("a page")).collect()
        }
    };
    let pages: Vec<Aligned<4096>> = pages.into_iter().map(Aligned).collect();
    let wide: Vec<Aligned<65_536>> = pages
        .chunks_exact(16)
        .map(|pages| {
            let mut wide = Aligned([0; 65_536]);
            let pieces = wide.0.as_chunks_mut::<4096>().0;
            pieces.iter_mut().zip(pages).for_each(|(piece, page)| *piece = page.0);
            wide
        })
        .collect();
    let mut rows = Rows::default();
    for round in 0..ROUNDS {
        // The order of the three is turned round from round to round.
        for turn in 0..3 {
            match ((turn + round) % 3, &device) {
                (0, _) => measure_store(&mut rows, codec, &pages),
                (1, Some(device)) => measure_zram(&mut rows, device, &pages),
                (_, Some(device)) => measure_zram(&mut rows, device, &wide),
                _ => {}
            }
        }
    }
    println!("{} pages", pages.len());
    rows.print();
    rows.print_targets(codec);
}
