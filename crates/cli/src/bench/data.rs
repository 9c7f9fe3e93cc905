//! The data of a run: the first bytes of files, or pages of the generated corpus.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use pagefold_testkit::{corpus::Mix, seed::Seed};

use super::config::{BenchConfig, BenchError, MIB_MIN};

const PAGE: usize = 4096;
const SEED: u64 = 1;

/// As words.
pub(super) fn words(bytes: &[u8]) -> Vec<u64> {
    let (words, _) = bytes.as_chunks::<8>();
    words.iter().map(|word| u64::from_ne_bytes(*word)).collect()
}

/// # Errors
/// When a file cannot be read, or all together are too short.
pub(super) fn read(config: &BenchConfig) -> Result<Vec<u64>, BenchError> {
    let wanted = config.mib << 20;
    if config.files.is_empty() {
        let pages = Mix::PROCESS.pages(&mut Seed::new(SEED).rng(0), wanted / PAGE);
        return Ok(words(&pages.concat()));
    }
    let mut bytes = Vec::new();
    for file in &config.files {
        append(file, wanted, &mut bytes)
            .map_err(|source| BenchError::Read { file: file.clone(), source })?;
    }
    // Whole pages, in any number of them: limits are fractions of it.
    bytes.truncate(bytes.len() / PAGE * PAGE);
    if bytes.len() < MIB_MIN << 20 {
        return Err(BenchError::Short { bytes: bytes.len() });
    }
    Ok(words(&bytes))
}

fn append(file: &Path, wanted: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
    let left = wanted - bytes.len();
    File::open(file)?.take(left as u64).read_to_end(bytes).map(drop)
}
