//! The accounts, collected.

use super::{SpaceState, StoreState};
use crate::{
    counters::Count,
    encoder::trained::Trained,
    stats::{
        IdleStats, RejectedPuts, SpaceStats, StagingStats, StoreStats, TrainedCodecStats,
        TrainingStats, WorkStats,
    },
    training::Training,
    word::CodecId,
};

impl SpaceState {
    pub(crate) fn stats(&self) -> SpaceStats {
        let limit = self.limit();
        let sum = |count| self.counters.sum(count);
        let (same_filled, compressed) = (sum(Count::Same), sum(Count::Compressed));
        let (raw, fresh, values) = (sum(Count::Raw), sum(Count::Fresh), sum(Count::Values));
        let (clustered, spilled) = (sum(Count::Clustered), sum(Count::Spilled));
        let (equal, deltas) = (sum(Count::Equal), sum(Count::Deltas));
        let delta_bytes = sum(Count::DeltaBytes);
        let plain_bytes = match sum(Count::Sampled) {
            0 => 0,
            samples => sum(Count::SampledBytes) * (equal + deltas) / samples,
        };
        SpaceStats {
            name: self.name.clone(),
            kind: self.kind,
            capacity: self.index.pages(),
            limit_bytes: (limit != u64::MAX).then_some(limit),
            stored: same_filled
                + compressed
                + raw
                + fresh
                + clustered
                + spilled
                + values
                + equal
                + deltas,
            same_filled,
            compressed,
            raw,
            fresh,
            clustered,
            spilled,
            values,
            equal,
            deltas,
            delta_bytes,
            saved_bytes: plain_bytes.saturating_sub(delta_bytes),
            base: self.mapping.as_ref().map(|mapping| mapping.base.name.to_string()),
            original_bytes: sum(Count::Original),
            object_bytes: self.used(),
            puts: sum(Count::Puts),
            overwrites: sum(Count::Overwrites),
            removed: sum(Count::Removed),
            evicted: sum(Count::Evicted),
            order_failures: sum(Count::OrderFailures),
            listener_panics: self.listener_panics(),
            hits: sum(Count::Hits),
            misses: sum(Count::Misses),
            would_block: sum(Count::WouldBlock),
            corrupt: sum(Count::Corrupt),
            rejected: RejectedPuts {
                store_full: sum(Count::RejectedStore),
                threshold: sum(Count::RejectedThreshold),
                space_full: sum(Count::RejectedSpace),
                too_long: sum(Count::RejectedLong),
            },
            put_latency: self.counters.puts().into(),
            get_latency: self.counters.gets().into(),
        }
    }
}

impl StoreState {
    /// The accounts that need no lock, after a fork.
    pub(crate) fn abandoned_stats(&self) -> StoreStats {
        StoreStats {
            allocator: self.pool.name().to_owned(),
            codec: self.encoder.codec.name().to_owned(),
            limit_bytes: self.limit() as u64,
            max_limit_bytes: 0,
            resident_bytes: self.resident() as u64,
            pool_bytes: 0,
            idle_bytes: 0,
            metadata_bytes: 0,
            reserved_bytes: 0,
            payload_bytes: 0,
            stored: 0,
            original_bytes: 0,
            accepting: false,
            staging: StagingStats::default(),
            idle: IdleStats::default(),
            training: TrainingStats::default(),
            spill: None,
            bases: Vec::new(),
            work: self.work.stats(),
            spaces: Vec::new(),
        }
    }

    fn idle_stats(&self, pages: u64) -> IdleStats {
        let Some(clusters) = &self.encoder.clusters else { return IdleStats::default() };
        let training = clusters.training().zip(clusters.trained());
        let training = training.map(|(training, own)| training_stats(training, own));
        // Below the least limit none is made, and those that are there stay.
        let name = self.clusters().map_or("", |clusters| clusters.name());
        IdleStats { training: training.unwrap_or_default(), ..self.idle.stats(pages, name) }
    }

    pub(crate) fn stats(&self) -> StoreStats {
        let pool = self.pool.stats();
        let reserved_bytes = (self.reserved_bytes() as u64).min(pool.metadata_bytes);
        let spaces: Vec<SpaceStats> = self.spaces().iter().map(|space| space.stats()).collect();
        StoreStats {
            allocator: self.pool.name().to_owned(),
            codec: self.encoder.codec.name().to_owned(),
            limit_bytes: pool.limit_bytes,
            max_limit_bytes: pool.max_limit_bytes,
            resident_bytes: self.resident() as u64,
            pool_bytes: pool.frame_bytes,
            idle_bytes: pool.idle_frame_bytes,
            metadata_bytes: pool.metadata_bytes - reserved_bytes,
            reserved_bytes,
            payload_bytes: pool.payload_bytes,
            stored: spaces.iter().map(|space| space.stored).sum(),
            original_bytes: spaces.iter().map(|space| space.original_bytes).sum(),
            accepting: self.is_accepting(),
            staging: StagingStats {
                worker_ns: self.workers.time_ns(),
                workers: self.workers.running() as u64,
                worker_panics: self.workers.panics(),
                paused: self.workers.is_paused(),
                ..self.staging.stats(spaces.iter().map(|space| space.fresh).sum())
            },
            idle: self.idle_stats(spaces.iter().map(|space| space.clustered).sum()),
            training: training_stats(&self.training, &self.encoder.trained),
            spill: self
                .spilling
                .as_ref()
                .map(|spilling| spilling.stats(spaces.iter().map(|space| space.spilled).sum())),
            bases: self.base_stats(),
            work: WorkStats { shrinker_runs: self.wakeup.is_running(), ..self.work.stats() },
            spaces,
        }
    }
}

fn training_stats(training: &Training, trained: &Trained) -> TrainingStats {
    let codec = |id: CodecId| {
        let tally = trained.tally(id);
        TrainedCodecStats { id: id.0, objects: tally.objects, bytes: tally.bytes }
    };
    TrainingStats {
        on: training.is_on(),
        current: trained.current().0,
        codecs: trained.alive().map(codec).collect(),
        ..training.counts.stats()
    }
}
