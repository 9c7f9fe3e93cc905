//! 1 GiB of records in 128 MiB of memory: what is coldest goes to a file without a name. Every byte that comes back is checked.
//!
//! `cargo run --release -p pagefold --example spill [DIRECTORY [MIB]]`
#![forbid(unsafe_code)]

use std::{
    error::Error,
    fmt::Write as _,
    thread,
    time::{Duration, Instant},
};

use pagefold::{
    Page, PutError, Space, SpaceConfig, Store, TryGetError,
    spill::{EXTENT_BYTES, FileBacking, Spill},
};

/// Of the memory that it may take, a data set has so many.
const TIMES: u64 = 8;
const PUT_WAIT: Duration = Duration::from_secs(60);

/// Page `number` of the data set: records as JSON, which a codec makes two to three times shorter.
fn page(number: u64) -> Page {
    let (mut text, mut state) = (String::with_capacity(4500), number);
    let mut random = move || {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    };
    while text.len() < 4096 {
        let (id, time, kind) = (random(), random(), random() % 5);
        let kind =
            ["order", "payment", "refund", "visit", "message"][usize::try_from(kind).unwrap_or(0)];
        let written = writeln!(
            text,
            r#"{{"id":"{id:016x}","page":{number},"kind":"{kind}","customer":{},"amount":{}.{:02},"currency":"EUR","session":"{:016x}","time":"2026-{:02}-{:02}T{:02}:{:02}:{:02}Z","open":{},"signature":"{:016x}{:016x}{:016x}{:016x}{:016x}{:016x}{:016x}{:016x}"}}"#,
            random() % 5_000_000,
            random() % 1000,
            random() % 100,
            random(),
            time % 12 + 1,
            (time >> 8) % 28 + 1,
            (time >> 16) % 24,
            (time >> 24) % 60,
            (time >> 32) % 60,
            time >> 40 & 3 == 0,
            random(),
            random(),
            random(),
            random(),
            random(),
            random(),
            random(),
            random(),
        );
        written.expect("a string takes all");
    }
    *text.as_bytes().first_chunk().expect("longer than a page")
}

/// What a run found.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) pages: u64,
    pub(crate) limit: usize,
    pub(crate) resident: usize,
    /// Of 4096 bytes each, in memory and in the backing, after all were put.
    pub(crate) here: u64,
    pub(crate) away: u64,
    /// Bytes in the backing.
    pub(crate) away_bytes: u64,
    pub(crate) put: Duration,
    /// Of gets at random: those from memory, and those from the backing.
    pub(crate) from_memory: Vec<Duration>,
    pub(crate) from_backing: Vec<Duration>,
    /// To read all, in order.
    pub(crate) read: Duration,
}

/// A put that memory has no room for, because the backing is slow or rests after a failure, says so. Then the program waits.
fn put_in_time(space: &Space, number: u64, page: &Page) -> Result<(), PutError> {
    let began = Instant::now();
    loop {
        match space.put(number, page) {
            Err(PutError::Full { .. }) if began.elapsed() < PUT_WAIT => {
                thread::sleep(Duration::from_millis(20));
            }
            done => return done,
        }
    }
}

fn check(space: &Space, number: u64) -> Result<Duration, Box<dyn Error>> {
    let mut into = [0; 4096];
    let began = Instant::now();
    space.get(number, &mut into)?;
    let took = began.elapsed();
    if into != page(number) {
        return Err(format!("page {number} is not what was put").into());
    }
    Ok(took)
}

/// Puts `bytes` into a store of an eighth of them with this spill, and reads all back, `gets` pages first at random.
pub(crate) fn run(spill: Spill, bytes: u64, gets: u64) -> Result<Outcome, Box<dyn Error>> {
    let limit = usize::try_from(bytes / TIMES)?;
    let store = Store::builder().limit(limit).spill(spill).build()?;
    let pages = bytes / 4096;
    let space = store.space(SpaceConfig::persistent(pages).name("records"))?;

    let mut put = Duration::ZERO;
    for number in 0..pages {
        let page = page(number);
        let began = Instant::now();
        put_in_time(&space, number, &page)?;
        put += began.elapsed();
    }
    let stats = store.stats();
    let backing = stats.spill.map(|spill| spill.backing).unwrap_or_default();
    let away = space.stats().spilled;

    let (mut from_memory, mut from_backing) = (Vec::new(), Vec::new());
    for at in 0..gets {
        // Each page at most once, in no order.
        let number = at.wrapping_mul(0x9e37_79b9) % pages;
        let is_here = match space.try_get(number, &mut [0; 4096]) {
            Ok(()) => true,
            Err(TryGetError::WouldBlock) => false,
            Err(error) => return Err(error.into()),
        };
        let took = check(&space, number)?;
        if is_here { from_memory.push(took) } else { from_backing.push(took) }
    }
    let mut read = Duration::ZERO;
    for number in 0..pages {
        read += check(&space, number)?;
    }
    Ok(Outcome {
        pages,
        limit,
        resident: store.resident(),
        here: pages - away,
        away,
        away_bytes: backing.live_bytes,
        put,
        from_memory,
        from_backing,
        read,
    })
}

fn percentiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |percent: usize| {
        let index = times.len().saturating_sub(1) * percent / 100;
        times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e6)
    };
    format!(
        "{} gets: {:.1} us in the median, {:.1} at the 99th percentile",
        times.len(),
        at(50),
        at(99)
    )
}

#[expect(clippy::print_stdout, reason = "it is the program's output")]
pub(crate) fn print(mut outcome: Outcome) {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let bytes = outcome.pages * 4096;
    let Outcome { limit, resident, here, away, away_bytes, put, read, .. } = outcome;
    println!("{:.0} MiB of records, a limit of {:.0} MiB", mib(bytes), mib(limit as u64));
    println!("put in {:.1} s: {:.0} MiB/s", put.as_secs_f64(), mib(bytes) / put.as_secs_f64());
    println!(
        "in memory: {:.0} MiB of records; {:.1} MiB may be resident now",
        mib(here * 4096),
        mib(resident as u64)
    );
    println!(
        "in the backing: {:.0} MiB of records in {:.0} MiB, {:.2}x smaller",
        mib(away * 4096),
        mib(away_bytes),
        away as f64 * 4096.0 / (away_bytes.max(1) as f64),
    );
    println!("from memory, {}", percentiles(&mut outcome.from_memory));
    println!("from the backing, {}", percentiles(&mut outcome.from_backing));
    println!(
        "all read in order in {:.1} s: {:.0} MiB/s; every byte was right",
        read.as_secs_f64(),
        mib(bytes) / read.as_secs_f64()
    );
}

#[cfg_attr(test, expect(dead_code, reason = "a test calls `run`"))]
fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let directory = arguments.next().map_or_else(std::env::temp_dir, Into::into);
    let mib: u64 = match arguments.next() {
        Some(text) => text.to_string_lossy().parse()?,
        None => 1024,
    };
    let backing = FileBacking::new(&directory, EXTENT_BYTES)?;
    print(run(Spill::builder(backing).build()?, mib << 20, 20_000)?);
    Ok(())
}
