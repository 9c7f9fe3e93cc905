//! One row of the result; field names as in `docs/ESTIMATE.md`.

use pagefold_pool::Stats;
use serde::Serialize;

use crate::estimate::result::{
    clusters::Clusters, cost::Cost, interval::Interval, kept::Kept, percentiles::Percentiles,
    sizes::Sizes,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// Each page stored once.
    Fill,
    Churn,
    HalfFreed,
    Compacted,
}

impl Phase {
    pub(crate) const ALL: [Self; 4] = [Self::Fill, Self::Churn, Self::HalfFreed, Self::Compacted];

    /// As in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fill => "fill",
            Self::Churn => "churn",
            Self::HalfFreed => "half_freed",
            Self::Compacted => "compacted",
        }
    }
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub codec: String,
    pub allocator: String,
    pub phase: Phase,
    /// Stored + raw + same-filled.
    pub pages: u64,
    pub stored: u64,
    /// Compression would not save memory.
    pub raw: u64,
    pub same_filled: u64,
    pub payload_bytes: u64,
    pub frame_bytes: u64,
    pub metadata_bytes: u64,
    pub density: f64,
    pub effective_ratio: f64,
    /// Growth since before the pool; `null` where `/proc` does not tell.
    pub rss_delta_bytes: Option<i64>,
    /// In this phase.
    pub moved_bytes: u64,
    pub store_us: Percentiles,
    pub load_us: Percentiles,
    /// Every live page was read back equal.
    pub verified: bool,
    /// Of live pages, same-filled ones included.
    pub original_bytes: u64,
    /// Without same-filled pages; `null` without payload.
    pub compression_ratio: Option<f64>,
    pub idle_frame_bytes: u64,
    /// Frames, idle frames and metadata.
    pub resident_bytes: u64,
    pub limit_bytes: u64,
    pub codec_bytes: u64,
    /// Part of `codec_bytes`.
    pub dictionary_bytes: Option<u64>,
    pub elapsed_ms: u64,
    pub limit_reached: bool,
    pub interrupted: bool,
    /// Only of a fill.
    pub sizes: Option<Sizes>,
    /// Of the whole input; only for the fill of a sample.
    pub effective_ratio_95: Option<Interval>,
    /// Only for the fill of a sample.
    pub effective_ratio_whole: Option<f64>,
    /// Only if every page is taken as idle.
    pub clusters: Option<Clusters>,
    #[serde(skip)]
    pub(crate) objects: u64,
    #[serde(skip)]
    same_filled_bytes: u64,
}

impl Row {
    pub(crate) fn new(codec: &str, allocator: &str, phase: Phase, stats: &Stats) -> Self {
        Self {
            codec: codec.to_owned(),
            allocator: allocator.to_owned(),
            phase,
            pages: 0,
            stored: 0,
            raw: 0,
            same_filled: 0,
            payload_bytes: stats.payload_bytes,
            frame_bytes: stats.frame_bytes,
            metadata_bytes: stats.metadata_bytes,
            density: stats.density(),
            effective_ratio: 0.0,
            rss_delta_bytes: None,
            moved_bytes: 0,
            store_us: Percentiles::default(),
            load_us: Percentiles::default(),
            verified: false,
            original_bytes: 0,
            compression_ratio: None,
            idle_frame_bytes: stats.idle_frame_bytes,
            resident_bytes: stats.resident_bytes(),
            limit_bytes: stats.limit_bytes,
            codec_bytes: 0,
            dictionary_bytes: None,
            elapsed_ms: 0,
            limit_reached: false,
            interrupted: false,
            sizes: None,
            effective_ratio_95: None,
            effective_ratio_whole: None,
            clusters: None,
            objects: stats.objects,
            same_filled_bytes: 0,
        }
    }

    pub(crate) fn count(&mut self, kept: Kept, len: u64) {
        match kept {
            Kept::Nothing => return,
            Kept::SameFilled(_) => {
                self.same_filled += 1;
                self.same_filled_bytes += len;
            }
            Kept::Compressed(_) | Kept::Member { .. } => self.stored += 1,
            Kept::Raw(_) => self.raw += 1,
        }
        self.pages += 1;
        self.original_bytes += len;
    }

    pub(crate) fn finish(&mut self) {
        let taken = self.taken_bytes() as f64;
        self.effective_ratio = self.original_bytes as f64 / taken.max(1.0);
        let encoded = self.original_bytes - self.same_filled_bytes;
        self.compression_ratio =
            (self.payload_bytes > 0).then(|| encoded as f64 / self.payload_bytes as f64);
    }

    /// Of the whole input where known.
    pub(crate) fn best_ratio(&self) -> f64 {
        self.effective_ratio_whole.unwrap_or(self.effective_ratio)
    }

    pub(crate) fn taken_bytes(&self) -> u64 {
        self.frame_bytes + self.metadata_bytes + self.dictionary_bytes.unwrap_or(0)
    }

    /// Frames and dictionary per payload byte, metadata per object.
    pub(crate) fn cost(&self) -> Cost {
        let over = |sum: u64, parts: u64| if parts == 0 { 0.0 } else { sum as f64 / parts as f64 };
        Cost {
            payload_byte: over(self.frame_bytes, self.payload_bytes),
            object: over(self.metadata_bytes, self.objects),
            doubt: 0.0,
        }
        .with_dictionary(self.dictionary_bytes.unwrap_or(0), self.payload_bytes as f64)
    }

    /// Nothing stopped the phase, and every page was checked.
    pub(crate) fn is_complete(&self) -> bool {
        self.verified && !self.limit_reached && !self.interrupted
    }
}

/// Takes `mebibytes` for 1200 MiB.
#[cfg(test)]
pub(crate) fn test_row(codec: &str, mebibytes: u64, micros: f64) -> Row {
    let mut stats = Stats::default();
    stats.objects = 307_200;
    stats.payload_bytes = (mebibytes * 98 / 100) << 20;
    stats.frame_bytes = mebibytes << 20;
    stats.limit_bytes = 2 << 30;
    let times = Percentiles { p50: Some(micros), p99: Some(micros), mean: Some(micros) };
    let mut row = Row::new(codec, "nbud", Phase::Fill, &stats);
    row.pages = 307_200;
    row.stored = 307_200;
    row.original_bytes = 1200 << 20;
    row.finish();
    row.store_us = times;
    row.load_us = times;
    row.verified = true;
    let mut sizes = Sizes::new();
    (0..307_200).for_each(|page| sizes.record(200 + page * 7 % 3000));
    row.sizes = Some(sizes);
    row
}
