//! Processes and their mappings in the JSON, as `docs/ESTIMATE.md` documents.

use std::path::Path;

use serde::Serialize;

use crate::estimate::result::{
    input::InputSummary, interval::Interval, mapping_kind::MappingKind, process,
};

/// An element of `input.processes`.
#[derive(Serialize)]
pub(super) struct Process<'a> {
    pid: Option<u32>,
    name: &'a str,
    core: Option<String>,
    shared_by: Option<u64>,
    pages: u64,
    bytes: u64,
    vanished_pages: u64,
    complete: bool,
    rss_anon_bytes: Option<u64>,
    shared_anonymous_bytes: Option<u64>,
    ksm_bytes: Option<u64>,
    locked_bytes: Option<u64>,
    file_bytes: Option<u64>,
    shared_memory_bytes: Option<u64>,
    hugetlb_bytes: Option<u64>,
    swap_bytes: Option<u64>,
    read_only_bytes: Option<u64>,
    hole_bytes: Option<u64>,
    zero_bytes: Option<u64>,
    proportional: Option<Proportional>,
    results: Vec<PartResult<'a>>,
    maps: Vec<Mapping<'a>>,
}

/// `input.processes[].proportional`.
#[derive(Serialize)]
struct Proportional {
    shared_anonymous_bytes: u64,
    file_bytes: u64,
    shared_memory_bytes: u64,
}

/// An element of `input.processes[].maps`.
#[derive(Serialize)]
struct Mapping<'a> {
    start: String,
    end: String,
    kind: MappingKind,
    name: Option<&'a str>,
    pages: u64,
    bytes: u64,
    results: Vec<PartResult<'a>>,
}

/// An element of their `results`: one run's fill.
#[derive(Serialize)]
struct PartResult<'a> {
    codec: &'a str,
    allocator: &'a str,
    pages: u64,
    stored: u64,
    raw: u64,
    same_filled: u64,
    original_bytes: u64,
    payload_bytes: u64,
    memory_bytes: u64,
    effective_ratio: Option<f64>,
    effective_ratio_95: Option<Interval>,
}

/// `input.compressed_swap`.
#[derive(Serialize)]
pub(super) struct CompressedSwap<'a> {
    zswapped_bytes: Option<u64>,
    zswap_pool_bytes: Option<u64>,
    zram_devices: &'a [String],
}

pub(super) fn processes(input: &InputSummary) -> Vec<Process<'_>> {
    input.processes.iter().map(Process::from).collect()
}

impl<'a> From<&'a process::ProcessSummary> for Process<'a> {
    fn from(process: &'a process::ProcessSummary) -> Self {
        let beside = &process.beside;
        Self {
            pid: process.process_id,
            name: &process.name,
            core: process.core.as_deref().map(Path::display).map(|path| path.to_string()),
            shared_by: process.shared_by,
            pages: process.pages,
            bytes: process.bytes,
            vanished_pages: process.vanished_pages,
            complete: process.complete,
            rss_anon_bytes: beside.rss_anon,
            shared_anonymous_bytes: beside.shared_anonymous,
            ksm_bytes: beside.merged,
            locked_bytes: beside.locked,
            file_bytes: beside.file,
            shared_memory_bytes: beside.shared_memory,
            hugetlb_bytes: beside.reserved_huge,
            swap_bytes: beside.swap,
            read_only_bytes: beside.read_only,
            hole_bytes: beside.holes,
            zero_bytes: beside.zeros,
            proportional: beside.proportional.map(|part| Proportional {
                shared_anonymous_bytes: part.shared_anonymous,
                file_bytes: part.file,
                shared_memory_bytes: part.shared_memory,
            }),
            results: process.shares.iter().map(PartResult::from).collect(),
            maps: process.mappings.iter().map(Mapping::from).collect(),
        }
    }
}

impl<'a> From<&'a process::MappingSummary> for Mapping<'a> {
    fn from(mapping: &'a process::MappingSummary) -> Self {
        Self {
            // JSON readers keep numbers as 64-bit floats, too short for some addresses.
            start: format!("{:#x}", mapping.start),
            end: format!("{:#x}", mapping.end),
            kind: mapping.kind,
            name: mapping.name.as_deref(),
            pages: mapping.pages,
            bytes: mapping.bytes,
            results: mapping.shares.iter().map(PartResult::from).collect(),
        }
    }
}

impl<'a> From<&'a process::PartResult> for PartResult<'a> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of memory in bytes, rounded"
    )]
    fn from(share: &'a process::PartResult) -> Self {
        Self {
            codec: &share.codec,
            allocator: &share.allocator,
            pages: share.tally.pages(),
            stored: share.tally.sums.stored,
            raw: share.tally.sums.raw,
            same_filled: share.tally.sums.same_filled,
            original_bytes: share.tally.sums.original_bytes,
            payload_bytes: share.tally.sums.payload_bytes,
            memory_bytes: share.memory_bytes.round() as u64,
            effective_ratio: share.effective_ratio,
            effective_ratio_95: share.effective_ratio_95,
        }
    }
}

impl<'a> From<&'a pagefold_procfs::CompressedSwap> for CompressedSwap<'a> {
    fn from(swap: &'a pagefold_procfs::CompressedSwap) -> Self {
        Self {
            zswapped_bytes: swap.zswapped,
            zswap_pool_bytes: swap.zswap_pool,
            zram_devices: &swap.zram_devices,
        }
    }
}
