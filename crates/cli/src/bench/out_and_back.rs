//! A page out of memory and back, without a limit: each page by advice, then by one touch.
//!
//! A round: write all; all out; a touch of each in random order; all out again, clean; a touch of each in order. Every word that is
//! touched and, after each way back, every byte is compared.

use std::time::Instant;

use pagefold_procfs::{Pagemap, Process};
use pagefold_region::{Advice, RegionVec};
use pagefold_sys::pages;
use serde::Serialize;

use super::{
    config::{BenchConfig, BenchError},
    peer::Peer,
    workload::{PAGE_WORDS, mix},
};

/// Microseconds a page, and bytes of pages / bytes that hold them compressed.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Figures {
    pub(super) out_dirty_us: f64,
    pub(super) touch_random_us: f64,
    pub(super) out_clean_us: f64,
    pub(super) touch_sequential_us: f64,
    pub(super) ratio: f64,
}

/// A place, and its figures or why it has none.
#[derive(Debug, Serialize)]
pub(super) struct OutAndBack {
    pub(super) place: &'static str,
    #[serde(flatten)]
    pub(super) figures: Option<Figures>,
    pub(super) skipped: Option<String>,
}

/// What is measured: memory whose pages can be sent out.
trait Place {
    fn words(&mut self) -> &mut [u64];
    fn send_out(&mut self) -> Result<(), String>;
    fn held_bytes(&self) -> u64;
}

struct InRegion(RegionVec<u64>);

impl Place for InRegion {
    fn words(&mut self) -> &mut [u64] {
        &mut self.0
    }

    fn send_out(&mut self) -> Result<(), String> {
        let region = self.0.region();
        region.advise(0..region.len(), Advice::Cold).map_err(|error| error.to_string())
    }

    fn held_bytes(&self) -> u64 {
        let stats = self.0.region().stats();
        stats.store.pool_bytes + stats.store.metadata_bytes + stats.table_bytes
    }
}

struct Swapped<'p> {
    words: Vec<u64>,
    peer: &'p Peer,
    held_before: u64,
}

impl Place for Swapped<'_> {
    fn words(&mut self) -> &mut [u64] {
        &mut self.words
    }

    fn send_out(&mut self) -> Result<(), String> {
        pages::page_out(&self.words).map_err(|error| error.to_string())
    }

    fn held_bytes(&self) -> u64 {
        self.peer.held_bytes().unwrap_or(0).saturating_sub(self.held_before)
    }
}

/// Pages of the words that are in memory, by pagemap: an advice and its answer say nothing.
fn present(words: &[u64]) -> Result<usize, String> {
    let range = words.as_ptr_range();
    let range = range.start.addr() as u64..range.end.addr() as u64;
    let pagemap = Pagemap::open(Process::Current).map_err(|error| error.to_string())?;
    let entries = pagemap.read(range).map_err(|error| error.to_string())?;
    Ok(entries.iter().filter(|entry| entry.present()).count())
}

fn all_out(place: &mut impl Place) -> Result<f64, String> {
    let pages = place.words().len() / PAGE_WORDS;
    let began = Instant::now();
    place.send_out()?;
    let us = began.elapsed().as_secs_f64() * 1e6 / pages as f64;
    let there = present(place.words())?;
    if there * 50 > pages {
        return Err(format!("{there} of {pages} pages stayed in memory"));
    }
    Ok(us)
}

/// Microseconds a page.
fn touch_all(
    place: &mut impl Place,
    data: &[u64],
    order: impl Iterator<Item = usize>,
) -> Result<f64, BenchError> {
    let words = place.words();
    let (mut count, mut wrong) = (0_u32, false);
    let began = Instant::now();
    for page in order {
        let at = page * PAGE_WORDS + page % PAGE_WORDS;
        wrong |= words[at] != data[at];
        count += 1;
    }
    let us = began.elapsed().as_secs_f64() * 1e6 / f64::from(count.max(1));
    if wrong || words != data {
        return Err(BenchError::Wrong {
            workload: "a touch of each page",
            place: "memory that came back",
        });
    }
    Ok(us)
}

/// The outer error is a wrong byte; the inner one says why there are no figures.
fn round(place: &mut impl Place, data: &[u64]) -> Result<Result<Figures, String>, BenchError> {
    let pages = data.len() / PAGE_WORDS;
    place.words().copy_from_slice(data);
    let out_dirty_us = match all_out(place) {
        Ok(us) => us,
        Err(why) => return Ok(Err(why)),
    };
    let ratio = size_of_val(data) as f64 / place.held_bytes().max(1) as f64;
    let mut order: Vec<usize> = (0..pages).collect();
    order.sort_unstable_by_key(|&page| mix(page as u64 + 1));
    let touch_random_us = touch_all(place, data, order.into_iter())?;
    let out_clean_us = match all_out(place) {
        Ok(us) => us,
        Err(why) => return Ok(Err(why)),
    };
    let touch_sequential_us = touch_all(place, data, 0..pages)?;
    Ok(Ok(Figures { out_dirty_us, touch_random_us, out_clean_us, touch_sequential_us, ratio }))
}

fn row(place: &'static str, outcome: Result<Figures, String>) -> OutAndBack {
    match outcome {
        Ok(figures) => OutAndBack { place, figures: Some(figures), skipped: None },
        Err(why) => OutAndBack { place, figures: None, skipped: Some(why) },
    }
}

/// # Errors
/// When the machine refuses a region, or a byte is wrong.
pub(super) fn measure(
    data: &[u64],
    config: &BenchConfig,
    peer: &Peer,
) -> Result<Vec<OutAndBack>, BenchError> {
    let bytes = size_of_val(data);
    let words = RegionVec::<u64>::zeroed(data.len(), |region| {
        // All fits: the way out and the way back are measured apart.
        config.region(region).resident_limit(bytes * 2).clean_copies(bytes).store_limit(bytes * 2)
    });
    let mut rows = vec![row("region", round(&mut InRegion(words?), data)?)];
    let outcome = match (peer.missing(), peer.held_bytes()) {
        (Some(why), _) => Err(why.to_owned()),
        (None, held) => {
            let words = vec![0; data.len()];
            // A kernel without huge pages says no.
            let _ = pages::without_huge_pages(&words);
            round(&mut Swapped { words, peer, held_before: held.unwrap_or(0) }, data)?
        }
    };
    rows.push(row("zram swap", outcome));
    Ok(rows)
}
