//! How the cost of a page grows with the store.
//!
//! `cargo bench -p pagefold-store --bench scale -- PAGES-FILE [GIB [ROUNDS]]`: stores of 64 MiB, 512 MiB, 4 GiB and 16 GiB of pages, up to
//! `GIB` (16), all there at once. A round has a turn of each store, by one thread and by two: 50 000 gets, then 50 000 overwrites, each at
//! a random key. The codec is lz4 without staging, so a put runs it. Then spaces of 2^20 to 2^40 keys, and 1 to 1000 spaces, each with
//! 512 MiB of pages in all. Every get compares its page; times are of the whole loop, the comparison of one word included.
//!
//! A page of the file is changed in its first 8 bytes by its key, so each is another one.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the tables are the output")]

use std::{env, error::Error, fs, thread, time::Instant};

use pagefold_codec::CodecSpec;
use pagefold_store::{PAGE_BYTES, Page, Space, SpaceConfig, Store};

type Failure = Box<dyn Error>;

const TURN: u64 = 50_000;
const MIB: u64 = (1 << 20) / PAGE_BYTES as u64;

/// Pages by key.
struct Source(Vec<u8>);

impl Source {
    fn page(&self, key: u64, version: u64) -> Page {
        let count = self.0.len() / PAGE_BYTES;
        let at = usize::try_from((key + version * 7919) % count as u64).expect("an index");
        let mut page: Page = self.0[at * PAGE_BYTES..][..PAGE_BYTES].try_into().expect("a page");
        page[..8].copy_from_slice(&(key << 16 | version).to_le_bytes());
        page
    }
}

/// A store, its spaces, and how often each page was put.
struct Filled<'s> {
    name: String,
    spaces: Vec<Space>,
    source: &'s Source,
    pages: u64,
    /// Between the keys of a space.
    stride: u64,
}

/// A step of xorshift64.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

impl<'s> Filled<'s> {
    fn new(
        name: String,
        source: &'s Source,
        (pages, keys, spaces): (u64, u64, u64),
    ) -> Result<Self, Failure> {
        let limit = usize::try_from(pages)? * PAGE_BYTES;
        let store = Store::builder().limit(limit.max(64 << 20)).codec(CodecSpec::Lz4).staging(0);
        let store = store.idle_share(0).build()?;
        let of_each = pages / spaces;
        let space =
            |number| store.space(SpaceConfig::persistent(keys).name(format!("space {number}")));
        let spaces = (0..spaces).map(space).collect::<Result<Vec<_>, _>>()?;
        let filled = Self { name, source, pages, stride: keys / of_each, spaces };
        for number in 0..filled.pages {
            let (space, key) = filled.place(number);
            space.put(key, &source.page(number, 0))?;
        }
        Ok(filled)
    }

    fn place(&self, number: u64) -> (&Space, u64) {
        let spaces = self.spaces.len() as u64;
        let space = &self.spaces[usize::try_from(number % spaces).expect("an index")];
        (space, number / spaces * self.stride)
    }

    /// Microseconds a get. What is read is one of two versions.
    fn gets(&self, seed: u64) -> f64 {
        let (mut state, mut page) = (seed, [0; PAGE_BYTES]);
        let began = Instant::now();
        for _ in 0..TURN {
            let number = next(&mut state) % self.pages;
            let (space, key) = self.place(number);
            space.get(key, &mut page).expect("there");
            let word = u64::from_le_bytes(*page.first_chunk().expect("8 bytes"));
            assert_eq!(word >> 16, number, "another page under its key");
        }
        micros(began)
    }

    /// Microseconds an overwrite, with the copy of the page that is put.
    fn puts(&self, seed: u64) -> f64 {
        let mut state = seed;
        let began = Instant::now();
        for round in 0..TURN {
            let number = next(&mut state) % self.pages;
            let (space, key) = self.place(number);
            space.put(key, &self.source.page(number, 1 + round % 2)).expect("room");
        }
        micros(began)
    }

    fn turn(&self, threads: u64, seed: u64) -> (f64, f64) {
        let both = |call: fn(&Self, u64) -> f64| {
            let began = Instant::now();
            thread::scope(|scope| {
                for number in 1..threads {
                    scope.spawn(move || call(self, seed * 31 + number));
                }
                call(self, seed * 31 + threads);
            });
            micros(began) / threads as f64
        };
        (both(Self::gets), both(Self::puts))
    }

    /// Every page is there, with all its bytes.
    fn verify(&self) {
        let mut page = [0; PAGE_BYTES];
        for number in 0..self.pages {
            let (space, key) = self.place(number);
            space.get(key, &mut page).expect("there");
            let version = u64::from_le_bytes(*page.first_chunk().expect("8 bytes")) & 0xffff;
            assert!(page == self.source.page(number, version), "page {number}");
        }
    }
}

fn micros(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e6 / TURN as f64
}

fn median(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}

/// A row a store; ratios to the first one by round.
fn measure(title: &str, stores: &[Filled<'_>], rounds: u64) {
    println!(
        "\n### {title}: microseconds a page, median (least to most), and the ratio to the first row"
    );
    println!("| | threads | get | | overwrite | |\n|---|---|---|---|---|---|");
    for threads in [1, 2] {
        let mut all: Vec<Vec<(f64, f64)>> = vec![Vec::new(); stores.len()];
        for round in 1..=rounds {
            for (store, times) in stores.iter().zip(&mut all) {
                times.push(store.turn(threads, round));
            }
        }
        for (store, times) in stores.iter().zip(&all) {
            let cells = [|time: &(f64, f64)| time.0, |time: &(f64, f64)| time.1].map(|of| {
                let (median_, low, high) = median(times.iter().map(of).collect());
                let ratios = times.iter().zip(&all[0]).map(|(one, first)| of(one) / of(first));
                let ratio = median(ratios.collect()).0;
                format!("{median_:.2} ({low:.2} to {high:.2}) | {ratio:.2}")
            });
            println!("| {} | {threads} | {} |", store.name, cells.join(" | "));
        }
    }
    stores.iter().for_each(Filled::verify);
}

fn main() -> Result<(), Failure> {
    // Cargo passes `--bench`.
    let mut arguments = env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let Some(path) = arguments.next() else {
        eprintln!("no file of pages was given: nothing is measured");
        return Ok(());
    };
    let mut number = |default: u64| arguments.next().map_or(Ok(default), |text| text.parse());
    let (gib, rounds) = (number(16)?, number(5)?);
    let source = Source(fs::read(&path)?);
    if source.0.len() < PAGE_BYTES {
        return Err(format!("{path} has no page of 4 KiB").into());
    }
    println!(
        "{} pages of {path}, {rounds} rounds; every byte verified",
        source.0.len() / PAGE_BYTES
    );
    {
        let sizes = [("64 MiB", 64), ("512 MiB", 512), ("4 GiB", 4096), ("16 GiB", 16384)];
        let sizes = sizes.into_iter().filter(|(_, mib)| *mib <= gib * 1024);
        let stores = sizes
            .map(|(name, mib)| Filled::new(name.to_owned(), &source, (mib * MIB, mib * MIB, 1)));
        measure("pages in a store", &stores.collect::<Result<Vec<_>, _>>()?, rounds);
    }
    {
        let keys = [20, 24, 32, 40]
            .map(|bits| Filled::new(format!("2^{bits} keys"), &source, (512 * MIB, 1 << bits, 1)));
        measure(
            "keys of a space, spread",
            &keys.into_iter().collect::<Result<Vec<_>, _>>()?,
            rounds,
        );
    }
    let spaces = [1, 10, 100, 1000].map(|count| {
        let pages = 512 * MIB / 1000 * 1000;
        Filled::new(format!("{count} spaces"), &source, (pages, pages / count, count))
    });
    measure("spaces of a store", &spaces.into_iter().collect::<Result<Vec<_>, _>>()?, rounds);
    Ok(())
}
