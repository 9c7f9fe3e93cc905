//! How fast extents are written beside plain writes of as many bytes, and what a read of an object costs.
//!
//! `cargo bench -p pagefold-spill --bench spill [-- DIRECTORY] [MEGABYTES]` prints a table: medians over rounds in turn, with the
//! lowest and the highest. Objects of 200 to 2000 bytes in a mixed order; every object read is compared. Plain writes are
//! of whole extents to a file of the same directory. Both end with `fsync`.
#![forbid(unsafe_code)]

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    time::Instant,
};

use pagefold_spill::{Backing, EXTENT_BYTES, FileBacking, Label, Owner, Place, Spill};
use pagefold_testkit::seed::Seed;
use rand::{Rng as _, RngExt as _, seq::SliceRandom as _};

const ROUNDS: usize = 5;

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[expect(clippy::print_stdout, reason = "the table is the output")]
fn print(name: &str, unit: &str, mut values: Vec<f64>) -> f64 {
    let median = median(&mut values);
    println!(
        "| {name} | {median:.2} {unit} | {:.2} to {:.2} |",
        values[0],
        values[values.len() - 1]
    );
    median
}

/// A file that a test can flush.
#[derive(Debug)]
struct Flushed(FileBacking);

impl Backing for Flushed {
    fn write(&self, slot: u32, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write(slot, bytes)
    }

    fn read(&self, slot: u32, offset: u32, into: &mut [u8]) -> std::io::Result<()> {
        self.0.read(slot, offset, into)
    }

    fn try_read(&self, slot: u32, offset: u32, into: &mut [u8]) -> std::io::Result<()> {
        self.0.try_read(slot, offset, into)
    }

    fn discard(&self, slot: u32) -> std::io::Result<()> {
        self.0.discard(slot)
    }
}

fn plain(directory: &Path, bytes: &[u8], extents: usize, flush: bool) -> f64 {
    let file: File = tempfile::tempfile_in(directory).expect("a directory that can be written");
    let began = Instant::now();
    for extent in 0..extents {
        file.write_all_at(bytes, (extent * bytes.len()) as u64).expect("room");
    }
    if flush {
        file.sync_data().expect("a disk");
    }
    (extents * bytes.len()) as f64 / began.elapsed().as_secs_f64() / 1e6
}

struct Objects {
    bytes: Vec<u8>,
    ranges: Vec<(usize, usize)>,
}

impl Objects {
    fn new() -> Self {
        let mut rng = Seed::new(0x5b11).rng(0);
        let mut bytes = vec![0; 4 << 20];
        rng.fill_bytes(&mut bytes);
        let ranges = (0..1 << 14).map(|_| {
            let len = rng.random_range(200..=2000);
            (rng.random_range(0..bytes.len() - len), len)
        });
        let ranges = ranges.collect();
        Self { bytes, ranges }
    }

    fn get(&self, at: usize) -> &[u8] {
        let (start, len) = self.ranges[at % self.ranges.len()];
        &self.bytes[start..start + len]
    }
}

/// The speed of the writes in MB/s, and where the objects are.
fn spilled(
    directory: &Path,
    objects: &Objects,
    extents: usize,
    encrypts: bool,
) -> (f64, Spill, Vec<Place>) {
    let backing = Flushed(FileBacking::new(directory, EXTENT_BYTES).expect("a file"));
    let spill = Spill::builder(backing).encrypts(encrypts).build().expect("sensible");
    let mut batch = spill.batch().expect("memory");
    let (mut places, mut next) = (Vec::new(), 0);
    let began = Instant::now();
    for _ in 0..extents {
        while batch.push(Owner(0, next as u64), Label::NONE, objects.get(next)).is_ok() {
            next += 1;
        }
        let written = spill.write(&mut batch).expect("room");
        places.extend((0..written.len()).map(|number| written.keep(number)));
    }
    let speed = spill.stats().written_bytes as f64 / began.elapsed().as_secs_f64() / 1e6;
    (speed, spill, places)
}

#[expect(clippy::print_stdout, reason = "the table is the output")]
fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let directory = arguments.iter().map(PathBuf::from).find(|path| path.is_dir());
    let directory = directory.unwrap_or_else(std::env::temp_dir);
    let megabytes = arguments.iter().find_map(|text| text.parse().ok()).unwrap_or(256);
    let objects = Objects::new();
    let mut speeds = [Vec::new(), Vec::new(), Vec::new()];
    let (mut medians, mut highs) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        speeds[0].push(plain(&directory, &objects.bytes[..EXTENT_BYTES], megabytes, false));
        for (at, encrypts) in [(1, true), (2, false)] {
            let (speed, spill, places) = spilled(&directory, &objects, megabytes, encrypts);
            speeds[at].push(speed);
            if !encrypts {
                continue;
            }
            let mut order: Vec<usize> = (0..places.len()).collect();
            order.shuffle(&mut Seed::new(0x5b12).rng(round as u64));
            order.truncate(20_000);
            let mut times = Vec::new();
            let mut into = [0; 2000];
            for at in order {
                let began = Instant::now();
                let len = spill.read(places[at], &mut into).expect("there");
                times.push(began.elapsed().as_secs_f64() * 1e6);
                assert!(into[..len] == *objects.get(at), "object {at} is another one");
            }
            times.sort_by(f64::total_cmp);
            medians.push(times[times.len() / 2]);
            highs.push(times[times.len() * 99 / 100]);
        }
    }
    println!("{megabytes} extents of {EXTENT_BYTES} bytes in {}", directory.display());
    println!("| what | median | lowest to highest round |\n|---|---|---|");
    let [plain, encrypted, checked] = speeds;
    let plain = print("plain writes", "MB/s", plain);
    let encrypted = print("extents, encrypted", "MB/s", encrypted);
    let checked = print("extents, checked", "MB/s", checked);
    print("read, from the page cache, median", "us", medians);
    print("read, from the page cache, p99", "us", highs);
    println!(
        "\nencrypted over plain {:.3}, checked over plain {:.3}",
        encrypted / plain,
        checked / plain
    );
}
