//! Reads a file into a region whose limit is far smaller, and writes it out again:
//! `cargo run --release -p pagefold-region --example pinned_read [FILE]`.
//!
//! `read(2)` into cold memory would be `EFAULT`; into a pinned range it works.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    env,
    fs::File,
    io::{self, Read, Write},
};

use pagefold_region::{Advice, Region};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = env::args_os().nth(1).map_or_else(env::current_exe, |path| Ok(path.into()))?;
    let mut file = File::open(&path)?;
    let len = usize::try_from(file.metadata()?.len())?;
    let mut region = Region::builder(len).resident_limit(1 << 20).build()?;

    // By hand, the first page; the rest by the helper, piece by piece.
    let head = len.min(4096);
    file.read_exact(&mut region.pin_mut(0..head)?)?;
    let read = region.read_from(head..len, &mut file)?;
    assert_eq!(head + read, len);
    println!("{len} bytes of {} are in the region", path.display());

    region.advise(0..len, Advice::Cold)?;
    let stats = region.stats();
    println!(
        "cold, they take {} KiB instead of {}",
        stats.store.pool_bytes >> 10,
        stats.store.original_bytes >> 10
    );

    let mut back = Compare { file: File::open(&path)?, same: true };
    region.write_to(0..len, &mut back)?;
    assert!(back.same, "every byte is the file's");
    Ok(())
}

/// Compares what is written with a file.
struct Compare {
    file: File,
    same: bool,
}

impl Write for Compare {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut expected = vec![0; bytes.len()];
        self.file.read_exact(&mut expected)?;
        self.same &= expected == bytes;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
