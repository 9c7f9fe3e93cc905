//! What a key costs by how far it lies: the same number of pages in spaces of 2^20 to 2^64 keys.
//!
//! `cargo bench -p pagefold-store --bench far_keys [-- PAGES]` prints a table: the median over the rounds, and the lowest
//! and highest. Keys are spread evenly over the space; the pages are incompressible and the codec is `raw`, so that the
//! index is what differs. Each get is compared with what was put.
#![forbid(unsafe_code)]

use std::{hint::black_box, time::Instant};

use pagefold_store::{Page, PutError, SpaceConfig, Store};
use pagefold_testkit::seed::Seed;
use rand::Rng as _;

const ROUNDS: usize = 7;
const LOGS: [u32; 4] = [20, 30, 40, 64];

/// The figures of one round, in the order of the table's columns.
const COLUMNS: [&str; 8] = [
    "put, ns",
    "get, ns",
    "overwrite, ns",
    "remove, ns",
    "put that evicts, ns",
    "refused put, ns",
    "shrink(MAX), us",
    "drop of the space, us",
];

fn page(key: u64, page: &mut Page) -> &Page {
    page[..8].copy_from_slice(&key.to_le_bytes());
    page
}

/// Nanoseconds for each of `count` calls.
fn each(count: u64, mut f: impl FnMut(u64)) -> f64 {
    let begin = Instant::now();
    (0..count).for_each(&mut f);
    begin.elapsed().as_nanos() as f64 / count as f64
}

fn round(log: u32, count: u64, random: &mut Page) -> [f64; 8] {
    let capacity = if log == 64 { u64::MAX } else { 1 << log };
    let key = |step: u64| step * (capacity / (4 * count));
    let codec = || "raw".parse().expect("a codec");
    let builder = || Store::builder().codec(codec()).shrinker(false);
    let store = builder().limit(1 << 30).build().expect("room");
    let space = store.space(SpaceConfig::persistent(capacity)).expect("room");
    let put = each(count, |step| {
        space.put(key(step), page(key(step), random)).expect("room");
    });
    let mut back = [0; 4096];
    let get = each(count, |step| {
        space.get(key(step), &mut back).expect("there");
        assert!(back == *page(key(step), random));
    });
    let overwrite = each(count, |step| {
        space.put(key(step), page(key(step), random)).expect("room");
    });
    let remove = each(count / 2, |step| assert_eq!(space.remove(key(2 * step)), Ok(true)));
    let begin = Instant::now();
    store.drop_space(&space);
    let drop_space = begin.elapsed().as_nanos() as f64 / 1e3;

    // A store with room for half of the pages, full.
    let limit = usize::try_from(count).expect("small") * 4096 / 2 + (2 << 20);
    let store = builder().limit(limit).build().expect("room");
    let space = store.space(SpaceConfig::ephemeral(capacity)).expect("room");
    for step in 0..count {
        space.put(key(step), page(key(step), random)).expect("room");
    }
    let evicting = each(count, |step| {
        space.put(key(count + step), page(key(count + step), random)).expect("room");
    });
    assert!(space.stats().evicted >= count, "each of them dropped a page");
    let begin = Instant::now();
    black_box(store.shrink(usize::MAX));
    let shrink = begin.elapsed().as_nanos() as f64 / 1e3;
    assert!(space.is_empty());
    drop(space);

    let space = store.space(SpaceConfig::persistent(capacity)).expect("room");
    let mut next = 0;
    while space.put(key(next), page(key(next), random)).is_ok() {
        next += 1;
    }
    let refused = each(count, |step| {
        let put = space.put(key(next + step % count), page(0, random));
        assert!(matches!(put, Err(PutError::Full { .. })));
    });
    [put, get, overwrite, remove, evicting, refused, shrink, drop_space]
}

#[expect(clippy::print_stdout, reason = "the table is the output")]
fn main() {
    let count = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(16_384);
    let mut random = [0; 4096];
    Seed::for_test(0xfa5).rng(0).fill_bytes(&mut random);
    let mut rounds: Vec<Vec<[f64; 8]>> = vec![Vec::new(); LOGS.len()];
    for _ in 0..ROUNDS {
        for (log, rounds) in LOGS.iter().zip(&mut rounds) {
            rounds.push(round(*log, count, &mut random));
        }
    }
    println!("{count} pages, {ROUNDS} rounds\n");
    println!("| | {} |", LOGS.map(|log| format!("2^{log} keys")).join(" | "));
    println!("|---|{}", "---|".repeat(LOGS.len()));
    for (at, name) in COLUMNS.iter().enumerate() {
        let cells: Vec<String> = rounds
            .iter()
            .map(|rounds| {
                let mut values: Vec<f64> = rounds.iter().map(|round| round[at]).collect();
                values.sort_by(f64::total_cmp);
                let (low, high) = (values[0], values[values.len() - 1]);
                format!("{:.0} ({low:.0} to {high:.0})", values[values.len() / 2])
            })
            .collect();
        println!("| {name} | {} |", cells.join(" | "));
    }
}
