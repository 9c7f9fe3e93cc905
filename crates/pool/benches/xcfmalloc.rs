//! Blocks in any hole, and classes over chains, beside other packings: what each keeps dense, and what it costs, on real pages.
//!
//! `cargo bench -p pagefold-pool --bench xcfmalloc -- [--codec CODEC] [--mib N] [--only TEXT] PAGES...` takes page
//! files, or folders of them (`cargo xtask corpus` makes one), and prints two tables. The first is the life of a pool: it is filled with
//! the compressed pages in turn, every object is rewritten three times on average, a random half is freed, and the rest
//! is compacted. The second is text that compresses to three quarters: pages whose compressed form has 2900 to 3250
//! bytes. Every pool is read back and compared before its row is printed.
#![forbid(unsafe_code)]

#[expect(dead_code, reason = "each benchmark uses its part of what they share")]
mod common;

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use common::Rng;
use pagefold_codec::{Codec, CodecSpec, Encoded, accept_len, encode};
use pagefold_pool::{
    Allocator, BlockSelection, Handle, Pool, PoolBuilder, Stats, XcfmallocOptions, ZsmallocOptions,
};

const PAGE_BYTES: usize = 4096;
/// How often each object is rewritten, on average.
const REWRITES: usize = 3;
/// Lengths that a page which compresses to about three quarters has.
const THREE_QUARTERS: std::ops::Range<usize> = 2900..3251;

/// What is asked for.
struct Arguments {
    codec: CodecSpec,
    /// Payload of each pool.
    bytes: usize,
    /// Only contenders whose name has this text.
    only: String,
    files: Vec<PathBuf>,
}

impl Arguments {
    fn parse() -> Result<Self, Box<dyn Error>> {
        let mut parsed = Self {
            codec: "lz4".parse()?,
            bytes: 128 << 20,
            only: String::new(),
            files: Vec::new(),
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--bench" => {}
                "--codec" => parsed.codec = value()?.parse()?,
                "--mib" => parsed.bytes = value()?.parse::<usize>()? << 20,
                "--only" => parsed.only = value()?,
                path => parsed.files.extend(page_files(Path::new(path))?),
            }
        }
        Ok(parsed)
    }
}

/// The file, or the page files of the folder.
fn page_files(path: &Path) -> Result<Vec<PathBuf>, std::io::Error> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut files: Vec<PathBuf> = fs::read_dir(path)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_, std::io::Error>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "pages"));
    files.sort();
    Ok(files)
}

/// The pages as a store would keep them, those of all files mixed; pages of one repeated word need no bytes and are left
/// out.
fn kept(codec: &dyn Codec, files: &[PathBuf]) -> Result<Vec<Vec<u8>>, std::io::Error> {
    let mut kept = Vec::new();
    let mut scratch = [0; accept_len(PAGE_BYTES)];
    for file in files {
        for page in fs::read(file)?.chunks_exact(PAGE_BYTES) {
            match encode(codec, page, &mut scratch) {
                Encoded::SameFilled(_) => {}
                Encoded::Compressed(bytes) | Encoded::Raw(bytes) => kept.push(bytes.to_vec()),
            }
        }
    }
    let mut rng = Rng::new(11);
    for left in (1..kept.len()).rev() {
        kept.swap(left, rng.below(left + 1));
    }
    Ok(kept)
}

/// A pool that is compared.
struct Contender {
    name: &'static str,
    allocator: Allocator,
}

const CONTENDERS: [Contender; 11] = [
    Contender { name: "zsmalloc", allocator: Allocator::zsmalloc() },
    Contender {
        name: "zsmalloc, classes alone",
        allocator: Allocator::Zsmalloc(ZsmallocOptions::new().class_lending(false)),
    },
    Contender {
        name: "zsmalloc, chains of 4",
        allocator: Allocator::Zsmalloc(ZsmallocOptions::new().chain_limit(4)),
    },
    Contender {
        name: "zsmalloc, single frames",
        allocator: Allocator::Zsmalloc(ZsmallocOptions::new().chain_limit(1)),
    },
    Contender {
        name: "xcfmalloc, 1 block",
        allocator: Allocator::Xcfmalloc(XcfmallocOptions::new().max_blocks(1)),
    },
    Contender { name: "xcfmalloc, 2 blocks", allocator: Allocator::xcfmalloc() },
    Contender {
        name: "xcfmalloc, 4 blocks",
        allocator: Allocator::Xcfmalloc(XcfmallocOptions::new().max_blocks(4)),
    },
    Contender {
        name: "xcfmalloc, 2 blocks, inverted",
        allocator: Allocator::Xcfmalloc(
            XcfmallocOptions::new().selection(BlockSelection::Inverted),
        ),
    },
    Contender {
        name: "xcfmalloc, 4 blocks, inverted",
        allocator: Allocator::Xcfmalloc(
            XcfmallocOptions::new().max_blocks(4).selection(BlockSelection::Inverted),
        ),
    },
    Contender { name: "nbud", allocator: Allocator::nbud() },
    Contender { name: "zbud", allocator: Allocator::zbud() },
];

/// A pool and which of the kept pages each object is.
struct Life<'a> {
    pool: Box<dyn Pool>,
    kept: &'a [Vec<u8>],
    objects: Vec<(Handle, usize)>,
    rng: Rng,
}

impl<'a> Life<'a> {
    fn new(contender: &Contender, kept: &'a [Vec<u8>], bytes: usize) -> Self {
        let builder = PoolBuilder::new(contender.allocator).limit(2 * bytes + (16 << 20));
        let pool = builder.build().expect("a pool of this size");
        Self { pool, kept, objects: Vec::new(), rng: Rng::new(7) }
    }

    /// Stores pages in turn until their lengths come to `bytes`.
    fn fill(&mut self, bytes: usize) {
        let mut stored = 0;
        for page in (0..self.kept.len()).cycle() {
            if stored >= bytes {
                return;
            }
            let handle = self.pool.store(&self.kept[page]).expect("below the limit");
            self.objects.push((handle, page));
            stored += self.kept[page].len();
        }
    }

    /// Frees random objects and stores others in their stead; the medians of stores and of frees, in ns.
    fn churn(&mut self) -> (u64, u64) {
        let (mut each, mut frees) = (Vec::new(), Vec::new());
        for _ in 0..REWRITES * self.objects.len() {
            let at = self.rng.below(self.objects.len());
            let page = self.rng.below(self.kept.len());
            let begin = Instant::now();
            self.pool.free(self.objects[at].0).expect("alive");
            frees.push(begin.elapsed().as_nanos());
            let begin = Instant::now();
            let handle = self.pool.store(&self.kept[page]).expect("below the limit");
            each.push(begin.elapsed().as_nanos());
            self.objects[at] = (handle, page);
        }
        let median = |mut times: Vec<u128>| {
            times.sort_unstable();
            u64::try_from(times[times.len() / 2]).expect("short")
        };
        (median(each), median(frees))
    }

    /// Mean ns to copy a random object out.
    fn load(&mut self) -> u64 {
        let mut buffer = [0; PAGE_BYTES];
        let count = self.objects.len().min(200_000);
        let order: Vec<usize> = (0..count).map(|_| self.rng.below(self.objects.len())).collect();
        let begin = Instant::now();
        for at in order {
            self.pool.read_into(self.objects[at].0, &mut buffer).expect("alive");
        }
        u64::try_from(begin.elapsed().as_nanos()).expect("short") / count as u64
    }

    fn free_half(&mut self) {
        let rng = &mut self.rng;
        let pool = &self.pool;
        self.objects.retain(|(handle, _)| {
            let stays = rng.below(2) == 0;
            if !stays {
                pool.free(*handle).expect("alive");
            }
            stays
        });
    }

    /// Reads every object and compares; the row is void otherwise.
    fn verify(&self) {
        let mut buffer = [0; PAGE_BYTES];
        for &(handle, page) in &self.objects {
            let len = self.pool.read_into(handle, &mut buffer).expect("alive");
            assert_eq!(&buffer[..len], self.kept[page], "an object changed");
        }
        self.pool.validate().expect("valid");
    }
}

fn share(part: u64, of: u64) -> f64 {
    100.0 * part as f64 / of.max(1) as f64
}

fn metadata_per_object(stats: &Stats) -> f64 {
    stats.metadata_bytes as f64 / stats.objects.max(1) as f64
}

#[expect(clippy::print_stdout, reason = "the table is the output")]
fn row(cells: &[String]) {
    println!("| {} |", cells.join(" | "));
}

fn head(cells: &[&str]) {
    row(&cells.iter().map(ToString::to_string).collect::<Vec<_>>());
    row(&vec!["---".to_owned(); cells.len()]);
}

fn life_row(contender: &Contender, kept: &[Vec<u8>], bytes: usize) {
    let mut life = Life::new(contender, kept, bytes);
    life.fill(bytes);
    let filled = life.pool.stats();
    let (store_ns, free_ns) = life.churn();
    let load_ns = life.load();
    let churned = life.pool.stats();
    life.free_half();
    let half = life.pool.stats();
    let begin = Instant::now();
    let (mut freed, mut moved) = (0, 0);
    loop {
        let report = life.pool.compact(1 << 20);
        freed += report.freed_frames;
        moved += report.moved_bytes;
        if !report.more {
            break;
        }
    }
    let took = begin.elapsed();
    let compacted = life.pool.stats();
    life.verify();
    row(&[
        contender.name.to_owned(),
        format!("{:.4}", filled.density()),
        format!("{:.4}", churned.density()),
        format!("{:.4}", half.density()),
        format!("{:.4}", compacted.density()),
        format!(
            "{:.1} / {:.1} / {:.1} %",
            share(filled.split_objects, filled.objects),
            share(churned.split_objects, churned.objects),
            share(compacted.split_objects, compacted.objects)
        ),
        format!("{:.1}", metadata_per_object(&churned)),
        format!("{:.2} us", store_ns as f64 / 1000.0),
        format!("{:.2} us", free_ns as f64 / 1000.0),
        format!("{:.2} us", load_ns as f64 / 1000.0),
        format!("{:.2} us", took.as_secs_f64() * 1e6 / (freed as f64).max(1.0)),
        format!("{:.0}", moved as f64 / (freed as f64).max(1.0)),
    ]);
}

fn three_quarters_row(contender: &Contender, kept: &[Vec<u8>], bytes: usize) {
    let mut life = Life::new(contender, kept, bytes);
    life.fill(bytes);
    let filled = life.pool.stats();
    let original = (life.objects.len() * PAGE_BYTES) as f64;
    life.churn();
    life.pool.trim();
    let churned = life.pool.stats();
    life.verify();
    row(&[
        contender.name.to_owned(),
        format!("{:.4}", filled.payload_bytes as f64 / original),
        format!("{:.4}", filled.resident_bytes() as f64 / original),
        format!("{:.4}", churned.resident_bytes() as f64 / original),
        format!("{:.1}", metadata_per_object(&filled)),
        format!("{:.1} %", share(filled.split_objects, filled.objects)),
    ]);
}

#[expect(clippy::print_stdout, reason = "the tables are the output")]
fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse()?;
    let codec = arguments.codec.build()?;
    let kept = kept(&*codec, &arguments.files)?;
    if kept.is_empty() {
        println!("no pages: name page files, or folders of them, after `--`");
        return Ok(());
    }
    println!("{} of {} pages, {} MiB\n", arguments.codec, kept.len(), arguments.bytes >> 20);
    head(&[
        "allocator",
        "density: fill",
        "churn",
        "half freed",
        "compacted",
        "split: fill / churn / compacted",
        "metadata/object",
        "store",
        "free",
        "load",
        "time a freed frame",
        "bytes moved for it",
    ]);
    let contenders = || CONTENDERS.iter().filter(|one| one.name.contains(&arguments.only));
    for contender in contenders() {
        life_row(contender, &kept, arguments.bytes);
    }
    let text: Vec<Vec<u8>> =
        kept.into_iter().filter(|page| THREE_QUARTERS.contains(&page.len())).collect();
    if text.is_empty() {
        println!("\nno page compresses to three quarters");
        return Ok(());
    }
    println!("\n{} pages of 2900 to 3250 bytes\n", text.len());
    head(&[
        "allocator",
        "payload / original",
        "all that is resident / original: fill",
        "churn",
        "metadata/object",
        "split",
    ]);
    for contender in contenders() {
        three_quarters_row(contender, &text, arguments.bytes);
    }
    Ok(())
}
