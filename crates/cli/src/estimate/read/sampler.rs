//! Keeps a page if its hash is below a threshold: the choice depends only on seed and place, so a sample can shrink
//! later. A unit of neighbours may be chosen as one.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::estimate::config::Unit;

/// # Invariants
/// A tightened sampler takes no page that it did not take before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sampler {
    seed: u64,
    threshold: u64,
    unit: Unit,
}

impl Sampler {
    pub(crate) fn new(seed: u64, fraction: f64, unit: Unit) -> Self {
        // 2^64 times the fraction, less one; the cast saturates.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the cast saturates at both ends"
        )]
        let threshold = (fraction * 2f64.powi(64)) as u64;
        Self {
            seed,
            threshold: if fraction >= 1.0 { u64::MAX } else { threshold.saturating_sub(1) },
            unit,
        }
    }

    pub(crate) fn takes(self, source: u32, page_no: u64) -> bool {
        self.threshold == u64::MAX || self.hash(source, page_no) <= self.threshold
    }

    pub(crate) fn unit(self) -> Unit {
        self.unit
    }

    /// Keeps seven eighths; `false` when it cannot tighten further.
    pub(crate) fn tighten(&mut self) -> bool {
        let step = (self.threshold / 8).max(1);
        let tighter = self.threshold.saturating_sub(step);
        std::mem::replace(&mut self.threshold, tighter) != tighter
    }

    fn hash(self, source: u32, page_no: u64) -> u64 {
        let mut place = [0; 12];
        place[..4].copy_from_slice(&source.to_le_bytes());
        place[4..].copy_from_slice(&self.unit.of(page_no).to_le_bytes());
        xxh3_64_with_seed(&place, self.seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(sampler: Sampler) -> Vec<u64> {
        (0..10_000).filter(|&page_no| sampler.takes(3, page_no)).collect()
    }

    #[test]
    fn one_keeps_everything_and_a_fraction_keeps_about_that_much() {
        assert_eq!(taken(Sampler::new(1, 1.0, Unit::Page)).len(), 10_000);
        for seed in 0..4 {
            let count = taken(Sampler::new(seed, 0.25, Unit::Page)).len();
            assert!((2300..2700).contains(&count), "seed {seed}: {count} of 10000");
        }
        assert_eq!(taken(Sampler::new(1, 1e-30, Unit::Page)).len(), 0);
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(
            taken(Sampler::new(5, 0.1, Unit::Page)),
            taken(Sampler::new(5, 0.1, Unit::Page))
        );
        assert_ne!(
            taken(Sampler::new(5, 0.1, Unit::Page)),
            taken(Sampler::new(6, 0.1, Unit::Page))
        );
    }

    #[test]
    fn a_leaf_is_taken_whole_or_not_at_all() {
        let leaves = taken(Sampler::new(5, 0.25, Unit::Leaf));
        assert!((1600..3400).contains(&leaves.len()), "{} of 10000", leaves.len());
        let is_taken = |page_no: u64| leaves.binary_search(&page_no).is_ok();
        assert!((0..10_000).all(|page_no| is_taken(page_no) == is_taken(page_no / 64 * 64)));
    }

    #[test]
    fn a_tightened_sample_is_a_part_of_the_old_one_and_ends_empty() {
        let mut sampler = Sampler::new(9, 1.0, Unit::Page);
        let mut before = taken(sampler);
        let mut steps = 0;
        while sampler.tighten() {
            let after = taken(sampler);
            assert!(after.iter().all(|page_no| before.binary_search(page_no).is_ok()));
            before = after;
            steps += 1;
            assert!(steps < 1000, "tightening ends");
        }
        assert!(before.is_empty());
    }
}
