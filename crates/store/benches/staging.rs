//! What a put costs that does not wait for its codec, beside one that does, and beside the kernel's zram.
//!
//! `cargo bench -p pagefold-store --bench staging [-- PAGES] [CODEC] [/dev/zramN]` prints a table: the median over the
//! rounds, and the lowest and the highest round. A zram device, prepared by the caller (`comp_algorithm`, `disksize`), is
//! written with 4 KiB and O_DIRECT; its old content is lost. Same-filled pages are left out. What comes back is compared
//! with what was put.
//!
//! - *burst*: puts that fit staging, while workers rest; median and 99th percentile of the pages.
//! - *sustained*: all pages with one worker, and a flush at the end; processor time of all threads, and elapsed time.
#![forbid(unsafe_code)]

use std::{
    fs::{File, OpenOptions},
    hint::black_box,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    time::Instant,
};

use pagefold_store::{Page, Space, SpaceConfig, Store};
use pagefold_sys::clock::process_time;
use pagefold_testkit::{corpus::Mix, seed::Seed};

const ROUNDS: usize = 7;
/// Half of what the limit of 1 GiB lets wait.
const BURST: usize = 2048;

#[repr(align(4096))]
struct Aligned(Page);

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

    #[expect(clippy::print_stdout, reason = "the table is the output")]
    fn print(mut self) {
        println!("| what | median | lowest to highest round |\n|---|---|---|");
        for (name, values) in &mut self.0 {
            values.sort_by(f64::total_cmp);
            let median = values[values.len() / 2];
            let (low, high) = (values[0], values[values.len() - 1]);
            println!("| {name} | {median:.3} us | {low:.3} to {high:.3} |");
        }
    }
}

/// Every page in turn, through `write`; processor and elapsed time a page, in us.
fn sustained(pages: &[Aligned], write: impl FnOnce()) -> [f64; 2] {
    let (begin, used) = (Instant::now(), process_time());
    write();
    let each = |seconds: f64| seconds * 1e6 / pages.len() as f64;
    [each((process_time() - used).as_secs_f64()), each(begin.elapsed().as_secs_f64())]
}

fn check(space: &Space, pages: &[Aligned]) {
    let mut back = [0; 4096];
    for (key, page) in pages.iter().enumerate() {
        space.get(key as u64, &mut back).expect("there");
        assert!(back == page.0, "page {key} is another one");
    }
}

fn measure_store(rows: &mut Rows, codec: &str, pages: &[Aligned]) {
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
        let [processor, elapsed] = sustained(pages, || {
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

fn measure_zram(rows: &mut Rows, device: &File, pages: &[Aligned]) {
    let burst = &pages[..BURST.min(pages.len())];
    let mut samples = Vec::new();
    let write = |key: usize, page: &Aligned| {
        device.write_all_at(&page.0, key as u64 * 4096).expect("the device takes it");
    };
    pages.iter().enumerate().for_each(|(key, page)| write(key, page));
    for (key, page) in burst.iter().enumerate() {
        black_box(page.0.iter().fold(0_u8, |sum, byte| sum ^ byte));
        timed(&mut samples, || write(key, page));
    }
    rows.add_percentiles("burst, zram, 4 KiB", samples);
    let [processor, elapsed] =
        sustained(pages, || pages.iter().enumerate().for_each(|(key, page)| write(key, page)));
    rows.add("sustained, zram, 4 KiB, processor time", processor);
    rows.add("sustained, zram, 4 KiB, elapsed", elapsed);
    let mut back = Aligned([0; 4096]);
    for (key, page) in pages.iter().enumerate() {
        device.read_exact_at(&mut back.0, key as u64 * 4096).expect("the device has it");
        assert!(back.0 == page.0, "page {key} is another one");
    }
}

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let count = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(20_000);
    let codec = arguments.iter().find(|text| text.starts_with("lz4") || text.starts_with("zstd"));
    let codec = codec.map_or("lz4", String::as_str);
    let device = arguments.iter().find(|argument| argument.starts_with('/')).map(|path| {
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_DIRECT);
        options.open(path).unwrap_or_else(|error| panic!("{path} cannot be opened: {error}"))
    });
    let mix = Mix { same_filled: 0, ..Mix::PROCESS };
    let pages: Vec<Aligned> = mix
        .pages(&mut Seed::new(0x57a6).rng(0), count)
        .iter()
        .map(|page| Aligned(page.as_slice().try_into().expect("a page")))
        .collect();
    let mut rows = Rows::default();
    for round in 0..ROUNDS {
        // The order of the two is turned round from round to round.
        for turn in 0..2 {
            match (turn + round) % 2 {
                0 => measure_store(&mut rows, codec, &pages),
                _ => _ = device.as_ref().map(|device| measure_zram(&mut rows, device, &pages)),
            }
        }
    }
    rows.print();
}
