//! What a store costs beside the bare codec: the same pages in the same loop, one call after the other on each page.
//!
//! `cargo bench -p pagefold-store --bench overhead [-- PAGES]` prints a table: the median over the rounds of the median
//! over the pages, and the lowest and the highest round. The difference is taken page by page, with the order of the two
//! turned round from page to page, so that neither finds the page warmer than the other, and medians leave out what
//! an interrupt fell into. The clock, which is around every call, is in both. The bare loop compresses each page into a
//! buffer that stays in cache, and decompresses from buffers of their own; same-filled pages are in neither. Puts are
//! measured into an empty space and over pages that are there, which frees as well. What comes back is compared with
//! what was put, outside of the time.
#![forbid(unsafe_code)]

use std::{hint::black_box, time::Instant};

use pagefold_codec::{CodecSpec, accept_len};
use pagefold_pool::Allocator;
use pagefold_store::{Page, SpaceConfig, Store};
use pagefold_testkit::{corpus::Mix, seed::Seed};

const ROUNDS: usize = 7;
/// The targets, in microseconds over the bare codec.
const PUT_MAX_US: f64 = 0.8;
const GET_MAX_US: f64 = 0.6;

fn median(values: &mut [f64]) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}

#[expect(clippy::print_stdout, reason = "the table is the output")]
fn row(name: &str, unit: &str, values: &mut [f64]) -> f64 {
    let (median, low, high) = median(values);
    println!("| {name} | {median:.3} {unit} | {low:.3} to {high:.3} |");
    median
}

/// Medians over the pages, in us: of `bare`, of `store`, and of how much longer `store` took.
fn paired(count: usize, mut bare: impl FnMut(usize), mut store: impl FnMut(usize)) -> [f64; 3] {
    let timed = |f: &mut dyn FnMut(usize), at| {
        let begin = Instant::now();
        f(at);
        begin.elapsed().as_secs_f64() * 1e6
    };
    let mut samples: [Vec<f64>; 3] = Default::default();
    for at in 0..count {
        let (first, second) = match at % 2 {
            0 => {
                let first = timed(&mut bare, at);
                (first, timed(&mut store, at))
            }
            _ => {
                let second = timed(&mut store, at);
                (timed(&mut bare, at), second)
            }
        };
        samples[0].push(first);
        samples[1].push(second);
        samples[2].push(second - first);
    }
    samples.map(|mut samples| median(&mut samples).0)
}

fn measure(name: &str, allocator: Allocator, pages: &[Page]) -> bool {
    let codec = name.parse::<CodecSpec>().expect("a codec").build().expect("in this build");
    let builder = Store::builder()
        .allocator(allocator)
        .codec_with(name.parse::<CodecSpec>().expect("a codec").build().expect("in this build"));
    let store = builder.limit(1 << 30).build().expect("room");
    let space = store.space(SpaceConfig::persistent(pages.len() as u64)).expect("room");
    let mut scratch = vec![0; accept_len(4096)];
    // Objects of the bare loop, each in a place of its own, as they are in the store.
    let mut objects: Vec<Vec<u8>> = Vec::new();
    for page in pages {
        let object = codec.compress(page, &mut scratch).map(|len| scratch[..len].to_vec());
        objects.push(object.unwrap_or_else(|| page.to_vec()));
    }
    let mut back = [0; 4096];
    let mut rows: [[Vec<f64>; 3]; 3] = Default::default();
    for _ in 0..ROUNDS {
        space.remove_range(0..u64::MAX).expect("alive");
        // Into an empty space, and then over what is there.
        for row in &mut rows[..2] {
            let medians = paired(
                pages.len(),
                |at| _ = black_box(codec.compress(black_box(&pages[at]), &mut scratch)),
                |at| space.put(at as u64, &pages[at]).expect("room"),
            );
            row.iter_mut().zip(medians).for_each(|(all, median)| all.push(median));
        }
        let mut other = [0; 4096];
        let medians = paired(
            pages.len(),
            |at| {
                match black_box(&objects[at]) {
                    raw if raw.len() == 4096 => back.copy_from_slice(raw),
                    object => _ = codec.decompress(object, &mut back).expect("intact"),
                }
                black_box(&back);
            },
            |at| {
                space.get(at as u64, &mut other).expect("there");
                black_box(&other);
            },
        );
        rows[2].iter_mut().zip(medians).for_each(|(all, median)| all.push(median));
    }
    for (at, page) in pages.iter().enumerate() {
        space.get(at as u64, &mut back).expect("there");
        assert!(back == *page, "page {at} is another one");
    }
    store.validate().expect("valid");
    let mut within = true;
    let kinds = [("put", PUT_MAX_US), ("put over a page", f64::MAX), ("get", GET_MAX_US)];
    for ((what, max), samples) in kinds.into_iter().zip(&mut rows) {
        let label = format!("{what}, {name}, {allocator}");
        row(&format!("{label}, bare codec"), "us", &mut samples[0]);
        row(&format!("{label}, store"), "us", &mut samples[1]);
        let target = if max == f64::MAX { String::new() } else { format!(" (target {max} us)") };
        let more = row(&format!("- more than bare{target}"), "us", &mut samples[2]);
        within &= more <= max;
    }
    within
}

#[expect(clippy::print_stdout, reason = "the table is the output")]
fn main() {
    let count = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(8192);
    let mix = Mix { same_filled: 0, ..Mix::PROCESS };
    let pages: Vec<Page> = mix
        .pages(&mut Seed::new(0x0be7).rng(0), count)
        .iter()
        .map(|page| page.as_slice().try_into().expect("a page"))
        .collect();
    println!("| what | median | lowest to highest round |\n|---|---|---|");
    let mut within = true;
    for name in ["lz4", "zstd:-1"] {
        for &allocator in Allocator::ALL {
            within &= measure(name, allocator, &pages);
        }
    }
    println!("\n{}", if within { "within the targets" } else { "NOT within the targets" });
}
