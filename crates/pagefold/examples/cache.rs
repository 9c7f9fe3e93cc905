//! A cache of a service's answers: JSON by user and page, kept compressed, good for a minute, dropped when room is needed.
//!
//! `cargo run -p pagefold --example cache`
#![forbid(unsafe_code)]

use std::{
    error::Error,
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use pagefold::{Cache, CacheConfig, CacheStats, CacheValue, Clock, Store};

/// An answer: the second in which it was made, and a body.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    made: u64,
    body: String,
}

impl CacheValue for Answer {
    fn encode(&self, buffer: &mut Vec<u8>) {
        buffer.extend(self.made.to_le_bytes());
        buffer.extend(self.body.as_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (made, body) = bytes.split_first_chunk()?;
        let body = str::from_utf8(body).ok()?.to_owned();
        Some(Self { made: u64::from_le_bytes(*made), body })
    }
}

/// A key is hashed and not kept, so it needs nothing but `Hash`.
#[derive(Hash)]
struct Question {
    user: u64,
    page: u32,
}

/// Stands for something slow.
fn answer(question: &Question, made: u64) -> Answer {
    let mut body = format!("{{\"user\": {}, \"items\": [", question.user);
    for item in 0..20 + question.page % 10 {
        let price = (question.user * 37 + u64::from(item) * 101) % 10_000;
        let _ = write!(body, "{{\"id\": {item}, \"name\": \"item {item}\", \"price\": {price}}},");
    }
    body += "]}";
    Answer { made, body }
}

/// The clock of this example, which the loop below moves; a program leaves it out.
#[derive(Clone, Default)]
struct Seconds(Arc<AtomicU64>);

impl Clock for Seconds {
    fn now(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

/// What the run found, for its test.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) asked: u64,
    pub(crate) stale: u64,
    pub(crate) stats: CacheStats,
    pub(crate) body_bytes: u64,
    pub(crate) resident: usize,
    pub(crate) limit: usize,
}

pub(crate) fn run() -> Result<Outcome, Box<dyn Error>> {
    let store = Store::builder().limit(4 << 20).build()?;
    let clock = Seconds::default();
    let config = CacheConfig::new().name("answers").time_to_live(Duration::from_secs(60));
    let cache: Cache<Question, Answer> = Cache::new(&store, config.clock(clock.clone()))?;
    let (mut asked, mut stale) = (0, 0);
    for second in 0..180 {
        clock.0.store(second, Ordering::Relaxed);
        for step in 0..400 {
            // Every other question comes from one of 300 users, the rest from one of 200 000.
            let users = if step % 2 == 0 { 300 } else { 200_000 };
            let user = (second * 400 + step) * 2_654_435_761 % users;
            let question = Question { user, page: 1 };
            let got = cache.get_or_insert_with(&question, || answer(&question, second));
            asked += 1;
            assert!(got == answer(&question, got.made), "another answer");
            stale += u64::from(second - got.made >= 60);
        }
    }
    Ok(Outcome {
        asked,
        stale,
        stats: cache.stats(),
        body_bytes: cache.space_stats().original_bytes,
        resident: store.resident(),
        limit: store.limit(),
    })
}

#[expect(clippy::print_stdout, reason = "it is the program's output")]
#[cfg_attr(test, expect(dead_code, reason = "a test calls `run`"))]
fn main() -> Result<(), Box<dyn Error>> {
    let Outcome { asked, stale, stats, body_bytes, resident, limit } = run()?;
    println!("{asked} questions, {} from the cache, {stale} older than a minute", stats.hits);
    println!("{} dropped for room, {} because their time was over", stats.evictions, stats.expired);
    println!("{} answers, {body_bytes} bytes, in {resident} of a limit of {limit}", stats.entries);
    Ok(())
}
