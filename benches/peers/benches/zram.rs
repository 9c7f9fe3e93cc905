//! The pools beside the kernel's zram, on the same pages in the same run: how densely each packs them, when they are new
//! and after churn.
//!
//! `cargo bench --manifest-path benches/peers/Cargo.toml --bench zram -- [--mib N] [--seed N] PAGES...` takes page files
//! or folders of them (`cargo xtask corpus` makes one) and prints Markdown. zram compresses with lz4, the pools are
//! given the same pages compressed with lz4. As zram does, a page that would take a frame of its own anyway is kept as
//! it is, and one of a repeated word takes nothing. Every page is read back and compared before its row is printed.
//!
//! Phases: *fresh* is a fill; *churned*: every page was replaced three times on average by another one of the file;
//! *compacted*: as far as the peer can; *halved*: a random half was freed (zram: overwritten by zeros, which takes no
//! memory there) and the rest compacted.
#![forbid(unsafe_code)]

#[path = "../../../crates/pool/benches/common/mod.rs"]
#[expect(dead_code, reason = "the pool's own benchmarks use the rest")]
mod common;

use std::{error::Error, path::Path, path::PathBuf, process::ExitCode};

use common::Rng;
use pagefold_codec::{Codec, CodecSpec, Encoded, accept_len, encode, same_filled};
use pagefold_peers::{
    pages::{page_files, read_pages},
    zram::{self, PAGE_BYTES, Page, Zram},
};
use pagefold_pool::{
    Allocator, Handle, Pool, PoolBuilder, ZsmallocOptions,
    classes::{ClassConfig, ClassTable},
};

/// How often a page is replaced, on average.
const REWRITES: usize = 3;

struct Options {
    /// The most pages of a file.
    pages: usize,
    seed: u64,
    files: Vec<PathBuf>,
}

impl Options {
    fn parse() -> Result<Self, Box<dyn Error>> {
        let mut parsed = Self { pages: usize::MAX, seed: 1, files: Vec::new() };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--bench" => {}
                "--mib" => parsed.pages = value()?.parse::<usize>()? * 256,
                "--seed" => parsed.seed = value()?.parse()?,
                path => parsed.files.extend(page_files(Path::new(path))?),
            }
        }
        Ok(parsed)
    }
}

/// What a contender says of itself after a phase.
#[derive(Clone, Copy)]
struct Figures {
    payload_bytes: u64,
    frame_bytes: u64,
    metadata_bytes: u64,
}

impl Figures {
    fn density(&self) -> f64 {
        self.payload_bytes as f64 / self.frame_bytes as f64
    }
}

/// The same steps for every contender.
trait Contender {
    /// Replaces the page with this number by another page of the file; `None` frees it.
    fn replace(&mut self, number: usize, page: Option<usize>) -> Result<(), Box<dyn Error>>;
    fn compact(&mut self) -> Result<(), Box<dyn Error>>;
    fn figures(&self) -> Result<Figures, Box<dyn Error>>;
    /// Compares every page with what it should be.
    fn verify(&self, expected: &[Option<usize>]) -> Result<(), Box<dyn Error>>;
}

struct InKernel<'a> {
    device: Zram,
    pages: &'a [Page],
}

impl Contender for InKernel<'_> {
    fn replace(&mut self, number: usize, page: Option<usize>) -> Result<(), Box<dyn Error>> {
        let zeros = Page([0; PAGE_BYTES]);
        let page = page.map_or(&zeros, |page| &self.pages[page]);
        Ok(self.device.write_at(number, page)?)
    }

    fn compact(&mut self) -> Result<(), Box<dyn Error>> {
        Ok(self.device.compact()?)
    }

    fn figures(&self) -> Result<Figures, Box<dyn Error>> {
        let stat = self.device.stat()?;
        Ok(Figures {
            payload_bytes: stat.compressed_bytes,
            frame_bytes: stat.used_bytes,
            metadata_bytes: self.device.metadata_bytes()?,
        })
    }

    fn verify(&self, expected: &[Option<usize>]) -> Result<(), Box<dyn Error>> {
        let zeros = Page([0; PAGE_BYTES]);
        let expected: Vec<Page> =
            expected.iter().map(|page| page.map_or(zeros, |page| self.pages[page])).collect();
        Ok(self.device.verify(&expected)?)
    }
}

/// A page as a pool gets it; `None`: one repeated word, no object.
type Object = Option<Vec<u8>>;

struct InPool<'a> {
    pool: Box<dyn Pool>,
    objects: &'a [Object],
    handles: Vec<Option<Handle>>,
}

impl<'a> InPool<'a> {
    fn new(builder: PoolBuilder, objects: &'a [Object]) -> Result<Self, Box<dyn Error>> {
        let limit = objects.len() * (PAGE_BYTES + 256) + (16 << 20);
        let pool = builder.limit(limit).build()?;
        Ok(Self { pool, objects, handles: vec![None; objects.len()] })
    }
}

impl Contender for InPool<'_> {
    fn replace(&mut self, number: usize, page: Option<usize>) -> Result<(), Box<dyn Error>> {
        if let Some(handle) = self.handles[number].take() {
            self.pool.free(handle)?;
        }
        if let Some(object) = page.and_then(|page| self.objects[page].as_ref()) {
            self.handles[number] = Some(self.pool.store(object)?);
        }
        Ok(())
    }

    fn compact(&mut self) -> Result<(), Box<dyn Error>> {
        while self.pool.compact(1 << 20).more {}
        Ok(())
    }

    fn figures(&self) -> Result<Figures, Box<dyn Error>> {
        let stats = self.pool.stats();
        Ok(Figures {
            payload_bytes: stats.payload_bytes,
            frame_bytes: stats.frame_bytes,
            metadata_bytes: stats.metadata_bytes,
        })
    }

    fn verify(&self, expected: &[Option<usize>]) -> Result<(), Box<dyn Error>> {
        let mut buffer = [0; PAGE_BYTES];
        for (number, page) in expected.iter().enumerate() {
            let object = page.and_then(|page| self.objects[page].as_ref());
            match (self.handles[number], object) {
                (None, None) => {}
                (Some(handle), Some(object)) => {
                    let len = self.pool.read_into(handle, &mut buffer)?;
                    if buffer[..len] != object[..] {
                        return Err(format!("object {number} is another one").into());
                    }
                }
                _ => return Err(format!("object {number} is there or not, wrongly").into()),
            }
        }
        Ok(self.pool.validate()?)
    }
}

/// The phases of one contender that was filled with the pages in turn, each verified.
fn life(
    contender: &mut dyn Contender,
    pages: usize,
    seed: u64,
) -> Result<[Figures; 4], Box<dyn Error>> {
    let mut expected: Vec<Option<usize>> = (0..pages).map(Some).collect();
    contender.verify(&expected)?;
    let fresh = contender.figures()?;
    let mut rng = Rng::new(seed);
    for _ in 0..pages * REWRITES {
        let (number, page) = (rng.below(pages), rng.below(pages));
        contender.replace(number, Some(page))?;
        expected[number] = Some(page);
    }
    let churned = contender.figures()?;
    contender.compact()?;
    contender.verify(&expected)?;
    let compacted = contender.figures()?;
    for (number, expected) in expected.iter_mut().enumerate() {
        if rng.below(2) == 0 {
            contender.replace(number, None)?;
            *expected = None;
        }
    }
    contender.compact()?;
    contender.verify(&expected)?;
    Ok([fresh, churned, compacted, contender.figures()?])
}

/// A pool that is compared.
type Peer = (&'static str, fn() -> PoolBuilder);

const PEERS: [Peer; 5] = [
    ("zsmalloc, across classes", || PoolBuilder::new(Allocator::zsmalloc())),
    ("zsmalloc, within classes", || PoolBuilder::new(ZsmallocOptions::new().class_lending(false))),
    ("nbud", || PoolBuilder::new(Allocator::nbud())),
    ("xcfmalloc", || PoolBuilder::new(Allocator::xcfmalloc())),
    ("zbud", || PoolBuilder::new(Allocator::zbud())),
];

fn objects(codec: &dyn Codec, pages: &[Page]) -> Vec<Object> {
    let classes = ClassTable::new(ClassConfig::default()).expect("a possible table");
    let mut scratch = [0; accept_len(PAGE_BYTES)];
    let object = |page: &Page| match encode(codec, &page.0, &mut scratch) {
        Encoded::SameFilled(_) => None,
        Encoded::Compressed(bytes)
            if classes.class_of(bytes.len()).is_some_and(|class| !class.is_huge()) =>
        {
            Some(bytes.to_vec())
        }
        Encoded::Compressed(_) | Encoded::Raw(_) => Some(page.0.to_vec()),
    };
    pages.iter().map(object).collect()
}

fn row(name: &str, original: u64, lives: &[Figures; 4]) {
    let densities: Vec<String> =
        lives.iter().map(|figures| format!("{:.3}", figures.density())).collect();
    let fresh = lives[0];
    println!(
        "| {name} | {} | {:.2} | {:.2} |",
        densities.join(" | "),
        original as f64 / fresh.frame_bytes as f64,
        original as f64 / (fresh.frame_bytes + fresh.metadata_bytes) as f64,
    );
}

fn measure(file: &Path, options: &Options) -> Result<(), Box<dyn Error>> {
    let codec = "lz4".parse::<CodecSpec>()?.build()?;
    let pages = read_pages(file, options.pages)?;
    let objects = objects(&*codec, &pages);
    let original = (pages.len() * PAGE_BYTES) as u64;
    let same = pages.iter().filter(|page| same_filled(&page.0).is_some()).count();
    println!("\n{}: {} pages, {same} same-filled\n", file.display(), pages.len());
    println!(
        "| packing | density fresh | churned | compacted | halved, compacted | original / frames | original / (frames + metadata) |"
    );
    println!("|---|---|---|---|---|---|---|");
    match zram::missing() {
        Some(reason) => println!("SKIPPED: {reason}"),
        None => {
            let device = Zram::new("lz4", pages.len())?;
            // Filled by 64 KiB, as a swap device is; pages are rewritten one by one.
            device.fill(&pages)?;
            let mut kernel = InKernel { device, pages: &pages };
            let lives = life(&mut kernel, pages.len(), options.seed)?;
            row("kernel zram, lz4", original, &lives);
        }
    }
    for (name, builder) in PEERS {
        let mut pool = InPool::new(builder(), &objects)?;
        (0..pages.len()).try_for_each(|number| pool.replace(number, Some(number)))?;
        let lives = life(&mut pool, pages.len(), options.seed)?;
        row(name, original, &lives);
    }
    Ok(())
}

fn main() -> ExitCode {
    let outcome = Options::parse().and_then(|options| {
        if options.files.is_empty() {
            return Err(
                "name page files or a folder of them; `cargo xtask corpus` makes one".into()
            );
        }
        options.files.iter().try_for_each(|file| measure(file, &options))
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zram: {error}");
            ExitCode::FAILURE
        }
    }
}
