//! A page out and back, against the kernel's zram swap: the same pages, in the same run, in alternating rounds.
//!
//! `cargo bench -p pagefold-region --bench swap -- PAGES-FILE [PAGES [ROUNDS]]`. The peer needs root: a zram device of its own, lz4,
//! page-cluster 0, reset afterwards; without it, its rows are missing and the program says so.
//!
//! A round is: write all pages; all out (dirty); each back by a touch in random order; all out (clean); each back in order. Then the same
//! while a second thread of the process is busy. Residency is read from pagemap, every byte is compared after each way back. Processor time is
//! that of all threads of the process, without the busy one's.

mod alone;
mod space;

use std::{
    env, fs,
    hint::black_box,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use pagefold_testkit::zram::ZramSwap;
use space::{PAGE, Space};

/// One variant's figures of a round, in microseconds a page.
#[derive(Debug, Clone, Copy, Default)]
struct Figures {
    dirty_out: f64,
    clean_out: f64,
    random: f64,
    random_cpu: f64,
    p50: f64,
    p99: f64,
    p999: f64,
    sequential: f64,
    ratio: f64,
}

type Row = (&'static str, fn(&Figures) -> f64);

const ROWS: [Row; 9] = [
    ("page-out, dirty", |one| one.dirty_out),
    ("page-out, clean", |one| one.clean_out),
    ("fault, random", |one| one.random),
    ("fault, random: processor, all threads", |one| one.random_cpu),
    ("fault, random: p50", |one| one.p50),
    ("fault, random: p99", |one| one.p99),
    ("fault, random: p99.9", |one| one.p999),
    ("fault, sequential", |one| one.sequential),
    ("bytes before / bytes held", |one| one.ratio),
];

/// A second thread of the process.
struct Busy {
    stop: AtomicBool,
    cpu_ns: AtomicU64,
}

fn cpu_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: room for a time; the clocks exist.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

impl Busy {
    fn run(&self) {
        let mut word = 1_u64;
        while !self.stop.load(Ordering::Relaxed) {
            for _ in 0..1000 {
                word = black_box(word.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 1);
            }
            self.cpu_ns.store(cpu_ns(libc::CLOCK_THREAD_CPUTIME_ID), Ordering::Relaxed);
        }
    }

    /// Of all threads but this one.
    fn others_ns(&self) -> u64 {
        cpu_ns(libc::CLOCK_PROCESS_CPUTIME_ID).saturating_sub(self.cpu_ns.load(Ordering::Relaxed))
    }
}

fn micros(time: Duration, pages: usize) -> f64 {
    time.as_secs_f64() * 1e6 / pages as f64
}

fn shuffled(pages: usize, mut seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..pages).collect();
    for at in (1..pages).rev() {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        order.swap(at, usize::try_from(seed % (at as u64 + 1)).expect("an index"));
    }
    order
}

fn word(bytes: &[u8]) -> u64 {
    u64::from_ne_bytes(bytes[..8].try_into().expect("8 bytes"))
}

/// Touches one word of each page; the time of each.
fn touch(space: &Space, source: &[u8], order: &[usize], times: &mut Vec<u64>) {
    times.clear();
    let base = space.start();
    for &page in order {
        let at = page * PAGE + 8 * (page % 512);
        let address = std::ptr::with_exposed_provenance::<u64>(base + at);
        let began = Instant::now();
        // SAFETY: within the space, aligned.
        let found = unsafe { address.read_volatile() };
        times.push(u64::try_from(began.elapsed().as_nanos()).expect("short"));
        assert_eq!(found, word(&source[at..]), "page {page}");
    }
}

fn round(space: &mut Space, source: &[u8], order: &[usize], busy: &Busy) -> Figures {
    let pages = order.len();
    let mut times = Vec::with_capacity(pages);
    let mut figures = Figures::default();
    space.write(source);
    let began = Instant::now();
    space.page_out();
    figures.dirty_out = micros(began.elapsed(), pages);
    figures.ratio = (pages * PAGE) as f64 / space.held_bytes() as f64;
    space.assert_out();

    let (began, cpu) = (Instant::now(), busy.others_ns());
    touch(space, source, order, &mut times);
    figures.random = micros(began.elapsed(), pages);
    figures.random_cpu = (busy.others_ns() - cpu) as f64 / 1e3 / pages as f64;
    times.sort_unstable();
    let quantile = |thousandth: usize| times[pages * thousandth / 1000] as f64 / 1e3;
    (figures.p50, figures.p99, figures.p999) = (quantile(500), quantile(990), quantile(999));
    assert!(space.bytes() == source, "a byte differs after random faults");

    let began = Instant::now();
    space.page_out();
    figures.clean_out = micros(began.elapsed(), pages);
    space.assert_out();

    let in_order: Vec<usize> = (0..pages).collect();
    let began = Instant::now();
    touch(space, source, &in_order, &mut times);
    figures.sequential = micros(began.elapsed(), pages);
    assert!(space.bytes() == source, "a byte differs after sequential faults");
    figures
}

fn median(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}

#[expect(clippy::print_stdout, reason = "the table is the output")]
fn print(names: &[String], all: &[Vec<Figures>], is_busy: bool) {
    let state = if is_busy { "a busy second thread" } else { "alone" };
    println!(
        "\n### {state}: microseconds a page, median (least to most)\n| | {} |",
        names.join(" | ")
    );
    println!("|---|{}", "---|".repeat(names.len()));
    for (name, of) in ROWS {
        let cell = |figures: &Vec<Figures>| {
            let (median, low, high) = median(figures.iter().map(of).collect());
            format!("{median:.2} ({low:.2} to {high:.2})")
        };
        println!("| {name} | {} |", all.iter().map(cell).collect::<Vec<_>>().join(" | "));
    }
    if names.last().is_some_and(|name| name.contains("zram")) {
        println!("\nRatios to the last column, by round, median:\n| | {} |", names.join(" | "));
        println!("|---|{}", "---|".repeat(names.len()));
        let peer = &all[all.len() - 1];
        for (name, of) in ROWS {
            let cell = |figures: &Vec<Figures>| {
                let ratios = figures.iter().zip(peer).map(|(one, peer)| of(one) / of(peer));
                format!("{:.2}", median(ratios.collect()).0)
            };
            println!("| {name} | {} |", all.iter().map(cell).collect::<Vec<_>>().join(" | "));
        }
    }
}

fn main() {
    // Cargo passes `--bench`.
    let mut arguments = env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let Some(path) = arguments.next() else {
        eprintln!("no file of pages was given: nothing is measured");
        return;
    };
    let number = |text: Option<String>, default| {
        text.map_or(default, |text| text.parse().expect("a number"))
    };
    let pages = number(arguments.next(), 20_000);
    let rounds = number(arguments.next(), 5);
    let mut source = fs::read(&path).expect("the file can be read");
    source.truncate(pages * PAGE);
    let pages = source.len() / PAGE;
    source.truncate(pages * PAGE);
    let mut spaces = Space::of_regions(pages);
    match ZramSwap::new("lz4", (pages * PAGE * 2) as u64) {
        Ok(zram) => spaces.push(Space::of_kernel(pages, zram)),
        Err(why) => eprintln!("without zram swap: {why}"),
    }
    let names: Vec<String> = spaces.iter().map(|space| space.name().to_owned()).collect();
    println_header(&path, pages, rounds);
    for is_busy in [false, true] {
        let busy = Busy { stop: AtomicBool::new(false), cpu_ns: AtomicU64::new(0) };
        let mut all: Vec<Vec<Figures>> = vec![Vec::new(); spaces.len()];
        thread::scope(|scope| {
            if is_busy {
                scope.spawn(|| busy.run());
            }
            for number in 0..rounds {
                // What is written is new: nothing finds that it has these pages already.
                source
                    .as_chunks_mut::<PAGE>()
                    .0
                    .iter_mut()
                    .for_each(|page| page[0] = page[0].wrapping_add(1));
                for (space, figures) in spaces.iter_mut().zip(&mut all) {
                    let order = shuffled(pages, number as u64 + 1);
                    figures.push(round(space, &source, &order, &busy));
                }
            }
            busy.stop.store(true, Ordering::Relaxed);
        });
        print(&names, &all, is_busy);
    }
    drop(spaces);
    print_gets(&source, rounds);
}

#[expect(clippy::print_stdout, reason = "the table is the output")]
fn print_gets(source: &[u8], rounds: usize) {
    println!("\n### a get from a store alone, random order, without a fault: microseconds a page");
    for codec in ["lz4", "balanced"] {
        let (median, low, high) = alone::gets(codec, source, rounds);
        println!("{codec}: {median:.2} ({low:.2} to {high:.2})");
    }
}

#[expect(clippy::print_stdout, reason = "the table is the output")]
fn println_header(path: &str, pages: usize, rounds: usize) {
    println!("{pages} pages of {path}, {rounds} rounds; every byte verified");
}
