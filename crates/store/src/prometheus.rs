//! Statistics in Prometheus text format 0.0.4.

use std::fmt::Write as _;

use crate::base::BaseStats;
use crate::stats::{Histogram, SpaceStats, StoreStats, TrainedCodecStats};

/// One number per space.
struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    value: fn(&SpaceStats) -> u64,
}

const fn gauge(name: &'static str, help: &'static str, value: fn(&SpaceStats) -> u64) -> Family {
    Family { name, kind: "gauge", help, value }
}

const fn counter(name: &'static str, help: &'static str, value: fn(&SpaceStats) -> u64) -> Family {
    Family { name, kind: "counter", help, value }
}

const SPACE: &[Family] = &[
    gauge("stored", "Pages and values that are there.", |space| space.stored),
    gauge("same_filled", "Pages of one repeated word.", |space| space.same_filled),
    gauge("compressed", "Compressed pages.", |space| space.compressed),
    gauge("raw", "Pages kept as they are.", |space| space.raw),
    gauge("fresh", "Pages in staging.", |space| space.fresh),
    gauge("clustered", "Idle pages in clusters.", |space| space.clustered),
    gauge("spilled", "Pages in the backing.", |space| space.spilled),
    gauge("equal", "Pages equal to their base pages.", |space| space.equal),
    gauge("deltas", "Pages kept as what differs from their base pages.", |space| space.deltas),
    gauge("delta_bytes", "What the objects of these take.", |space| space.delta_bytes),
    gauge("base_saved_bytes", "What these and equal pages save, by samples.", |space| {
        space.saved_bytes
    }),
    gauge("values", "Values of other lengths than a page.", |space| space.values),
    gauge("original_bytes", "Bytes of all pages and values before compression.", |space| {
        space.original_bytes
    }),
    gauge("object_bytes", "What the objects take.", |space| space.object_bytes),
    counter("puts_total", "Puts accepted.", |space| space.puts),
    counter("overwrites_total", "Puts that replaced something.", |space| space.overwrites),
    counter("removed_total", "Entries taken out.", |space| space.removed),
    counter("evicted_total", "Entries dropped to make room.", |space| space.evicted),
    counter("order_failures_total", "Choices the eviction order failed to make.", |space| {
        space.order_failures
    }),
    counter("listener_panics_total", "Eviction listeners that panicked.", |space| {
        space.listener_panics
    }),
    counter("hits_total", "Gets that found something.", |space| space.hits),
    counter("misses_total", "Gets that found nothing.", |space| space.misses),
    counter("would_block_total", "Calls of try_get that would have waited.", |space| {
        space.would_block
    }),
    counter("corrupt_total", "Gets that found something damaged.", |space| space.corrupt),
];

type OfBase = (&'static str, &'static str, &'static str, fn(&BaseStats) -> u64);

const BASE: [OfBase; 7] = [
    ("base_pages", "gauge", "Pages of a base.", |base| base.pages),
    ("base_holes", "gauge", "Of these, pages of zeros.", |base| base.holes),
    ("base_spaces", "gauge", "Spaces on it.", |base| base.spaces),
    ("base_resident_bytes", "gauge", "Its decoded pages.", |base| base.resident_bytes),
    ("base_hits_total", "counter", "Pages that were in memory.", |base| base.hits),
    ("base_reads_total", "counter", "Pages read from their source.", |base| base.reads),
    ("base_failures_total", "counter", "Pages that could not be had.", |base| base.failures),
];

type OfCodec = (&'static str, &'static str, fn(&TrainedCodecStats) -> u64);

const CODEC: [OfCodec; 2] = [
    ("trained_pages", "Pages of a trained codec.", |codec| codec.objects),
    ("trained_bytes", "Bytes of their objects.", |codec| codec.bytes),
];

const SECOND_NS: f64 = 1e9;

impl StoreStats {
    /// Prometheus text. Names begin with `pagefold_store_`; a space's have labels `space` and `kind`.
    pub fn to_prometheus(&self) -> String {
        let mut text = String::new();
        let (work, staging) = (&self.work, &self.staging);
        let (idle, training) = (&self.idle, &self.training);
        let spill = self.spill.clone().unwrap_or_default();
        let backing = spill.backing;
        for (name, kind, help, value) in [
            ("limit_bytes", "gauge", "The hard limit.", self.limit_bytes),
            ("resident_bytes", "gauge", "All that may be resident.", self.resident_bytes),
            ("pool_bytes", "gauge", "Frames that objects lie in.", self.pool_bytes),
            ("idle_bytes", "gauge", "Frames not yet given back.", self.idle_bytes),
            ("metadata_bytes", "gauge", "Everything that is no frame.", self.metadata_bytes),
            ("reserved_bytes", "gauge", "Charged, not resident.", self.reserved_bytes),
            ("payload_bytes", "gauge", "Bytes of live objects.", self.payload_bytes),
            ("accepting", "gauge", "1 if new pages are taken.", u64::from(self.accepting)),
            ("spilled_total", "counter", "Pages that left memory.", spill.spilled),
            ("spill_returned_total", "counter", "Of these, came back.", spill.returned),
            ("spill_prefetched_total", "counter", "Brought along.", spill.prefetched),
            ("spill_fetches_total", "counter", "Reads of the backing.", spill.fetches),
            ("spill_extents", "gauge", "Extents in the backing.", backing.extents),
            ("spill_live_bytes", "gauge", "Bytes of live objects there.", backing.live_bytes),
            ("spill_written_bytes_total", "counter", "Bytes written.", backing.written_bytes),
            ("spill_moved_bytes_total", "counter", "Of these, moved.", backing.moved_bytes),
            ("spill_write_failures_total", "counter", "Writes refused.", backing.write_failures),
            ("spill_read_failures_total", "counter", "Reads refused.", backing.read_failures),
            ("spill_timeouts_total", "counter", "Reads without an answer.", backing.timeouts),
            ("spill_corrupt_total", "counter", "Objects that were damaged.", backing.corrupt),
            ("spill_refused", "gauge", "1 if no page can go.", u64::from(spill.refused)),
            ("staging_capacity_pages", "gauge", "Pages that may wait.", staging.capacity_pages),
            ("staging_bytes", "gauge", "Bytes of pages that wait.", staging.bytes),
            ("staged_total", "counter", "Pages staged.", staging.staged),
            ("staged_compressed_total", "counter", "Staged pages compressed.", staging.compressed),
            ("staged_raw_total", "counter", "Staged pages kept raw.", staging.kept_raw),
            ("staged_saved_total", "counter", "Codec runs saved.", staging.saved),
            ("staging_failures_total", "counter", "Codec panics.", staging.failures),
            ("staging_by_callers_total", "counter", "Pages callers handled.", staging.by_callers),
            ("workers", "gauge", "Workers that run.", staging.workers),
            ("worker_nanoseconds_total", "counter", "Workers' processor time.", staging.worker_ns),
            ("training_codec", "gauge", "The codec of new pages.", u64::from(training.current)),
            ("trainings_total", "counter", "Trainings.", training.trained),
            ("trained_adopted_total", "counter", "Trained codecs adopted.", training.adopted),
            ("trained_given_up_total", "counter", "Returns to the base.", training.given_up),
            ("trained_retired_total", "counter", "Trained codecs freed.", training.retired),
            ("training_failures_total", "counter", "Codecs that failed.", training.failures),
            ("training_nanoseconds_total", "counter", "Processor time.", training.time_ns),
            ("worker_panics_total", "counter", "Panics of workers.", staging.worker_panics),
            ("clusters", "gauge", "Clusters of idle pages.", idle.clusters),
            ("cluster_bytes", "gauge", "Bytes of clusters.", idle.bytes),
            ("idle_passes_total", "counter", "Passes over all pages.", idle.passes),
            ("idle_joined_total", "counter", "Pages that joined clusters.", idle.joined),
            ("idle_refused_total", "counter", "Pages that would not shrink.", idle.refused),
            ("idle_returned_total", "counter", "Pages that left when read.", idle.returned),
            ("idle_split_total", "counter", "Pages of split clusters.", idle.split),
            ("idle_failures_total", "counter", "Failures of the codec.", idle.failures),
            ("idle_nanoseconds_total", "counter", "Processor time of passes.", idle.time_ns),
            ("compactions_total", "counter", "Pieces of compaction.", work.compactions),
            ("compaction_moved_bytes_total", "counter", "Bytes moved.", work.moved_bytes),
            ("compaction_freed_bytes_total", "counter", "Bytes of frames freed.", work.freed_bytes),
            (
                "compaction_freed_pageblock_bytes_total",
                "counter",
                "Bytes of pageblocks freed.",
                work.freed_pageblock_bytes,
            ),
            ("shrinker_steps_total", "counter", "Pieces of background work.", work.shrinker_steps),
            (
                "synchronous_steps_total",
                "counter",
                "Pieces of work done by puts.",
                work.synchronous_steps,
            ),
        ] {
            head(&mut text, name, kind, help);
            _ = writeln!(text, "pagefold_store_{name} {value}");
        }
        head(&mut text, "training_refused_total", "counter", "Trainings put off.");
        for (reason, value) in [("room", training.without_room), ("ids", training.without_id)] {
            _ = writeln!(
                text,
                "pagefold_store_training_refused_total{{reason=\"{reason}\"}} {value}"
            );
        }
        for (name, help, value) in CODEC {
            head(&mut text, name, "gauge", help);
            for codec in &training.codecs {
                let (id, value) = (codec.id, value(codec));
                _ = writeln!(text, "pagefold_store_{name}{{codec=\"{id}\"}} {value}");
            }
        }
        for (name, kind, help, value) in BASE {
            head(&mut text, name, kind, help);
            for base in &self.bases {
                let (label, value) = (escaped(&base.name), value(base));
                _ = writeln!(text, "pagefold_store_{name}{{base=\"{label}\"}} {value}");
            }
        }
        for family in SPACE {
            head(&mut text, family.name, family.kind, family.help);
            for space in &self.spaces {
                let (labels, value) = (labels(space), (family.value)(space));
                _ = writeln!(text, "pagefold_store_{}{{{labels}}} {value}", family.name);
            }
        }
        head(&mut text, "rejected_total", "counter", "Puts not accepted.");
        for space in &self.spaces {
            let rejected = &space.rejected;
            for (reason, value) in [
                ("store_full", rejected.store_full),
                ("threshold", rejected.threshold),
                ("space_full", rejected.space_full),
                ("too_long", rejected.too_long),
            ] {
                let labels = labels(space);
                _ = writeln!(
                    text,
                    "pagefold_store_rejected_total{{{labels},reason=\"{reason}\"}} {value}"
                );
            }
        }
        self.histograms(&mut text, "put_seconds", "How long puts took.", |space| {
            &space.put_latency
        });
        self.histograms(&mut text, "get_seconds", "How long gets took.", |space| {
            &space.get_latency
        });
        text
    }

    fn histograms(
        &self,
        text: &mut String,
        name: &str,
        help: &str,
        of: fn(&SpaceStats) -> &Histogram,
    ) {
        head(text, name, "histogram", help);
        for space in &self.spaces {
            let (labels, histogram) = (labels(space), of(space));
            let mut below = 0;
            for bucket in &histogram.buckets {
                below += bucket.count;
                let bound = bucket
                    .below_ns
                    .map_or("+Inf".to_owned(), |ns| (ns as f64 / SECOND_NS).to_string());
                _ = writeln!(
                    text,
                    "pagefold_store_{name}_bucket{{{labels},le=\"{bound}\"}} {below}"
                );
            }
            let sum = histogram.sum_ns as f64 / SECOND_NS;
            _ = writeln!(text, "pagefold_store_{name}_sum{{{labels}}} {sum}");
            _ = writeln!(text, "pagefold_store_{name}_count{{{labels}}} {}", histogram.count);
        }
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    _ = writeln!(text, "# HELP pagefold_store_{name} {help}");
    _ = writeln!(text, "# TYPE pagefold_store_{name} {kind}");
}

fn escaped(name: &str) -> String {
    name.replace('\\', r"\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn labels(space: &SpaceStats) -> String {
    let name = escaped(&space.name);
    format!("space=\"{name}\",kind=\"{}\"", space.kind.name())
}
