//! Ten clones of one memory image in a store: each takes what differs from the image. Every byte that comes back is checked.
//!
//! `cargo run --release -p pagefold --example clones [IMAGE]`: a file, or an image that is made for the run.
#![forbid(unsafe_code)]

use std::{error::Error, path::Path, time::Instant};

use pagefold::{BaseSource, Page, Space, SpaceConfig, Store};

const CLONES: u64 = 10;

/// A number that follows from another, and looks as if it did not.
fn mix(number: u64) -> u64 {
    // SplitMix64.
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ mixed >> 31
}

/// An image of a program with a heap of small objects: a count, a pointer, a few numbers each.
fn image(pages: u64) -> Vec<u8> {
    let mut image = Vec::new();
    for number in 0..pages {
        for object in 0..64 {
            let seed = mix(number << 8 | object);
            let words =
                [1 + seed % 3, 0x7f3a_1c00_0000 + (seed >> 40) * 64, seed % 1000, 0, 0, 7, seed, 0];
            image.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        }
    }
    image
}

/// What a clone made of a page: one in seven was changed, in some counts or altogether.
fn page_of(clone: u64, number: u64, template: &Page) -> Page {
    let mut page = *template;
    let seed = mix(clone << 32 | number);
    match seed % 700 {
        0..4 => {
            for (at, word) in page.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                *word = mix(seed + at as u64 / 3).to_le_bytes();
            }
        }
        4..100 => {
            for change in 0..1 + seed % 9 {
                let at = usize::try_from(mix(seed + change) % 64).unwrap_or(0) * 64;
                page[at] = page[at].wrapping_add(1);
            }
        }
        _ => {}
    }
    page
}

/// What a run found, in bytes.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) clones: u64,
    pub(crate) base: usize,
    /// More than the base.
    pub(crate) more: usize,
    /// A store without the base takes.
    pub(crate) without: usize,
    pub(crate) equal: u64,
    pub(crate) deltas: u64,
    pub(crate) delta_bytes: u64,
    pub(crate) put_us: f64,
    pub(crate) get_us: f64,
}

/// Puts the clones into spaces of their own.
fn put(spaces: &[Space], template: &[Page]) -> Result<f64, Box<dyn Error>> {
    let mut took = std::time::Duration::ZERO;
    for (clone, space) in (0..).zip(spaces) {
        for (number, of) in (0..).zip(template) {
            let page = page_of(clone, number, of);
            let began = Instant::now();
            space.put(number, &page)?;
            took += began.elapsed();
        }
    }
    Ok(took.as_secs_f64() * 1e6 / (spaces.len() * template.len()) as f64)
}

fn check(spaces: &[Space], template: &[Page]) -> Result<f64, Box<dyn Error>> {
    let mut took = std::time::Duration::ZERO;
    for (clone, space) in (0..).zip(spaces) {
        for (number, of) in (0..).zip(template) {
            let mut page = [0; 4096];
            let began = Instant::now();
            space.get(number, &mut page)?;
            took += began.elapsed();
            if page != page_of(clone, number, of) {
                return Err(format!("page {number} of clone {clone} is another one").into());
            }
        }
    }
    Ok(took.as_secs_f64() * 1e6 / (spaces.len() * template.len()) as f64)
}

pub(crate) fn run(path: &Path) -> Result<Outcome, Box<dyn Error>> {
    let bytes = std::fs::read(path)?;
    let template: &[Page] = bytes.as_chunks().0;
    let pages = template.len() as u64;
    let store = || Store::builder().limit(4 << 30).build();

    let alone = store()?;
    let spaces = (0..CLONES).map(|_| alone.space(SpaceConfig::persistent(pages)));
    let spaces = spaces.collect::<Result<Vec<Space>, _>>()?;
    put(&spaces, template)?;
    alone.flush();
    alone.compact(usize::MAX);
    alone.shrink(0);
    let without = alone.resident();
    drop((spaces, alone));

    let store = store()?;
    let base = store.base(BaseSource::path(path))?;
    let with_base = store.resident();
    let spaces = (0..CLONES).map(|_| store.space(SpaceConfig::persistent(pages).on(&base)));
    let spaces = spaces.collect::<Result<Vec<Space>, _>>()?;
    // They keep what they need of it.
    drop(base);
    let put_us = put(&spaces, template)?;
    store.flush();
    let more = store.resident() - with_base;
    let get_us = check(&spaces, template)?;
    let sum =
        |of: fn(&pagefold::SpaceStats) -> u64| spaces.iter().map(|space| of(&space.stats())).sum();
    Ok(Outcome {
        clones: CLONES,
        base: with_base,
        more,
        without,
        equal: sum(|stats| stats.equal),
        deltas: sum(|stats| stats.deltas),
        delta_bytes: sum(|stats| stats.delta_bytes),
        put_us,
        get_us,
    })
}

#[expect(clippy::print_stdout, reason = "it is the program's output")]
#[cfg_attr(test, expect(dead_code, reason = "a test calls `run`"))]
fn main() -> Result<(), Box<dyn Error>> {
    let made = std::env::temp_dir().join(format!("pagefold-clones-{}", std::process::id()));
    let given = std::env::args_os().nth(1).map(std::path::PathBuf::from);
    if given.is_none() {
        std::fs::write(&made, image(8192))?;
    }
    let path = given.as_deref().unwrap_or(&made);
    let pages = std::fs::metadata(path)?.len() / 4096;
    let outcome = run(path);
    if given.is_none() {
        std::fs::remove_file(&made)?;
    }
    let outcome = outcome?;
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    println!("{} clones of an image of {} MiB", outcome.clones, pages / 256);
    println!("without a base: {:.1} MiB resident", mib(outcome.without));
    println!(
        "with a base: {:.1} MiB of store and base, and {:.1} MiB for the clones: {:.0} KiB each",
        mib(outcome.base),
        mib(outcome.more),
        mib(outcome.more) * 1024.0 / outcome.clones as f64,
    );
    println!(
        "{} pages equal, {} as deltas of {:.0} bytes each",
        outcome.equal,
        outcome.deltas,
        outcome.delta_bytes as f64 / outcome.deltas.max(1) as f64,
    );
    println!(
        "put {:.2} us, get {:.2} us a page; every byte was right",
        outcome.put_us, outcome.get_us
    );
    Ok(())
}
