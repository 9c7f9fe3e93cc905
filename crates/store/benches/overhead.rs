//! What a store costs beside the bare codec: the same pages in the same loop, one call after the other on each page.
//!
//! `cargo bench -p pagefold-store --bench overhead [-- PAGES] [CODEC|ALLOCATOR|KIND ..]` prints a table: the median over
//! the rounds of the median over the pages, and the lowest and the highest round. The difference is taken page by page,
//! with the order of the two turned round from page to page, so that neither finds the page warmer than the other, and
//! medians leave out what an interrupt fell into; the mean is beside it. The clock, which is around every call, is in
//! both. The bare loop compresses each page into a buffer that stays in cache, and decompresses from buffers of their
//! own; same-filled pages are in neither. Staging is off; `staging` measures it. What comes back is compared with what was put, outside of the time.
//!
//! Kinds:
//! - `first`: into an empty space, whose memory went back to the system: the first touch of each frame is in it.
//! - `put`: under a key that was removed just before, outside of the time, so that the store stays as full as it is.
//! - `over`: over another page, which frees as well.
//! - `get`.
#![forbid(unsafe_code)]

use std::{hint::black_box, time::Instant};

use pagefold_codec::{CodecSpec, accept_len};
use pagefold_pool::Allocator;
use pagefold_store::{Page, SpaceConfig, Store};
use pagefold_testkit::{corpus::Mix, seed::Seed};

const ROUNDS: usize = 7;
const CODECS: [&str; 2] = ["lz4", "zstd:-1"];
const KINDS: [&str; 4] = ["first", "put", "over", "get"];
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

/// Medians over the pages, in us: of `bare`, of `store`, and of how much longer `store` took; and the mean of that.
fn paired(
    count: usize,
    before: &mut dyn FnMut(usize),
    mut bare: impl FnMut(usize),
    mut store: impl FnMut(usize),
) -> [f64; 4] {
    let timed = |f: &mut dyn FnMut(usize), at| {
        let begin = Instant::now();
        f(at);
        begin.elapsed().as_secs_f64() * 1e6
    };
    let mut samples: [Vec<f64>; 3] = Default::default();
    for at in 0..count {
        before(at);
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
    let mean = samples[2].iter().sum::<f64>() / count as f64;
    let [bare, store, more] = samples.map(|mut samples| median(&mut samples).0);
    [bare, store, more, mean]
}

fn measure(
    name: &str,
    allocator: Allocator,
    pages: &[Page],
    wanted: &dyn Fn(&str) -> bool,
) -> bool {
    let codec = name.parse::<CodecSpec>().expect("a codec").build().expect("in this build");
    let builder = Store::builder()
        .allocator(allocator)
        .staging(0)
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
    let mut rows: [[Vec<f64>; 4]; 4] = Default::default();
    // A key and a page that is another one in each round.
    let page_of = |at: usize, round: usize| &pages[(at + 17 * round) % pages.len()];
    let mut turn = 0;
    for _ in 0..ROUNDS {
        for (kind, row) in KINDS.into_iter().zip(&mut rows) {
            if !wanted(kind) && kind != "first" {
                continue;
            }
            let mut other = [0; 4096];
            let next = turn + usize::from(kind != "get");
            let mut before = |at: usize| {
                black_box(page_of(at, next).iter().fold(0_u8, |sum, byte| sum ^ byte));
                if kind == "put" {
                    space.remove(at as u64).expect("alive");
                }
            };
            let samples = if kind == "get" {
                paired(
                    pages.len(),
                    &mut before,
                    |at| {
                        match black_box(&objects[(at + 17 * turn) % objects.len()]) {
                            raw if raw.len() == 4096 => back.copy_from_slice(raw),
                            object => _ = codec.decompress(object, &mut back).expect("intact"),
                        }
                        black_box(&back);
                    },
                    |at| {
                        space.get(at as u64, &mut other).expect("there");
                        black_box(&other);
                    },
                )
            } else {
                turn += 1;
                if kind == "first" {
                    space.remove_range(0..u64::MAX).expect("alive");
                    store.shrink(usize::MAX);
                }
                paired(
                    pages.len(),
                    &mut before,
                    |at| _ = black_box(codec.compress(black_box(page_of(at, turn)), &mut scratch)),
                    |at| space.put(at as u64, page_of(at, turn)).expect("room"),
                )
            };
            row.iter_mut().zip(samples).for_each(|(all, sample)| all.push(sample));
        }
    }
    for at in 0..pages.len() {
        space.get(at as u64, &mut back).expect("there");
        assert!(back == *page_of(at, turn), "page {at} is another one");
    }
    store.validate().expect("valid");
    let mut within = true;
    for (kind, samples) in KINDS.into_iter().zip(&mut rows).filter(|(kind, _)| wanted(kind)) {
        let label = format!("{kind}, {name}, {allocator}");
        row(&format!("{label}, bare codec"), "us", &mut samples[0]);
        row(&format!("{label}, store"), "us", &mut samples[1]);
        let max = match kind {
            "first" => None,
            "get" => Some(GET_MAX_US),
            _ => Some(PUT_MAX_US),
        };
        let target = max.map_or(String::new(), |max| format!(" (target {max} us)"));
        let more = row(&format!("- more than bare{target}"), "us", &mut samples[2]);
        row("- mean", "us", &mut samples[3]);
        within &= max.is_none_or(|max| more <= max);
    }
    within
}

#[expect(clippy::print_stdout, reason = "the table is the output")]
fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let count = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(8192);
    // Without names of its kind, everything of that kind.
    let named = |name: &str| arguments.iter().any(|argument| argument == name);
    let wanted = |kind: &[&str], name: &str| named(name) || !kind.iter().any(|name| named(name));
    let allocators: Vec<&str> = Allocator::ALL.iter().map(|allocator| allocator.name()).collect();
    let mix = Mix { same_filled: 0, ..Mix::PROCESS };
    let pages: Vec<Page> = mix
        .pages(&mut Seed::new(0x0be7).rng(0), count)
        .iter()
        .map(|page| page.as_slice().try_into().expect("a page"))
        .collect();
    println!("| what | median | lowest to highest round |\n|---|---|---|");
    let mut within = true;
    for name in CODECS.into_iter().filter(|name| wanted(&CODECS, name)) {
        for &allocator in Allocator::ALL {
            if !wanted(&allocators, allocator.name()) {
                continue;
            }
            within &= measure(name, allocator, &pages, &|kind| wanted(&KINDS, kind));
        }
    }
    println!("\n{}", if within { "within the targets" } else { "NOT within the targets" });
}
