//! The store beside the kernel's zram, on the same pages in the same run: how much memory each takes for them, metadata
//! and index counted on both sides.
//!
//! `cargo bench --manifest-path benches/peers/Cargo.toml --bench store -- [--mib N] PAGES...` takes page files or folders
//! of them (`cargo xtask corpus` makes one) and prints Markdown. zram compresses with lz4. The store has nbud, and each
//! codec in turn. Every page is read back and compared before its figure is printed; the kernel's as well.
//!
//! *Effective ratio* is bytes of pages / (frames + metadata). What is counted of zram is said in `src/zram.rs`; of the
//! store it is everything: frames, tables, index, contexts of the codec and scratch. The last two do not grow with the
//! pages, so a second figure leaves out what an empty store takes.
//!
//! *With a dictionary*: what `Dictionary::train_for` chooses, of at most 64 KiB, shown one page in four of the same file, as
//! a program would show it the first pages that it puts; or none, where it finds that none wins. It is counted like
//! everything else. How long it is, and how long puts and gets take on average, is printed as a second table.
#![forbid(unsafe_code)]

use std::{error::Error, path::Path, path::PathBuf, process::ExitCode, time::Instant};

use pagefold_codec::{CodecSpec, Dictionary};
use pagefold_peers::{
    pages::{page_files, read_pages},
    zram::{self, PAGE_BYTES, Page, Zram},
};
use pagefold_store::{SpaceConfig, Store};

/// Codecs, and whether they get a dictionary.
const CODECS: [(&str, bool); 6] = [
    ("lz4", false),
    ("zstd:-1", false),
    ("zstd:1", false),
    ("zstd:-1", true),
    ("zstd:1", true),
    ("zstd:3", true),
];
/// One page in so many is shown to the training.
const SAMPLED_ONE_IN: usize = 4;
/// Page files that are left out of the second mean: nothing compresses them, and they say nothing of a codec.
const INCOMPRESSIBLE: &str = "incompressible";

/// What one file came to.
struct Row {
    name: String,
    zram: Option<f64>,
    /// By codec.
    store: Vec<Kept>,
}

/// What a store made of one file.
struct Kept {
    /// Effective ratio, all of it counted.
    all: f64,
    /// The same without what an empty store takes.
    grown: f64,
    dictionary_bytes: Option<usize>,
    put_us: f64,
    get_us: f64,
}

/// Effective ratio of zram with lz4; `None` where there is none.
fn in_kernel(pages: &[Page]) -> Result<Option<f64>, Box<dyn Error>> {
    if zram::missing().is_some() {
        return Ok(None);
    }
    let device = Zram::new("lz4", pages.len())?;
    device.fill(pages)?;
    device.verify(pages)?;
    let bytes = device.stat()?.used_bytes + device.metadata_bytes()?;
    Ok(Some((pages.len() * PAGE_BYTES) as f64 / bytes as f64))
}

fn in_store(
    (codec, with_dictionary): (&str, bool),
    pages: &[Page],
) -> Result<Kept, Box<dyn Error>> {
    let spec = codec.parse::<CodecSpec>()?;
    let samples = pages.iter().step_by(SAMPLED_ONE_IN).map(|page| &page.0[..]);
    let dictionary = match with_dictionary {
        true => Dictionary::train_for(spec, samples, Dictionary::BYTES_MAX)?,
        false => None,
    };
    let codec = match &dictionary {
        Some(dictionary) => spec.build_with_dictionary(dictionary)?,
        None => spec.build()?,
    };
    // Kept by the codec, if at all.
    let dictionary_bytes = dictionary.map(|dictionary| dictionary.as_bytes().len());
    let limit = pages.len() * (PAGE_BYTES + 256) + (32 << 20);
    // Staged pages would be counted raw, and a put would not wait for the codec.
    let store =
        Store::builder().codec_with(codec).limit(limit).staging(0).shrinker(false).build()?;
    let empty = empty_bytes(&store)?;
    let space = store.space(SpaceConfig::persistent(pages.len() as u64))?;
    let start = Instant::now();
    for (key, page) in (0..).zip(pages) {
        space.put(key, &page.0)?;
    }
    let put_us = start.elapsed().as_secs_f64() * 1e6 / pages.len() as f64;
    let mut back = [0; PAGE_BYTES];
    let start = Instant::now();
    for (key, page) in (0..).zip(pages) {
        space.get(key, &mut back)?;
        if back != page.0 {
            return Err(format!("page {key} is another one").into());
        }
    }
    let get_us = start.elapsed().as_secs_f64() * 1e6 / pages.len() as f64;
    let stats = store.stats();
    let original = (pages.len() * PAGE_BYTES) as f64;
    let bytes = stats.pool_bytes + stats.metadata_bytes;
    let (all, grown) = (original / bytes as f64, original / bytes.saturating_sub(empty) as f64);
    Ok(Kept { all, grown, dictionary_bytes, put_us, get_us })
}

/// What the store takes without pages, once its contexts were used.
fn empty_bytes(store: &Store) -> Result<u64, Box<dyn Error>> {
    let space = store.space(SpaceConfig::persistent(1))?;
    let mut page = [b' '; PAGE_BYTES];
    page[..11].copy_from_slice(b"not uniform");
    space.put(0, &page)?;
    space.get(0, &mut page)?;
    drop(space);
    Ok(store.stats().metadata_bytes)
}

fn measure(file: &Path, most: usize) -> Result<Row, Box<dyn Error>> {
    let pages = read_pages(file, most)?;
    let store: Result<Vec<_>, _> = CODECS.iter().map(|&codec| in_store(codec, &pages)).collect();
    let name = file.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into());
    Ok(Row { name, zram: in_kernel(&pages)?, store: store? })
}

fn mean(factors: &[f64]) -> Option<f64> {
    let logarithms: f64 = factors.iter().map(|factor| factor.ln()).sum();
    (!factors.is_empty()).then(|| (logarithms / factors.len() as f64).exp())
}

fn print_means(rows: &[Row], words: &str) {
    let mut cells = Vec::new();
    for codec in 0..CODECS.len() {
        for part in [|kept: &Kept| kept.all, |kept: &Kept| kept.grown] {
            let factors: Vec<f64> =
                rows.iter().filter_map(|row| Some(part(&row.store[codec]) / row.zram?)).collect();
            cells.push(mean(&factors).map_or("-".to_owned(), |mean| format!("**{mean:.3}x**")));
        }
    }
    println!("| {words} | | {} |", cells.join(" | "));
}

fn run() -> Result<(), Box<dyn Error>> {
    let (mut most, mut files) = (usize::MAX, Vec::<PathBuf>::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => {}
            "--mib" => {
                most = arguments.next().ok_or("--mib needs a value")?.parse::<usize>()? * 256;
            }
            path => files.extend(page_files(Path::new(path))?),
        }
    }
    if files.is_empty() {
        return Err("name page files or a folder of them; `cargo xtask corpus` makes one".into());
    }
    if let Some(reason) = zram::missing() {
        println!("SKIPPED: the kernel's figures: {reason}\n");
    }
    let heads: Vec<String> =
        CODECS.iter().map(|codec| format!("{} | without fixed", head(codec))).collect();
    println!("| pages | kernel zram, lz4 | {} |", heads.join(" | "));
    println!("|---|---|{}", "---|---|".repeat(CODECS.len()));
    let mut rows = Vec::new();
    for file in &files {
        let row = measure(file, most)?;
        let cell = |kept: &Kept| format!("{:.2} | {:.2}", kept.all, kept.grown);
        let cells: Vec<String> = row.store.iter().map(cell).collect();
        let kernel = row.zram.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
        println!("| {} | {kernel} | {} |", row.name, cells.join(" | "));
        rows.push(row);
    }
    print_means(&rows, "geometric mean of the factors");
    let times = times(&rows);
    rows.retain(|row| row.name != INCOMPRESSIBLE);
    print_means(&rows, "the same without incompressible");
    println!("\n{times}");
    Ok(())
}

/// Microseconds a put and a get, and the length of the dictionary.
fn times(rows: &[Row]) -> String {
    let heads: Vec<String> = CODECS.iter().map(head).collect();
    let mut text = format!("| put us, get us, dictionary | {} |\n", heads.join(" | "));
    text += &format!("|---|{}\n", "---|".repeat(CODECS.len()));
    let cell = |kept: &Kept| {
        let dictionary = kept.dictionary_bytes.map(|bytes| format!(", {bytes}"));
        format!("{:.1}, {:.1}{}", kept.put_us, kept.get_us, dictionary.unwrap_or_default())
    };
    for row in rows {
        let cells: Vec<String> = row.store.iter().map(cell).collect();
        text += &format!("| {} | {} |\n", row.name, cells.join(" | "));
    }
    text
}

fn head((codec, with_dictionary): &(&str, bool)) -> String {
    format!("store, {codec}{}", if *with_dictionary { " with a dictionary" } else { "" })
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("store: {error}");
            ExitCode::FAILURE
        }
    }
}
