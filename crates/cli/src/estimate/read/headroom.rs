//! How much memory the command may take: the least of these bounds.
//!
//! | bound | room |
//! |---|---|
//! | the machine | `MemAvailable`: free without swapping |
//! | each cgroup and each level above | its bound, less the use that cannot be dropped |
//! | `RLIMIT_DATA` (`ulimit -d`) | the limit, less `VmData` |
//! | `RLIMIT_AS` (`ulimit -v`) | [`holds`] tries it: a pool decides what it reserves |

use std::{fs, hint::black_box};

use pagefold_sys::{cgroup, heap::fallible};
use rustix::process::{Resource, getrlimit};

use crate::estimate::{
    config::{EstimateConfig, PAGE},
    error::EstimateError,
    pool::{build_pool, limit_for},
};

/// The program, codec contexts, stacks.
const BASE_BYTES: u64 = 40 << 20;

/// Used stack, and histograms.
const THREAD_BYTES: u64 = 256 << 10;

/// Identifies a page in other processes, while the table grows.
const SHARED_PAGE_BYTES: u64 = 64;

/// For an incompressible byte: the sample, the pool, bookkeeping.
const BYTES_A_BYTE: f64 = 2.1;

/// Of a malloc arena; each thread has one, up to a maximum.
const ARENA_ADDRESSES: usize = 64 << 20;
const ARENAS_MAX: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Headroom {
    pub(crate) bytes: u64,
    /// Completes "the memory that .. leaves".
    pub(crate) bound: String,
    pub(crate) addresses_bounded: bool,
}

impl Headroom {
    pub(crate) fn find() -> Result<Self, EstimateError> {
        let bounded = |resource| getrlimit(resource).current;
        let mut all = vec![(available_memory()?, "this machine".to_owned())];
        if let Some(room) = cgroup::least_room() {
            all.push((room.bytes, format!("the cgroup {}", room.directory.display())));
        }
        if let Some(limit) = bounded(Resource::Data) {
            let used = field("/proc/self/status", "VmData:").unwrap_or(0);
            all.push((limit.saturating_sub(used), "ulimit -d".to_owned()));
        }
        let (bytes, bound) = all.into_iter().min().expect("the machine is in the list");
        Ok(Self { bytes, bound, addresses_bounded: bounded(Resource::As).is_some() })
    }

    /// The largest sample that fits with a pool of incompressible pages, while `shared_pages` are tracked.
    pub(crate) fn sample_max(&self, threads: usize, shared_pages: u64) -> u64 {
        let base = BASE_BYTES.saturating_add(THREAD_BYTES.saturating_mul(threads as u64));
        let known = SHARED_PAGE_BYTES.saturating_mul(shared_pages);
        let rest = (self.bytes - base.min(self.bytes / 2)).saturating_sub(known);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of it")]
        let sample = (rest as f64 / BYTES_A_BYTE) as u64;
        sample
    }
}

/// Tries to reserve a sample and each of its pools in turn.
pub(crate) fn holds(sample: usize, config: &EstimateConfig) -> bool {
    let threads = config.threads.get();
    // The Ctrl-C thread may have an arena too.
    let arenas = (threads + 1).min(ARENAS_MAX) * ARENA_ADDRESSES;
    let spare = arenas + sample / 16;
    let (mut pages, mut rest) = (Vec::<u8>::new(), Vec::<u8>::new());
    let reserved = fallible(|| {
        pages.try_reserve_exact(sample).is_ok() && rest.try_reserve_exact(spare).is_ok()
    });
    // `build_pool` sets aside more.
    let limit = config.limit.unwrap_or_else(|| limit_for(sample.div_ceil(PAGE)));
    let pool_fits =
        || config.allocators.iter().all(|&name| build_pool(config, name, limit).is_ok());
    let holds = reserved && pool_fits();
    // An optimiser may drop memory that is never written.
    black_box((&pages, &rest));
    holds
}

fn available_memory() -> Result<u64, EstimateError> {
    let unknown = |why: String| EstimateError::AvailableMemory(why);
    fs::metadata("/proc/meminfo").map_err(|error| unknown(error.to_string()))?;
    field("/proc/meminfo", "MemAvailable:")
        .ok_or_else(|| unknown("it has no line `MemAvailable:` in kB".to_owned()))
}

/// Of a line `NAME NUMBER kB`.
fn field(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headroom(bytes: u64) -> Headroom {
        Headroom { bytes, bound: "this machine".to_owned(), addresses_bounded: false }
    }

    #[test]
    fn a_sample_its_pool_and_the_program_fit() {
        for mebibytes in [1, 10, 64, 80, 400, 24 << 10] {
            let bytes = mebibytes << 20;
            for threads in [1, 64] {
                let sample = headroom(bytes).sample_max(threads, 0);
                let base = (BASE_BYTES + threads as u64 * THREAD_BYTES).min(bytes / 2);
                assert!(sample * 2 + sample / 32 + base <= bytes, "{mebibytes} MiB: {sample}");
                assert!(sample >= bytes / 5, "{mebibytes} MiB: {sample}");
            }
        }
        assert_eq!(headroom(0).sample_max(1, 0), 0);
    }

    #[test]
    fn this_machine_says_what_it_has() {
        let found = Headroom::find().expect("this machine has /proc/meminfo");
        assert!(found.bytes > 0 && !found.bound.is_empty(), "{found:?}");
        assert!(field("/proc/self/status", "VmData:").is_some_and(|bytes| bytes > 0));
        assert_eq!(field("/proc/self/status", "Name:"), None);
        assert_eq!(field("/nonexistent", "VmData:"), None);
    }
}
