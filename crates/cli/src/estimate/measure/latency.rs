//! Times of single operations: a histogram of nanoseconds with an error of at most one percent, and an exact mean.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::estimate::result::percentiles::Percentiles;

/// The longest time that is told apart; longer ones count as this.
const LONGEST: Duration = Duration::from_secs(60);

/// Two decimal digits: 128 buckets an octave, 1 KiB, so that recording does not evict the measured code from cache.
const DIGITS: u8 = 2;

#[derive(Debug, Clone)]
pub(crate) struct Latency {
    histogram: Histogram<u64>,
    total: Duration,
}

impl Latency {
    /// Allocates all memory.
    pub(crate) fn new() -> Self {
        let nanos = u64::try_from(LONGEST.as_nanos()).unwrap_or(u64::MAX);
        let histogram = Histogram::new_with_bounds(1, nanos, DIGITS)
            .expect("the bounds are constants and in order");
        Self { histogram, total: Duration::ZERO }
    }

    pub(crate) fn record(&mut self, time: Duration) {
        self.histogram.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        self.total += time;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("both histograms have the same bounds");
        self.total += other.total;
    }

    pub(crate) fn clear(&mut self) {
        self.histogram.reset();
        self.total = Duration::ZERO;
    }

    pub(crate) fn percentiles(&self) -> Percentiles {
        let count = self.histogram.len();
        if count == 0 {
            return Percentiles::default();
        }
        let quantile = |q| Some(self.histogram.value_at_quantile(q) as f64 / 1e3);
        let mean = self.total.as_nanos() as f64 / count as f64;
        Percentiles { p50: quantile(0.5), p99: quantile(0.99), mean: Some(mean.round() / 1e3) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_one_percent_and_the_mean_is_exact() {
        let mut latency = Latency::new();
        for nanos in 1..=100_000 {
            latency.record(Duration::from_nanos(nanos));
        }
        let found = latency.percentiles();
        for (found, exact) in [(found.p50, 50.0), (found.p99, 99.0)] {
            let found = found.expect("there are times");
            assert!((found / exact - 1.0).abs() <= 0.01, "{found} for {exact}");
        }
        assert_eq!(found.mean, Some(50.001));
    }

    #[test]
    fn merging_counts_both_and_clearing_forgets() {
        let (mut one, mut two) = (Latency::new(), Latency::new());
        one.record(Duration::from_micros(10));
        two.record(Duration::from_micros(30));
        one.merge(&two);
        assert_eq!(one.percentiles().mean, Some(20.0));
        one.clear();
        assert_eq!(one.percentiles(), Percentiles::default());
    }

    #[test]
    fn a_time_beyond_the_longest_is_counted_as_the_longest() {
        let mut latency = Latency::new();
        latency.record(LONGEST * 10);
        let p50 = latency.percentiles().p50.expect("there is a time");
        assert!((p50 / 60e6 - 1.0).abs() <= 0.01, "{p50}");
    }
}
