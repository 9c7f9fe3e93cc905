//! A histogram of compressed lengths with fixed buckets.
//!
//! Bucket `k` counts objects of `k * BUCKET_BYTES + 1` to `(k + 1) * BUCKET_BYTES` bytes.

use serde::Serialize;

use crate::estimate::config::PAGE;

/// Tells size classes apart; on a phone each bar is visible.
pub(crate) const BUCKET_BYTES: usize = 128;

pub(crate) const BUCKETS: usize = PAGE / BUCKET_BYTES;

/// The field names are those of the JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Sizes {
    bucket_bytes: usize,
    counts: [u64; BUCKETS],
}

impl Sizes {
    pub(crate) fn new() -> Self {
        Self { bucket_bytes: BUCKET_BYTES, counts: [0; BUCKETS] }
    }

    /// A length above a page counts as a page.
    pub(crate) fn record(&mut self, len: usize) {
        self.counts[(len.saturating_sub(1) / BUCKET_BYTES).min(BUCKETS - 1)] += 1;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, more) in self.counts.iter_mut().zip(other.counts) {
            *mine += more;
        }
    }

    /// Objects per bucket, the shortest first.
    #[cfg_attr(
        not(any(feature = "html", test)),
        expect(dead_code, reason = "only the page shows them")
    )]
    pub(crate) fn counts(&self) -> &[u64; BUCKETS] {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_ends_with_its_own_width() {
        let mut sizes = Sizes::new();
        for len in [1, BUCKET_BYTES, BUCKET_BYTES + 1, PAGE, PAGE + 1, usize::MAX] {
            sizes.record(len);
        }
        let mut expected = [0; BUCKETS];
        (expected[0], expected[1], expected[BUCKETS - 1]) = (2, 1, 3);
        assert_eq!(sizes.counts(), &expected);
    }

    #[test]
    fn merging_adds_bucket_by_bucket() {
        let (mut one, mut two) = (Sizes::new(), Sizes::new());
        one.record(5);
        two.record(5);
        two.record(700);
        one.merge(&two);
        assert_eq!((one.counts()[0], one.counts()[5]), (2, 1));
        assert_eq!(one.counts().iter().sum::<u64>(), 3);
    }
}
