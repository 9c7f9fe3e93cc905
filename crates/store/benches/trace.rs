//! What staging saves on a recorded trace of changed pages.
//!
//! `cargo bench -p pagefold-store --bench trace -- FILE [--as-fast-as-possible]`: FILE was made by
//! `cargo xtask corpus trace`. Its records are put, each under its page number, at the time that the trace gives, or each
//! at once after the one before. Stores have default settings except the limit; staging is off, or a 64th of it.
//!
//! - *codec runs*: with staging off, puts of pages that are no repeated word; with it, those less the saved ones.
//! - *saved*: the share of the staged pages that were overwritten before their turn ([`StagingStats::saved`]).
//! - *by callers*: staged pages that a put compressed itself, since staging was full.
//! - *processor*: time of all threads from the first put to the end of a flush, over the puts.
//! - *late*: how long after its time the latest put began. All records of an interval have one time.
//!
//! Each figure is the median of the rounds, then the lowest and the highest. After each replay every page is read back
//! and compared with its last record, and the store validated.
//!
//! [`StagingStats::saved`]: pagefold_store::StagingStats::saved
#![forbid(unsafe_code)]

use std::{
    collections::HashMap,
    env,
    error::Error,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use pagefold_codec::same_filled;
use pagefold_store::{Page, SpaceConfig, Store};
use pagefold_sys::clock::{process_time, thread_time};

type Failure = Box<dyn Error>;

const ROUNDS: usize = 3;
const HEAD_BYTES: usize = 24;
const RECORD_BYTES: usize = 16 + 4096;
const MIB: usize = 1 << 20;
const LIMITS: [usize; 3] = [64 * MIB, 256 * MIB, 1024 * MIB];

struct Record<'a> {
    time: Duration,
    page: u64,
    bytes: &'a Page,
}

/// The form is that of `xtask/src/corpus/trace/file.rs`.
fn records(file: &[u8]) -> Result<Vec<Record<'_>>, Failure> {
    let (head, rest) =
        file.split_at_checked(HEAD_BYTES).ok_or("the file is shorter than a head")?;
    if head[..16] != *b"PFPAGETR\x01\0\0\0\0\x10\0\0" {
        return Err("this is no trace of version 1 with pages of 4096 bytes".into());
    }
    let (records, []) = rest.as_chunks::<RECORD_BYTES>() else {
        return Err("the trace was cut inside of a record".into());
    };
    let number = |record: &[u8; RECORD_BYTES], at: usize| {
        u64::from_le_bytes(record[at..at + 8].try_into().expect("8 bytes"))
    };
    let record = |record| Record {
        time: Duration::from_micros(number(record, 0)),
        page: number(record, 8),
        bytes: record.last_chunk().expect("a record is longer than a page"),
    };
    Ok(records.iter().map(record).collect())
}

/// What a replay gave.
struct Replay {
    capacity: u64,
    staged: f64,
    runs: f64,
    saved_percent: f64,
    by_callers: f64,
    put_median: f64,
    put_p99: f64,
    processor: f64,
    late: f64,
}

/// The median of a figure, and the lowest and the highest.
fn spread(replays: &[Replay], figure: impl Fn(&Replay) -> f64, digits: usize) -> String {
    let mut values: Vec<f64> = replays.iter().map(figure).collect();
    values.sort_by(f64::total_cmp);
    let (low, high) = (values[0], values[values.len() - 1]);
    let median = values[values.len() / 2];
    if low == high {
        return format!("{median:.digits$}");
    }
    format!("{median:.digits$} ({low:.digits$} to {high:.digits$})")
}

/// Sleeps, and spins at the end: a sleep alone ends some 50 us late.
fn wait_until(instant: Instant) {
    const SPIN: Duration = Duration::from_micros(200);
    while let Some(rest) = instant.checked_duration_since(Instant::now()) {
        match rest.checked_sub(SPIN) {
            Some(rest) => thread::sleep(rest),
            None => std::hint::spin_loop(),
        }
    }
}

fn replay(
    records: &[Record<'_>],
    limit: usize,
    staging: usize,
    real_time: bool,
) -> Result<Replay, Failure> {
    let store = Store::builder().limit(limit).staging(staging).build()?;
    let space = store.space(SpaceConfig::persistent(1 << 52))?;
    let mut times = Vec::with_capacity(records.len());
    let mut late = Duration::ZERO;
    let mut waited = Duration::ZERO;
    let (begin, used) = (Instant::now(), process_time());
    for record in records {
        if real_time {
            let own = thread_time();
            wait_until(begin + record.time);
            waited += thread_time() - own;
            late = late.max(begin.elapsed().saturating_sub(record.time));
        }
        let began = Instant::now();
        space.put(record.page, record.bytes)?;
        times.push(began.elapsed().as_secs_f64() * 1e6);
    }
    store.flush();
    let processor = process_time() - used - waited;
    let stats = store.stats();

    let last: HashMap<u64, &Page> =
        records.iter().map(|record| (record.page, record.bytes)).collect();
    let mut back = [0; 4096];
    for (&page, bytes) in &last {
        space.get(page, &mut back)?;
        assert!(back == **bytes, "page {page} is not that of its last record");
    }
    store.validate()?;
    times.sort_by(f64::total_cmp);
    let staged = &stats.staging;
    let same_filled = records.iter().filter(|record| same_filled(record.bytes).is_some()).count();
    let encoded = records.len() as u64 - same_filled as u64;
    Ok(Replay {
        capacity: staged.capacity_pages,
        staged: staged.staged as f64,
        runs: (encoded - staged.saved) as f64,
        saved_percent: staged.saved as f64 * 100.0 / staged.staged.max(1) as f64,
        by_callers: staged.by_callers as f64,
        put_median: times[times.len() / 2],
        put_p99: times[times.len() * 99 / 100],
        processor: processor.as_secs_f64() * 1e6 / records.len() as f64,
        late: late.as_secs_f64() * 1e3,
    })
}

#[expect(clippy::print_stdout, reason = "the table is the output")]
fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).filter(|text| text != "--bench").collect();
    let real_time = !arguments.iter().any(|text| text == "--as-fast-as-possible");
    let Some(path) = arguments.iter().find(|text| !text.starts_with("--")).map(Path::new) else {
        println!("no trace given: nothing is measured");
        return Ok(());
    };
    let file = fs::read(path)?;
    let records = records(&file)?;
    let (Some(first), Some(last)) = (records.first(), records.last()) else {
        return Err("the trace has no records".into());
    };
    println!(
        "{} records of {:.2} to {:.2} s, {}\n",
        records.len(),
        first.time.as_secs_f64(),
        last.time.as_secs_f64(),
        if real_time { "in real time" } else { "as fast as possible" },
    );
    println!(
        "| limit MiB | staging pages | puts | staged | codec runs | saved % | by callers | put us, median | p99 | processor us a put | late ms |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for limit in LIMITS {
        let mut off_and_on = [Vec::new(), Vec::new()];
        for round in 0..ROUNDS {
            // The order of the two is turned round from round to round.
            for turn in [round % 2, 1 - round % 2] {
                let staging = [0, limit / 64][turn];
                off_and_on[turn].push(replay(&records, limit, staging, real_time)?);
            }
        }
        for replays in &off_and_on {
            println!(
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                limit / MIB,
                replays[0].capacity,
                records.len(),
                spread(replays, |replay| replay.staged, 0),
                spread(replays, |replay| replay.runs, 0),
                spread(replays, |replay| replay.saved_percent, 1),
                spread(replays, |replay| replay.by_callers, 0),
                spread(replays, |replay| replay.put_median, 2),
                spread(replays, |replay| replay.put_p99, 2),
                spread(replays, |replay| replay.processor, 2),
                if real_time { spread(replays, |replay| replay.late, 0) } else { "-".to_owned() },
            );
        }
    }
    Ok(())
}
