//! What a store costs beside the bare codec: the same pages, the same loop, in alternating rounds of one run.
//!
//! `cargo bench -p pagefold-store --bench overhead [-- PAGES]` prints a table: the median of the rounds, and the lowest
//! and the highest of them. The bare loop compresses each page into a buffer that stays in cache, and decompresses from
//! buffers of their own; same-filled pages are in neither. What comes back is compared with what was put, in both
//! loops, outside of the time.
#![forbid(unsafe_code)]

use std::{hint::black_box, time::Instant};

use pagefold_codec::{CodecSpec, accept_len};
use pagefold_pool::Allocator;
use pagefold_store::{Page, SpaceConfig, Store};
use pagefold_testkit::{corpus::Mix, seed::Seed};

const ROUNDS: usize = 11;
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

/// Mean us of `f` over all pages.
fn each_us(count: usize, mut f: impl FnMut(usize)) -> f64 {
    let begin = Instant::now();
    (0..count).for_each(&mut f);
    begin.elapsed().as_secs_f64() * 1e6 / count as f64
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
    let (mut puts, mut gets): ([Vec<f64>; 3], [Vec<f64>; 3]) = Default::default();
    for _ in 0..ROUNDS {
        let bare = each_us(pages.len(), |at| {
            black_box(codec.compress(black_box(&pages[at]), &mut scratch));
        });
        let stored = each_us(pages.len(), |at| space.put(at as u64, &pages[at]).expect("room"));
        puts[0].push(bare);
        puts[1].push(stored);
        puts[2].push(stored - bare);
        let bare = each_us(pages.len(), |at| {
            match black_box(&objects[at]) {
                raw if raw.len() == 4096 => back.copy_from_slice(raw),
                object => _ = codec.decompress(object, &mut back).expect("intact"),
            }
            black_box(&back);
        });
        let read = each_us(pages.len(), |at| {
            space.get(at as u64, &mut back).expect("there");
            black_box(&back);
        });
        gets[0].push(bare);
        gets[1].push(read);
        gets[2].push(read - bare);
    }
    for (at, page) in pages.iter().enumerate() {
        space.get(at as u64, &mut back).expect("there");
        assert!(back == *page, "page {at} is another one");
    }
    store.validate().expect("valid");
    let mut within = true;
    for (what, samples, max) in [("put", &mut puts, PUT_MAX_US), ("get", &mut gets, GET_MAX_US)] {
        let label = format!("{what}, {name}, {allocator}");
        row(&format!("{label}, bare codec"), "us", &mut samples[0]);
        row(&format!("{label}, store"), "us", &mut samples[1]);
        let more = row(&format!("- more than bare (target {max} us)"), "us", &mut samples[2]);
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
    for name in ["lz4", "zstd:-1", "zstd:1"] {
        for &allocator in Allocator::ALL {
            within &= measure(name, allocator, &pages);
        }
    }
    println!("\n{}", if within { "within the targets" } else { "NOT within the targets" });
}
