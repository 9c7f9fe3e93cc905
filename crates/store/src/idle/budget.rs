//! The share of processor time that passes may take: a bucket that fills with the time that goes by, and that work
//! empties by the time of its thread.

use std::time::{Duration, Instant};

/// The most that work may take at once, after a long rest.
const BURST: Duration = Duration::from_millis(10);
/// After the bucket was empty, work waits for so much.
const WORTH: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(crate) struct Budget {
    /// In percent of one processor.
    share: u8,
    /// May be below zero: a step is not cut short.
    left_ns: i64,
    filled: Instant,
}

impl Budget {
    pub(crate) fn new(share: u8) -> Self {
        Self { share, left_ns: nanos(BURST), filled: Instant::now() }
    }

    /// `None` if work may go on; otherwise how long to wait.
    pub(crate) fn wait(&mut self, now: Instant) -> Option<Duration> {
        let passed = nanos(now.saturating_duration_since(self.filled));
        self.filled = now;
        let more = passed.saturating_mul(self.share.into()) / 100;
        self.left_ns = self.left_ns.saturating_add(more).min(nanos(BURST));
        if self.left_ns > 0 {
            return None;
        }
        let missing = nanos(WORTH).saturating_sub(self.left_ns).unsigned_abs();
        Some(Duration::from_nanos(missing.saturating_mul(100) / u64::from(self.share.max(1))))
    }

    pub(crate) fn spend(&mut self, time: Duration) {
        self.left_ns = self.left_ns.saturating_sub(nanos(time));
    }
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn work_takes_its_share_over_time_and_no_more() {
        for share in [1, 5, 100] {
            let mut budget = Budget::new(share);
            let start = Instant::now();
            let (mut now, mut worked) = (start, Duration::ZERO);
            let step = Duration::from_micros(300);
            while now < start + Duration::from_secs(100) {
                match budget.wait(now) {
                    Some(wait) => now += wait,
                    None => {
                        budget.spend(step);
                        (worked, now) = (worked + step, now + step);
                    }
                }
            }
            let allowed = (now - start) * share.into() / 100;
            assert!(worked <= allowed + BURST + step, "{share}: {worked:?} of {allowed:?}");
            assert!(worked * 10 >= allowed * 9, "{share}: {worked:?} of {allowed:?}");
        }
    }

    #[test]
    fn a_long_rest_allows_one_burst() {
        let mut budget = Budget::new(5);
        let later = Instant::now() + Duration::from_secs(3600);
        assert_eq!(budget.wait(later), None);
        budget.spend(BURST);
        assert!(budget.wait(later).is_some());
    }
}
