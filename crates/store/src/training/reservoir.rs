//! A sample of a stream of unknown length, of which each element has the same chance.
//!
//! Algorithm R (Vitter, 1985, "Random sampling with a reservoir"). The numbers are those of splitmix64 from a fixed start:
//! keys do not depend on them.

use super::samples::Sample;

#[derive(Debug, Default)]
pub(crate) struct Reservoir {
    samples: Vec<Sample>,
    capacity: usize,
    seen: u64,
    state: u64,
}

impl Reservoir {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { samples: Vec::with_capacity(capacity), capacity, ..Self::default() }
    }

    pub(crate) fn begin(&mut self, capacity: usize) {
        self.clear();
        self.capacity = capacity;
    }

    pub(crate) fn clear(&mut self) {
        (self.samples, self.seen) = (Vec::new(), 0);
    }

    pub(crate) fn offer(&mut self, sample: Sample) {
        self.seen += 1;
        if self.samples.len() < self.capacity {
            self.samples.push(sample);
            return;
        }
        let at = usize::try_from(self.random() % self.seen).unwrap_or(usize::MAX);
        if let Some(old) = self.samples.get_mut(at) {
            *old = sample;
        }
    }

    /// In a mixed order: the last ones judge what was learned from the others.
    pub(crate) fn take(&mut self) -> Vec<Sample> {
        let samples = self.mixed();
        self.samples = Vec::new();
        samples
    }

    /// As [`take`](Self::take), but they stay.
    pub(crate) fn mixed(&mut self) -> Vec<Sample> {
        let mut samples = self.samples.clone();
        for at in (1..samples.len()).rev() {
            let other = usize::try_from(self.random() % (at as u64 + 1)).unwrap_or(0);
            samples.swap(at, other);
        }
        samples
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.samples.capacity() * size_of::<Sample>()
    }

    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_a_long_stream_is_in_the_sample() {
        let mut reservoir = Reservoir::default();
        reservoir.begin(250);
        (0..100_000).for_each(|key| reservoir.offer(Sample { space: 1, key }));
        let samples = reservoir.take();
        assert_eq!(samples.len(), 250);
        for part in 0..4 {
            let in_part = |samples: &[Sample]| {
                samples.iter().filter(|sample| sample.key / 25_000 == part).count()
            };
            // A fourth is 62 on average, with a deviation of 7.
            assert!((35..90).contains(&in_part(&samples)), "{part}");
            assert!(in_part(&samples[200..]) > 0, "mixed: {part}");
        }
    }

    #[test]
    fn a_short_stream_is_the_sample() {
        let mut reservoir = Reservoir::default();
        reservoir.begin(10);
        (0..7).for_each(|key| reservoir.offer(Sample { space: 1, key }));
        let mut keys: Vec<u64> = reservoir.take().iter().map(|sample| sample.key).collect();
        keys.sort_unstable();
        assert_eq!(keys, [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(reservoir.take(), [], "taken once");
    }
}
