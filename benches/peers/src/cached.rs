//! The workload of caches: keys by Zipf's law, values like JSON of 200 B to 8 KiB, and what is measured.
//!
//! A thread asks for a key; on a miss it makes the value and inserts it. Every value that a get gives is checked: it begins
//! with a checksum of the rest under its key. Times are those of the calls alone: making and checking values is left out of
//! all of them.

use std::{
    fmt::Write as _,
    thread,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Zipf};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{
    figures::{Figures, rss_anon},
    peer::Peer,
};

/// What a run is made of.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Different keys.
    pub keys: u64,
    /// The exponent of Zipf's law.
    pub skew: f64,
    /// Gets before anything is measured.
    pub warm: usize,
    /// Gets that are measured, with one thread and then with two.
    pub gets: usize,
    /// Of everything random.
    pub seed: u64,
}

/// Threads of the second measurement.
const THREADS: usize = 2;
const LEN_MIN: f64 = 200.0;
const LEN_MAX: f64 = 8192.0;
const CHECKSUM_BYTES: usize = 8;

const WORDS: [&str; 32] = [
    "account",
    "active",
    "address",
    "amount",
    "archive",
    "balance",
    "billing",
    "category",
    "city",
    "comment",
    "country",
    "created",
    "currency",
    "customer",
    "delivery",
    "description",
    "discount",
    "email",
    "history",
    "invoice",
    "language",
    "location",
    "message",
    "order",
    "payment",
    "pending",
    "product",
    "quantity",
    "shipping",
    "status",
    "summary",
    "updated",
];

impl Settings {
    /// The key of a rank: scattered, and each another one.
    pub fn key_of(&self, rank: u64) -> u64 {
        let word = (rank ^ self.seed << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (word ^ (word >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93)
    }

    fn asked(&self, stream: u64, count: usize) -> Vec<u64> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(stream);
        let zipf = Zipf::new(self.keys as f64, self.skew).expect("a number of keys and a skew");
        (0..count).map(|_| self.key_of(zipf.sample(&mut rng) as u64)).collect()
    }
}

/// The value of a key: a checksum, and text like JSON.
pub fn value_of(key: u64) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(key);
    let len = (LEN_MIN.ln() + rng.random::<f64>() * (LEN_MAX / LEN_MIN).ln()).exp() as usize;
    let mut text = String::with_capacity(len + 200);
    let _ = write!(text, "{{\"id\": \"{key:016x}\"");
    while text.len() + CHECKSUM_BYTES < len {
        let name = WORDS[rng.random_range(0..WORDS.len())];
        let _ = match rng.random_range(0..6) {
            0 => write!(text, ", \"{name}\": {}", rng.random_range(0..100_000)),
            1 => write!(text, ", \"{name}\": {:.2}", rng.random::<f64>() * 1000.0),
            2 => write!(text, ", \"{name}_id\": \"{:032x}\"", rng.random::<u128>()),
            3 => write!(text, ", \"{name}\": {}", rng.random_bool(0.5)),
            4 => {
                let [a, b, c] = [(); 3].map(|()| WORDS[rng.random_range(0..WORDS.len())]);
                write!(text, ", \"{name}\": \"{a} {b} {c}\"")
            }
            _ => write!(
                text,
                ", \"{name}_at\": \"2026-{:02}-{:02}T{:02}:{:02}:{:02}Z\"",
                rng.random_range(1..13),
                rng.random_range(1..29),
                rng.random_range(0..24),
                rng.random_range(0..60),
                rng.random_range(0..60)
            ),
        };
    }
    text.push('}');
    let mut value = xxh3_64_with_seed(text.as_bytes(), key).to_le_bytes().to_vec();
    value.extend(text.as_bytes());
    value
}

fn check(key: u64, value: &[u8]) {
    let is_right = value
        .split_first_chunk::<CHECKSUM_BYTES>()
        .is_some_and(|(sum, text)| u64::from_le_bytes(*sum) == xxh3_64_with_seed(text, key));
    assert!(is_right, "key {key:x} has another value");
}

/// What a thread did.
#[derive(Debug, Clone, Copy, Default)]
struct Done {
    hits: usize,
    /// In the cache's calls.
    time: Duration,
}

/// Asks for all of these keys; notes how long each get took that found something.
fn ask(peer: &impl Peer, keys: &[u64], nanoseconds: &mut [u32]) -> Done {
    let mut done = Done::default();
    for &key in keys {
        let began = Instant::now();
        let value = peer.get(key);
        let took = began.elapsed();
        done.time += took;
        if let Some(value) = value {
            check(key, value.as_ref());
            if let Some(place) = nanoseconds.get_mut(done.hits) {
                *place = u32::try_from(took.as_nanos()).unwrap_or(u32::MAX);
            }
            done.hits += 1;
        } else {
            let value = value_of(key);
            let began = Instant::now();
            peer.insert(key, value);
            done.time += began.elapsed();
        }
    }
    done
}

fn percentile(sorted: &[u32], part: f64) -> f64 {
    let at = (sorted.len() as f64 * part) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).map_or(0.0, |ns| f64::from(*ns))
}

/// Makes the cache, warms it, and measures. Resident memory is the most that was seen after a phase.
///
/// # Errors
/// When the cache cannot be made.
pub fn run<P: Peer, E>(
    settings: &Settings,
    make: impl FnOnce() -> Result<P, E>,
) -> Result<Figures, E> {
    // All that is not the cache lies in memory, and was touched, before the first look at what is resident.
    let warm = settings.asked(0, settings.warm);
    let asked: Vec<Vec<u64>> =
        (1..=THREADS as u64).map(|stream| settings.asked(stream, settings.gets)).collect();
    let mut nanoseconds: Vec<Vec<u32>> = (0..THREADS).map(|_| vec![1; settings.gets]).collect();
    let before = rss_anon();
    let peer = make()?;
    ask(&peer, &warm, &mut []);
    let mut figures = Figures::default();
    let mut resident = rss_anon();
    if settings.gets > 0 {
        for threads in [1, THREADS] {
            let gets = settings.gets / threads;
            let done: Vec<Done> = thread::scope(|scope| {
                let running: Vec<_> = nanoseconds
                    .iter_mut()
                    .zip(&asked)
                    .take(threads)
                    .map(|(nanoseconds, keys)| {
                        let peer = &peer;
                        scope.spawn(move || ask(peer, &keys[..gets], nanoseconds))
                    })
                    .collect();
                running.into_iter().map(|thread| thread.join().expect("no panic")).collect()
            });
            resident = resident.max(rss_anon());
            let hits: usize = done.iter().map(|done| done.hits).sum();
            let mut times: Vec<u32> = nanoseconds
                .iter()
                .zip(&done)
                .flat_map(|(nanoseconds, done)| &nanoseconds[..done.hits])
                .copied()
                .collect();
            times.sort_unstable();
            let rate = |done: &Done| gets as f64 / done.time.as_secs_f64();
            figures.put(&format!("hits_{threads}"), hits as f64 / (gets * threads) as f64);
            figures.put(&format!("rate_{threads}"), done.iter().map(rate).sum());
            figures.put(&format!("p50_ns_{threads}"), percentile(&times, 0.5));
            figures.put(&format!("p99_ns_{threads}"), percentile(&times, 0.99));
        }
    }
    figures.put("rss", resident.saturating_sub(before) as f64);
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_their_keys_own_and_damage_is_seen() {
        let lengths: Vec<usize> = (0..200).map(|key| value_of(key).len()).collect();
        assert!(lengths.iter().all(|len| (200..8500).contains(len)), "{lengths:?}");
        let mut value = value_of(7);
        check(7, &value);
        assert!(std::panic::catch_unwind(|| check(8, &value_of(7))).is_err());
        value[100] ^= 1;
        assert!(std::panic::catch_unwind(|| check(7, &value)).is_err());
    }
}
