//! Projects the memory of a pool of the whole input from a sample.
//!
//! Scaling up a small pool would count its fixed parts many times. So a larger pool is built from the sample's lengths,
//! in about their order, and examined half full and full. The line through both gives the fixed part; the rest of the
//! run, or of the built pool if it has more objects, is scaled up. A dictionary is added unscaled.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use pagefold_pool::{AllocError, Allocator, Pool, Stats};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::estimate::{
    config::EstimateConfig,
    error::EstimateError,
    measure::{idle::CLUSTER_BYTES, worker::SpoolSlot},
    pool::build_pool,
    result::{cost::Cost, row::Row},
};

/// The most pages to store in the built pool.
const PAGES_MAX: u64 = 32_768;
const BYTES_MAX: u64 = 32 << 20;
const LIMIT: usize = 64 << 20;

/// How far a pool may be from its projection: this part of its memory, plus this many bytes. Measured at 4 to 128 MiB:
/// at most 0.65 % and 24 KiB.
const DOUBT: f64 = 0.0075;
const DOUBT_BYTES: f64 = 32_768.0;

/// How far a drawn page may be from its place, in pages of the sample.
const NEIGHBOURS: usize = 16;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Whole {
    pub(crate) pages: u64,
    /// Room for the sample and a pool of it, in bytes.
    pub(crate) sample_max: u64,
}

/// The lengths to store, in order; 0 for a page without an object of its own.
#[derive(Debug)]
pub(crate) struct Lengths(Vec<u16>);

impl Lengths {
    /// Draws lengths from a pool filled with a sample.
    pub(crate) fn draw(pool: &dyn Pool, slots: &[SpoolSlot], whole: Whole, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let frames = pool.stats().frame_bytes.max(1);
        let bytes_max = BYTES_MAX.min(whole.sample_max);
        let within_bytes = bytes_max.saturating_mul(slots.len() as u64) / frames;
        let pages = whole.pages.min(PAGES_MAX).min(within_bytes) as usize;
        let length = |index: usize| {
            let place = index * slots.len() / pages;
            let neighbours = place.saturating_sub(NEIGHBOURS)..slots.len().min(place + NEIGHBOURS);
            let handle = slots[random.random_range(neighbours)].kept.object();
            let len = handle.and_then(|handle| pool.len(handle).ok()).unwrap_or(0);
            #[expect(clippy::cast_possible_truncation, reason = "at most 16 KiB")]
            let len = len.min(CLUSTER_BYTES) as u16;
            len
        };
        Self((0..pages).map(length).collect())
    }

    /// Returns the memory of a byte and of an object in a pool of the whole input; `fill` measured the sample.
    ///
    /// # Errors
    /// When a pool cannot be built or refuses an object, or a thread cannot be started.
    pub(crate) fn cost(
        &self,
        config: &EstimateConfig,
        allocator: Allocator,
        fill: &Row,
        total_pages: u64,
    ) -> Result<Cost, EstimateError> {
        let [half, full] = self.build(config, allocator)?;
        let sample = Held {
            objects: fill.objects,
            payload: fill.payload_bytes,
            frames: fill.frame_bytes,
            metadata: fill.metadata_bytes,
        };
        let scale = total_pages as f64 / fill.pages.max(1) as f64;
        let dictionary = fill.dictionary_bytes.unwrap_or(0);
        Ok(extrapolate([half, full], sample, dictionary, scale))
    }

    /// Returns the counts half full and full.
    fn build(
        &self,
        config: &EstimateConfig,
        allocator: Allocator,
    ) -> Result<[Held; 2], EstimateError> {
        let threads = config.threads.get();
        let pool = build_pool(config, allocator, LIMIT)?;
        let pool = &*pool;
        let share = self.0.len().div_ceil(threads).max(1);
        let shares = self.0.chunks(share);
        let (to_come, half) = (AtomicUsize::new(shares.len()), Mutex::new(Held::default()));
        let refused = |reason: AllocError| match reason {
            // The limit is ample: the system is out of memory.
            AllocError::OutOfMemory { .. } => EstimateError::OutOfMemory {
                bytes: BYTES_MAX,
                what: "a pool to project the whole from",
            },
            _ => EstimateError::Store {
                allocator: pool.name(),
                page: "of the projection".to_owned(),
                reason,
            },
        };
        let store = |lengths: &[u16]| {
            let page = [0x5a; CLUSTER_BYTES];
            let object = |&&len: &&u16| len > 0;
            for &len in lengths.iter().filter(object) {
                pool.store(&page[..usize::from(len)])?;
            }
            Ok(())
        };
        let body = |lengths: &[u16]| {
            let (first, second) = lengths.split_at(lengths.len() / 2);
            store(first)?;
            // ORDERING: AcqRel; pairs with itself in the other threads: the last one sees what they stored.
            if to_come.fetch_sub(1, Ordering::AcqRel) == 1 {
                *half.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) =
                    Held::from(&pool.stats());
            }
            store(second)
        };
        if threads == 1 {
            self.0.chunks(share).try_for_each(body).map_err(refused)?;
        } else {
            thread::scope(|scope| {
                let spawn = |lengths| {
                    thread::Builder::new()
                        .spawn_scoped(scope, move || body(lengths))
                        .map_err(EstimateError::Thread)
                };
                let started = shares.map(spawn).collect::<Result<Vec<_>, _>>()?;
                started.into_iter().try_for_each(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                        .map_err(refused)
                })
            })?;
        }
        let half = *half.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        Ok([half, Held::from(&pool.stats())])
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Held {
    objects: u64,
    payload: u64,
    frames: u64,
    metadata: u64,
}

impl From<&Stats> for Held {
    fn from(stats: &Stats) -> Self {
        Self {
            objects: stats.objects,
            payload: stats.payload_bytes,
            frames: stats.frame_bytes,
            metadata: stats.metadata_bytes,
        }
    }
}

fn extrapolate([half, full]: [Held; 2], sample: Held, dictionary: u64, scale: f64) -> Cost {
    let larger = if sample.objects > full.objects { sample } else { full };
    let frames = Line::through((half.payload, half.frames), (full.payload, full.frames));
    let metadata = Line::through((half.objects, half.metadata), (full.objects, full.metadata));
    let (payload, objects) = (sample.payload as f64 * scale, sample.objects as f64 * scale);
    let payload_byte = frames.per_part((larger.payload, larger.frames), payload);
    let object = metadata.per_part((larger.objects, larger.metadata), objects);
    let memory = payload_byte * payload + object * objects;
    let doubt = if memory > 0.0 { DOUBT + DOUBT_BYTES / memory } else { 0.0 };
    Cost { payload_byte, object, doubt }.with_dictionary(dictionary, payload)
}

/// Memory as a fixed part plus a part per byte or object.
struct Line {
    fixed: f64,
}

impl Line {
    /// Each point is (parts, bytes).
    fn through(half: (u64, u64), full: (u64, u64)) -> Self {
        let parts = full.0.saturating_sub(half.0) as f64;
        let rise = full.1 as f64 - half.1 as f64;
        let fixed = if parts > 0.0 { full.1 as f64 - rise / parts * full.0 as f64 } else { 0.0 };
        Self { fixed: fixed.clamp(0.0, full.1 as f64) }
    }

    /// Bytes per part; `measured` is (parts, bytes).
    fn per_part(&self, measured: (u64, u64), whole: f64) -> f64 {
        if measured.0 == 0 {
            return 0.0;
        }
        let growing = (measured.1 as f64 - self.fixed).max(0.0) / measured.0 as f64;
        growing + self.fixed / whole.max(measured.0 as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(objects: u64) -> Held {
        // 60 KiB of tables, a part-filled span of 8 KiB; 16 bytes for an object, 4 % slack.
        let payload = objects * 1000;
        Held { objects, payload, frames: payload * 26 / 25 + 8192, metadata: objects * 16 + 61_440 }
    }

    #[test]
    fn what_does_not_grow_with_the_pool_is_counted_once() {
        for (sample, built, scale) in [(100, 8000, 400.0), (50_000, 8000, 20.0)] {
            let cost = extrapolate([held(built / 2), held(built)], held(sample), 0, scale);
            let whole = sample as f64 * scale;
            let frames = cost.payload_byte * whole * 1000.0;
            let metadata = cost.object * whole;
            assert!((frames - (whole * 1040.0 + 8192.0)).abs() < whole, "{frames}");
            assert!((metadata - (whole * 16.0 + 61_440.0)).abs() < whole * 0.01, "{metadata}");
            assert!(cost.doubt > DOUBT && cost.doubt < DOUBT * 1.2, "{cost:?}");
        }
    }

    #[test]
    fn a_dictionary_is_counted_once_whatever_the_sample_is_of_the_whole() {
        for (sample, scale) in [(100, 400.0), (40_000, 1.0)] {
            let cost =
                |dictionary| extrapolate([held(4000), held(8000)], held(sample), dictionary, scale);
            let payload = sample as f64 * 1000.0 * scale;
            let added = (cost(65_536).payload_byte - cost(0).payload_byte) * payload;
            assert!((added - 65_536.0).abs() < 1.0, "{added}");
            assert_eq!(cost(65_536).object, cost(0).object);
        }
    }

    #[test]
    fn pools_that_shrink_or_stay_empty_give_no_nonsense() {
        let none = extrapolate([Held::default(); 2], Held::default(), 0, 100.0);
        assert_eq!((none.payload_byte, none.object, none.doubt), (0.0, 0.0, 0.0));
        let half = Held { frames: held(100).frames + 4096, ..held(50) };
        let cost = extrapolate([half, held(100)], held(10), 0, 10.0);
        assert!(cost.payload_byte > 0.0 && cost.payload_byte.is_finite(), "{cost:?}");
    }
}
