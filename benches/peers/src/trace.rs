//! The trace that every contender runs.
//!
//! | phase | what happens |
//! |---|---|
//! | `fill` | objects are stored until their lengths come to the payload asked for |
//! | `churn` | a random object is freed and another stored in its stead, three times as often as there are objects |
//! | `read_first`, `read_all` | the first byte of a random object, the whole of it copied out, as often as there are objects |
//! | `half_freed` | a random half is freed |
//! | `given_back` | what is free goes back to the system |
//!
//! Everything that the trace itself needs is allocated and touched before the first object.

use std::{hint::black_box, time::Instant};

use crate::{
    common::{Rng, fill_of, object_len, source},
    figures::{Figures, rss_anon},
    memory::Memory,
};

/// How often each object is replaced in `churn`, on average.
const REWRITES: usize = 3;

/// The bytes of the longest object.
const OBJECT_MAX: usize = 4096;

/// A run in progress.
struct Trace<M: Memory> {
    memory: M,
    objects: Vec<Option<M::Object>>,
    /// The length of each object, 0 for one that was freed.
    lens: Vec<u16>,
    /// All numbers of objects, shuffled.
    order: Vec<u32>,
    source: Vec<Vec<u8>>,
    rng: Rng,
    payload: u64,
    rss_before: u64,
    figures: Figures,
}

/// Runs the trace with `payload_bytes` of objects.
///
/// # Panics
/// When an object does not come back as it was stored: there is nothing to compare then.
pub fn run<M: Memory>(memory: impl FnOnce() -> M, payload_bytes: usize, seed: u64) -> Figures {
    let mut rng = Rng::new(seed);
    let mut lens = Vec::new();
    let mut sum = 0;
    while sum < payload_bytes {
        let len = object_len(&mut rng);
        sum += len;
        lens.push(u16::try_from(len).expect("at most a page"));
    }
    let mut order: Vec<u32> = (0..).take(lens.len()).collect();
    for index in (1..order.len()).rev() {
        order.swap(index, rng.below(index + 1));
    }
    let source = source();
    let rss_before = rss_anon();
    let objects = Vec::with_capacity(lens.len());
    let mut trace = Trace {
        memory: memory(),
        objects,
        lens,
        order,
        source,
        rng,
        payload: 0,
        rss_before,
        figures: Figures::default(),
    };
    trace.fill();
    trace.churn();
    trace.read();
    trace.free_half();
    trace.memory.give_back();
    trace.end_phase("given_back");
    trace.figures
}

impl<M: Memory> Trace<M> {
    fn fill(&mut self) {
        let begun = Instant::now();
        for (number, &len) in self.lens.iter().enumerate() {
            let bytes = &self.source[usize::from(fill_of(number))][..usize::from(len)];
            self.objects.push(Some(self.memory.store(bytes)));
        }
        self.time("fill", begun, self.lens.len());
        self.payload = self.lens.iter().map(|&len| u64::from(len)).sum();
        self.end_phase("fill");
    }

    fn churn(&mut self) {
        let count = REWRITES * self.objects.len();
        let begun = Instant::now();
        for _ in 0..count {
            let number = self.rng.below(self.objects.len());
            let len = object_len(&mut self.rng);
            if let Some(object) = self.objects[number].take() {
                self.memory.free(object);
            }
            let bytes = &self.source[usize::from(fill_of(number))][..len];
            self.objects[number] = Some(self.memory.store(bytes));
            self.lens[number] = u16::try_from(len).expect("at most a page");
        }
        self.time("churn", begun, count);
        self.payload = self.lens.iter().map(|&len| u64::from(len)).sum();
        self.end_phase("churn");
    }

    fn read(&mut self) {
        let count = self.objects.len();
        let begun = Instant::now();
        let mut carry = 0;
        for _ in 0..count {
            // The next place depends on what was read, so that reads do not overlap.
            let number = (self.rng.below(count) + carry) % count;
            let object = self.objects[number].as_ref().expect("nothing is freed yet");
            self.memory.read(object, &mut |bytes| carry = usize::from(bytes[0] >> 7));
        }
        self.time("read_first", begun, count);

        let mut buffer = [0; OBJECT_MAX];
        let begun = Instant::now();
        for _ in 0..count {
            let number = self.rng.below(count);
            let object = self.objects[number].as_ref().expect("nothing is freed yet");
            self.memory.read(object, &mut |bytes| buffer[..bytes.len()].copy_from_slice(bytes));
            black_box(&buffer);
        }
        self.time("read_all", begun, count);
    }

    fn free_half(&mut self) {
        let half = self.order.len() / 2;
        let begun = Instant::now();
        for &number in &self.order[..half] {
            if let Some(object) = self.objects[number as usize].take() {
                self.memory.free(object);
            }
        }
        self.time("free", begun, half);
        for &number in &self.order[..half] {
            self.payload -= u64::from(std::mem::take(&mut self.lens[number as usize]));
        }
        self.end_phase("half_freed");
    }

    fn time(&mut self, what: &str, begun: Instant, count: usize) {
        let nanos = begun.elapsed().as_nanos() as f64 / count as f64;
        self.figures.put(&format!("{what}_ns"), nanos);
    }

    /// Notes the payload and what is resident, and compares every object with what was stored.
    fn end_phase(&mut self, phase: &str) {
        let rss = rss_anon().saturating_sub(self.rss_before);
        self.figures.put(&format!("{phase}_rss"), rss as f64);
        self.figures.put(&format!("{phase}_payload"), self.payload as f64);
        for (number, (object, &len)) in self.objects.iter().zip(&self.lens).enumerate() {
            let Some(object) = object else {
                assert_eq!(len, 0, "object {number} is gone");
                continue;
            };
            let mut seen = false;
            let expected = &self.source[usize::from(fill_of(number))][..usize::from(len)];
            self.memory.read(object, &mut |bytes| seen = bytes == expected);
            assert!(seen, "object {number} is not what was stored, after {phase}");
        }
    }
}
