//! The process whose memory the kernel swaps: `pagefold bench swapped`, which `pagefold bench region` starts for each figure.
//!
//! ```text
//!  the bench: start --> move into the cgroup --> data into the pipe --> JSON from the pipe
//!  this process:  wait ......................... read, run, print
//! ```

use std::{
    fs,
    io::{self, Read as _},
};

use pagefold_sys::pages;

use super::{
    config::BenchError,
    place::{self, Busy},
    workload::{self, Plan},
};
use crate::{
    console::{self, OutputError},
    exit::Exit,
};

/// What the bench asks of the process.
#[derive(Debug)]
pub(crate) struct SwappedConfig {
    pub(crate) workload: String,
    pub(crate) words: usize,
    pub(crate) busy: bool,
}

/// Reads the words from standard input, runs the workload, and prints its figures.
///
/// # Errors
/// When the workload is not known or the input is too short.
pub(crate) fn run(config: &SwappedConfig) -> Result<Exit, BenchError> {
    let workload = workload::ALL.iter().find(|one| one.name == config.workload);
    let workload = workload.ok_or_else(|| BenchError::Workload(config.workload.clone()))?;
    let plan = Plan::new(config.words);
    let mut words = vec![0_u64; config.words];
    // A kernel without huge pages says no.
    let _ = pages::without_huge_pages(&words);
    read(&mut words).map_err(BenchError::Input)?;
    let _busy = Busy::start(config.busy);
    let ran = place::timed(workload, &plan, &mut words, |_| major_faults());
    let mut text =
        serde_json::to_string(&ran).map_err(|error| OutputError::from(io::Error::from(error)))?;
    text.push('\n');
    console::print(text.as_bytes())?;
    Ok(Exit::Success)
}

/// In pieces, so that no second copy takes the limit.
fn read(words: &mut [u64]) -> io::Result<()> {
    let mut stdin = io::stdin().lock();
    let mut page = [0_u8; 4096];
    for into in words.chunks_mut(page.len() / 8) {
        let bytes = &mut page[..into.len() * 8];
        stdin.read_exact(bytes)?;
        for (word, bytes) in into.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_ne_bytes(*bytes);
        }
    }
    Ok(())
}

/// Faults of this process that brought a page from swap or a file.
fn major_faults() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name, which may have spaces: state, 8 fields, then the major faults.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    fields.split_whitespace().nth(9).and_then(|field| field.parse().ok()).unwrap_or(0)
}
