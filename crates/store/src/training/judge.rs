//! Which codec new pages get: the one that is shorter on pages it has not seen, at nearly the same time.

use std::time::Duration;

use super::samples::per_thousand;

/// What a codec made of the pages that were held out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Score {
    /// As words count them.
    pub(crate) bytes: u64,
    /// The least of some rounds.
    pub(crate) time: Duration,
}

/// Percent of the bytes of the codec in use that another one may take.
const BYTES_PERCENT: u64 = 98;

impl Score {
    fn is_better_than(&self, current: &Self, time_percent: u32) -> bool {
        let time = current.time.as_nanos() * u128::from(time_percent);
        self.bytes * 100 <= current.bytes * BYTES_PERCENT && self.time.as_nanos() * 100 <= time
    }
}

/// The shortest of the candidates that are better than the current codec.
pub(crate) fn choose(current: &Score, candidates: &[Score], time_percent: u32) -> Option<usize> {
    let is_better = |score: &Score| score.is_better_than(current, time_percent);
    let better = candidates.iter().enumerate().filter(|(_, score)| is_better(score));
    better.min_by_key(|(_, score)| score.bytes).map(|(at, _)| at)
}

/// The bytes of a thousand pages, from those of `pages`.
pub(crate) fn expected_bytes(score: &Score, pages: usize) -> u64 {
    per_thousand(score.bytes, pages as u64)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn score(bytes: u64, ns: u64) -> Score {
        Score { bytes, time: Duration::from_nanos(ns) }
    }

    #[test]
    fn two_percent_shorter_at_five_percent_more_time_and_no_less() {
        let current = score(10_000, 1000);
        assert_eq!(choose(&current, &[score(9800, 1050)], 105), Some(0));
        assert_eq!(choose(&current, &[score(9801, 1000)], 105), None);
        assert_eq!(choose(&current, &[score(5000, 1051)], 105), None);
        assert_eq!(choose(&current, &[], 105), None);
    }

    #[test]
    fn of_two_that_are_better_the_shorter_one() {
        let current = score(10_000, 1000);
        assert_eq!(choose(&current, &[score(9000, 1000), score(8000, 1000)], 105), Some(1));
        assert_eq!(choose(&current, &[score(9000, 1000), score(8000, 2000)], 105), Some(0));
        assert_eq!(expected_bytes(&score(8000, 1000), 4), 2_000_000);
    }
}
