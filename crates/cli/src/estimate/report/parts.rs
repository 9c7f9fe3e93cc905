//! The table of processes: the memory of each, the memory left out, and the compression.
//!
//! A codec's column shows the effective ratio: the part's bytes over its share of the pool's frames and metadata. With
//! several allocators it is the codec's first one; the JSON has all.

/// JSON lists all.
const PROCESSES_SHOWN: usize = 20;

/// With three codecs; each more takes from it.
const PROCESS_WIDTH: usize = 20;
const CODEC_WIDTH: usize = 5;
const NAME_WIDTH_MIN: usize = 10;

pub(super) const NONE: &str = "-";

pub(super) const HEADINGS: [&str; 5] = ["process", "private", "shared", "files", "swap"];

const LEGEND: &str = "\
private: resident anonymous memory of the process alone: what was measured
shared, files, swap: left out; a codec's column: effective ratio";

const ONCE: &str = "total: what several of the processes have is counted once";

const SHARED: &str = "shared by N: anonymous pages that several processes have, measured once";

const CORE_LEGEND: &str = "\
private: writable memory of no file in the core file: what was measured
files: left out; a codec's column: effective ratio";

/// The table of processes, and on request their mappings.
pub(super) fn tables(input: &InputSummary) -> Vec<String> {
    if input.processes.is_empty() {
        return Vec::new();
    }
    let mut all: Vec<_> = input.processes.iter().collect();
    all.sort_by_key(|process| std::cmp::Reverse(process.bytes));
    let mut tables = vec![processes(&all)];
    if input.maps {
        tables.extend(
            all.iter()
                .filter(|process| !process.mappings.is_empty())
                .take(PROCESSES_SHOWN)
                .map(|process| mappings::tables(process)),
        );
    }
    tables
}

fn processes(all: &[&ProcessSummary]) -> String {
    let mut header = HEADINGS.map(str::to_owned).to_vec();
    header.extend(headings(all.first().map_or(&[], |process| &process.shares)));
    let codecs = header.len() - HEADINGS.len();
    let width = name_width(PROCESS_WIDTH, codecs.saturating_sub(3));
    let sizes = |private: u64, beside: [Option<u64>; 3]| {
        let left_out = beside.map(|bytes| bytes.map_or_else(|| NONE.to_owned(), bytes::show));
        std::iter::once(bytes::show(private)).chain(left_out).collect::<Vec<_>>()
    };
    let mut lines = Vec::new();
    for process in all.iter().take(PROCESSES_SHOWN) {
        let mut line = vec![shorten(&process.title(), width)];
        line.extend(sizes(process.bytes, left_out(process)));
        line.extend((0..codecs).map(|codec| ratio(of_codec(&process.shares, codec))));
        lines.push(line);
    }
    if all.len() > PROCESSES_SHOWN {
        let rest = &all[PROCESSES_SHOWN..];
        lines.push(summed(format!("{} others", count(rest.len() as u64)), rest, codecs, sizes));
    }
    if all.len() > 1 {
        lines.push(summed("total".to_owned(), all, codecs, sizes));
    }
    lay_out(1, header, lines.into_iter())
}

pub(super) fn left_out(process: &ProcessSummary) -> [Option<u64>; 3] {
    let beside = &process.beside;
    let shared = match (beside.shared_anonymous, beside.shared_memory) {
        (None, None) => None,
        (anonymous, memory) => Some(anonymous.unwrap_or(0) + memory.unwrap_or(0)),
    };
    [shared, beside.file, beside.swap]
}

/// As [`left_out`], with shared memory divided among its processes, so that a sum counts it once. Without this figure
/// from the kernel, the memory counts for each process.
fn left_out_once(process: &ProcessSummary, shared_was_measured: bool) -> [Option<u64>; 3] {
    let [shared, file, swap] = left_out(process);
    match process.beside.proportional {
        Some(part) => {
            let anonymous = if shared_was_measured { 0 } else { part.shared_anonymous };
            [Some(anonymous + part.shared_memory), Some(part.file), swap]
        }
        None => [shared, file, swap],
    }
}

/// One line for several processes; shared memory counts once.
fn summed(
    name: String,
    processes: &[&ProcessSummary],
    codecs: usize,
    sizes: impl Fn(u64, [Option<u64>; 3]) -> Vec<String>,
) -> Vec<String> {
    let private = processes.iter().map(|process| process.bytes).sum();
    let measured = processes.iter().any(|process| process.shared_by.is_some());
    let column = |index: usize| {
        let once = |process: &&ProcessSummary| left_out_once(process, measured)[index];
        let mut known = processes.iter().filter_map(once).peekable();
        known.peek().is_some().then(|| known.sum())
    };
    let mut line = vec![name];
    line.extend(sizes(private, [column(0), column(1), column(2)]));
    let shares =
        |codec| processes.iter().filter_map(move |process| of_codec(&process.shares, codec));
    line.extend((0..codecs).map(|codec| ratio_of(shares(codec))));
    line
}

/// The first allocator of each codec.
fn of_first_allocator(shares: &[PartResult]) -> impl Iterator<Item = &PartResult> {
    let is_first = |at: usize| shares[..at].iter().all(|before| before.codec != shares[at].codec);
    (0..shares.len()).filter(move |&at| is_first(at)).map(|at| &shares[at])
}

pub(super) fn codecs(shares: &[PartResult]) -> Vec<String> {
    of_first_allocator(shares).map(|share| share.codec.clone()).collect()
}

/// As [`codecs`], where the text has little room: what follows its codec goes without the name.
pub(super) fn headings(shares: &[PartResult]) -> Vec<String> {
    let codecs = codecs(shares);
    let heading = |at: usize| {
        let before = at.checked_sub(1).map_or("", |before| codecs[before].as_str());
        let rest = codecs[at].strip_prefix(before).filter(|rest| rest.starts_with('+'));
        rest.filter(|_| !before.is_empty()).unwrap_or(&codecs[at]).to_owned()
    };
    (0..codecs.len()).map(heading).collect()
}

/// The width of a name beside `more` codecs than it was made for.
pub(super) fn name_width(width: usize, more: usize) -> usize {
    width.saturating_sub(more * CODEC_WIDTH).max(NAME_WIDTH_MIN)
}

pub(super) fn of_codec(shares: &[PartResult], column: usize) -> Option<&PartResult> {
    of_first_allocator(shares).nth(column)
}

pub(super) fn ratio(share: Option<&PartResult>) -> String {
    ratio_of(share.into_iter())
}

/// The common ratio of several shares.
pub(super) fn ratio_of<'a>(shares: impl Iterator<Item = &'a PartResult>) -> String {
    let add = |sum: (u64, f64), share: &PartResult| {
        (sum.0 + share.tally.sums.original_bytes, sum.1 + share.memory_bytes)
    };
    let (original, memory) = shares.fold((0, 0.0), add);
    if original == 0 {
        NONE.to_owned()
    } else if memory < 1.0 {
        // Only same-filled pages.
        "inf".to_owned()
    } else {
        let ratio = original as f64 / memory;
        if ratio < 100.0 { format!("{ratio:.2}") } else { format!("{ratio:.0}") }
    }
}

pub(super) fn shorten(name: &str, width: usize) -> String {
    let name = printable(name);
    if name.chars().count() <= width {
        return name;
    }
    name.chars().take(width - 1).chain(['\u{2026}']).collect()
}

/// Facts that the tables do not show.
pub(super) fn notes(input: &InputSummary) -> Vec<String> {
    let live = input
        .processes
        .iter()
        .filter(|process| process.process_id.is_some() && process.core.is_none());
    let sum = |bytes: fn(&ProcessSummary) -> Option<u64>| {
        input.processes.iter().filter_map(bytes).sum::<u64>()
    };
    let mut notes = Vec::new();
    match input.hole_bytes {
        0 => {}
        holes => notes
            .push(format!("Left out: {} of holes, where files have no data.", bytes::show(holes))),
    }
    if input.processes.iter().any(|process| process.core.is_some()) {
        notes.push(CORE_LEGEND.to_owned());
    }
    if live.clone().next().is_some() {
        notes.push(LEGEND.to_owned());
    }
    if live.clone().nth(1).is_some() {
        notes.push(ONCE.to_owned());
    }
    if input.processes.iter().any(|process| process.shared_by.is_some()) {
        notes.push(SHARED.to_owned());
    }
    match sum(|process| process.beside.locked) {
        0 => {}
        locked => notes.push(format!(
            "Locked in memory: {} of the private memory. No swap, zram or zswap takes it away.",
            bytes::show(locked)
        )),
    }
    match live.map(|process| process.vanished_pages).sum() {
        0 => {}
        vanished => notes.push(format!(
            "{} ({}) were gone or shared before they could be read, and are not counted.",
            plural(vanished, "private page"),
            bytes::show(vanished * PAGE as u64)
        )),
    }
    match sum(|process| process.beside.holes) {
        0 => {}
        holes => notes.push(format!(
            "Left out: {} that the process never had, holes of the core file.",
            bytes::show(holes)
        )),
    }
    match zeros_for_holes(input) {
        0 => {}
        zeros => notes.push(format!(
            "About {} are pages of zeros in a core file without holes. Some\nprograms (older gdb) write them for pages that the process never had. With\n`cp --sparse=always` they become holes, which are left out.",
            bytes::show(zeros)
        )),
    }
    match sum(|process| process.beside.reserved_huge) {
        0 => {}
        huge => notes.push(format!(
            "Left out: {} in huge pages from the system's reserve, which are never swapped.",
            bytes::show(huge)
        )),
    }
    notes.extend(compressed_swap(input, sum(|process| process.beside.swap)));
    notes
}

/// Zeros in core files without holes: possibly pages that never existed.
fn zeros_for_holes(input: &InputSummary) -> u64 {
    let without_holes = |process: &&ProcessSummary| process.beside.holes == Some(0);
    input.processes.iter().filter(without_holes).filter_map(|process| process.beside.zeros).sum()
}

/// Whether the swapped memory is already compressed.
fn compressed_swap(input: &InputSummary, swapped: u64) -> Option<String> {
    let swap = input.compressed_swap.as_ref()?;
    if swapped == 0 {
        return None;
    }
    let mut already = Vec::new();
    if !swap.zram_devices.is_empty() {
        already.push(format!("compressed in memory by zram ({})", swap.zram_devices.join(", ")));
    }
    if let (Some(zswapped @ 1..), Some(pool)) = (swap.zswapped, swap.zswap_pool) {
        let (held, pool) = (bytes::show(zswapped), bytes::show(pool));
        already.push(format!("in part in zswap, which holds {held} of the whole system in {pool}"));
    }
    let swapped = bytes::show(swapped);
    Some(if already.is_empty() {
        format!(
            "Swapped out and left out: {swapped}; this system has neither zram nor zswap in use."
        )
    } else {
        format!("Swapped out and left out: {swapped}, {}.", already.join(", or "))
    })
}

#[cfg(test)]
#[path = "parts_tests.rs"]
mod tests;

use crate::{
    bytes,
    columns::lay_out,
    estimate::{
        config::PAGE,
        report::mappings,
        result::{
            input::InputSummary,
            process::{PartResult, ProcessSummary},
        },
    },
    numbers::{count, plural},
    printable::printable,
};
