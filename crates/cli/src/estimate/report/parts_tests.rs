//! Tests of the tables of processes and mappings.

use pagefold_procfs::CompressedSwap;

use super::*;

use crate::estimate::{
    report::test_report,
    result::{
        mapping_kind::MappingKind,
        process::{MappingSummary, Proportional},
    },
};

fn share(codec: &str, pages: u64, memory_bytes: f64) -> PartResult {
    let mut share = PartResult {
        codec: codec.to_owned(),
        allocator: "nbud".to_owned(),
        tally: Default::default(),
        memory_bytes,
        effective_ratio: None,
        effective_ratio_95: None,
    };
    share.tally.sums.stored = pages / 2;
    share.tally.sums.same_filled = pages - pages / 2;
    share.tally.sums.original_bytes = pages * PAGE as u64;
    share
}

fn process(process_id: u32, pages: u64, memory_bytes: f64) -> ProcessSummary {
    let mut process = ProcessSummary::new("a program of a long name indeed".to_owned());
    process.process_id = Some(process_id);
    process.pages = pages;
    process.bytes = pages * PAGE as u64;
    process.beside.swap = Some(3 << 20);
    process.beside.file = Some(900 << 20);
    process.beside.shared_anonymous = Some(1 << 20);
    process.beside.shared_memory = Some(100 << 20);
    for codec in ["lz4", "zstd:-1", "zstd:1"] {
        process.shares.push(share(codec, pages, memory_bytes));
    }
    process
}

fn mapping(start: u64, kind: MappingKind, name: Option<&str>, pages: u64) -> MappingSummary {
    MappingSummary {
        start,
        end: start + pages * PAGE as u64,
        kind,
        name: name.map(str::to_owned),
        pages,
        bytes: pages * PAGE as u64,
        shares: vec![share("lz4", pages, 2048.0 * pages as f64)],
        group: 0,
    }
}

fn input(processes: Vec<ProcessSummary>) -> InputSummary {
    InputSummary { processes, ..test_report(Vec::new(), 1, 1).input }
}

#[test]
fn files_alone_have_no_such_table() {
    assert!(tables(&input(Vec::new())).is_empty() && notes(&input(Vec::new())).is_empty());
}

#[test]
fn processes_stand_by_size_with_their_sum_in_80_columns() {
    let unswapped = |number: u32| {
        let mut process = process(number, u64::from(number) << 12, 1e6);
        process.beside.swap = Some(0);
        process
    };
    let [table] = tables(&input((1..=30).map(unswapped).collect())).try_into().expect("one table");
    let lines: Vec<_> = table.lines().collect();
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "\n{table}");
    assert_eq!(lines.len(), 1 + PROCESSES_SHOWN + 2, "\n{table}");
    assert!(lines[1].starts_with("30 a program of a l\u{2026} "), "\n{table}");
    assert!(lines[1].contains("480.0 MiB  101.0 MiB 900.0 MiB  0 B"), "\n{table}");
    assert!(lines[21].starts_with("10 others"), "\n{table}");
    // 465 times 16 MiB of 30 MB in pools.
    assert!(lines[22].starts_with("total") && lines[22].ends_with(" 260"), "\n{table}");
}

#[test]
fn one_process_needs_no_sum_and_what_is_unknown_is_a_dash() {
    let mut core = process(7, 100, 0.0);
    core.core = Some("core.7".into());
    core.beside = Default::default();
    let [table] = tables(&input(vec![core])).try_into().expect("one table");
    assert_eq!(table.lines().count(), 2, "\n{table}");
    let words: Vec<_> = table.lines().nth(1).expect("a line").split_whitespace().collect();
    // Nothing but same-filled pages takes no memory.
    assert_eq!(words[words.len() - 6..], ["-", "-", "-", "inf", "inf", "inf"], "\n{table}");
}

#[test]
fn mappings_are_named_and_the_small_ones_are_put_together() {
    let mut process = process(7, 1000, 1e6);
    process.shares.truncate(1);
    process.mappings = vec![
        mapping(0x1000, MappingKind::Heap, None, 10),
        mapping(0x2000, MappingKind::File, Some("/usr/lib/libc.so.6"), 30),
        mapping(0x3000, MappingKind::Named, Some("js \u{1b}[2J heap"), 20),
    ];
    process.mappings.extend((0..20).map(|at| mapping(at << 32, MappingKind::Anonymous, None, 1)));
    let mut input = input(vec![process]);
    assert_eq!(tables(&input).len(), 1, "mappings were not asked for");
    input.maps = true;
    let table = tables(&input).pop().expect("the table of mappings");
    let (kinds, table) = table.split_once("\n\n").expect("two tables");
    let lines: Vec<_> = kinds.lines().collect();
    assert_eq!(lines[0], "Mappings of 7 a program of a long name indeed by kind:");
    assert_eq!(lines.len(), 2 + 4, "a line for each kind\n{kinds}");
    for (line, words) in [
        (2, ["file", "1", "120.0 KiB"]),
        (3, ["named", "1", "80.0 KiB"]),
        (4, ["anonymous", "20", "80.0 KiB"]),
    ] {
        let [kind, mappings, private] = words;
        let line = lines[line].split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(line.starts_with(&format!("{kind} {mappings} {private}")), "{line}\n{kinds}");
    }
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines[0], "The largest of them:");
    for (line, name) in
        [(2, "libc.so.6"), (3, "named js \u{fffd}[2J heap"), (4, "heap "), (14, "11 others")]
    {
        assert!(lines[line].starts_with(name), "{name}\n{table}");
    }
    assert!(lines[2].ends_with(" 120.0 KiB  50.0 % 0.0 % 2.00"), "\n{table}");
    assert_eq!(lines.len(), 15, "\n{table}");
}

#[test]
fn what_several_processes_have_counts_once_in_the_sum() {
    let mut all = vec![process(7, 1000, 1e6), process(8, 1000, 1e6)];
    for process in &mut all {
        process.beside.shared_anonymous = Some(100 << 20);
        process.beside.shared_memory = Some(0);
        process.beside.file = Some(60 << 20);
        let half = Proportional { shared_anonymous: 50 << 20, file: 30 << 20, shared_memory: 0 };
        process.beside.proportional = Some(half);
    }
    let total = |processes: Vec<ProcessSummary>| {
        let table = tables(&input(processes)).remove(0);
        let last = table.lines().last().expect("a line").split_whitespace().collect::<Vec<_>>();
        assert_eq!(last[0], "total", "{table}");
        (last[3..5].join(" "), last[5..7].join(" "))
    };
    assert_eq!(total(all.clone()), ("100.0 MiB".to_owned(), "60.0 MiB".to_owned()));
    assert!(notes(&input(all.clone())).iter().any(|note| note.contains("counted once")));
    // A kernel that does not say leaves the sum of what each one has.
    all[0].beside.proportional = None;
    assert_eq!(total(all.clone()), ("150.0 MiB".to_owned(), "90.0 MiB".to_owned()));
    // What was measured is no longer left out.
    let mut shared = ProcessSummary::new("shared pages".to_owned());
    (shared.shared_by, shared.bytes) = (Some(2), 100 << 20);
    all[0].beside.proportional = all[1].beside.proportional;
    all.push(shared);
    assert_eq!(total(all).0, "0 B");
}

#[test]
fn locked_memory_has_its_own_line() {
    let mut locked = process(7, 1000, 1e6);
    locked.beside.locked = Some(0);
    assert!(!notes(&input(vec![locked.clone()])).join("\n").contains("Locked"));
    locked.beside.locked = Some(12 << 20);
    assert!(
        notes(&input(vec![locked]))
            .join("\n")
            .contains("Locked in memory: 12.0 MiB of the private")
    );
}

#[test]
fn idle_columns_fit_and_go_by_what_follows_their_codec() {
    let codecs = ["lz4", "zstd:-1", "zstd:1", "balanced", "balanced+idle"];
    let shares = |pages| codecs.map(|codec| share(codec, pages, 1e9)).to_vec();
    let mut large = process(7, 1 << 17, 1e9);
    (large.beside.swap, large.shares) = (Some(0), shares(1 << 17));
    let mut heap = mapping(0x1000, MappingKind::Heap, Some("a name of some length"), 1 << 17);
    heap.shares = shares(1 << 17);
    large.mappings = vec![heap];
    let mut input = input(vec![large]);
    input.maps = true;
    for table in tables(&input) {
        assert!(table.lines().all(|line| line.chars().count() <= 80), "\n{table}");
        let header = table.lines().find(|line| line.contains("lz4")).expect("a heading");
        assert!(header.trim_end().ends_with("zstd:1 balanced +idle"), "\n{table}");
    }
    let apart = [share("lz4", 1, 1.0), share("balanced+idle", 1, 1.0)];
    assert_eq!(headings(&apart), ["lz4", "balanced+idle"]);
}

/// Runs go by codec and then by allocator; a codec's column is the first allocator's run with that codec.
#[test]
fn with_several_allocators_a_codecs_column_is_that_codecs() {
    let mut process = process(7, 1000, 1e6);
    process.shares.clear();
    for (codec, memory) in [("lz4", 2048.0), ("zstd:1", 1024.0)] {
        for (allocator, more) in [("nbud", 1.0), ("zbud", 2.0)] {
            let mut share = share(codec, 1000, memory * 1000.0 * more);
            share.allocator = allocator.to_owned();
            process.shares.push(share);
        }
    }
    let mut heap = mapping(0x1000, MappingKind::Heap, None, 1000);
    heap.shares = process
        .shares
        .iter()
        .map(|of| PartResult { codec: of.codec.clone(), allocator: of.allocator.clone(), ..*of })
        .collect();
    process.mappings = vec![heap];
    let mut input = input(vec![process]);
    input.maps = true;
    for table in tables(&input) {
        let header = table.lines().find(|line| line.contains("lz4")).expect("a heading");
        assert!(header.trim_end().ends_with("lz4 zstd:1"), "\n{table}");
        let last = table.lines().last().expect("a line");
        let words: Vec<_> = last.split_whitespace().collect();
        assert_eq!(words[words.len() - 2..], ["2.00", "4.00"], "\n{table}");
    }
}

#[test]
fn notes_tell_what_vanished_and_what_the_swap_is() {
    let mut busy = process(7, 1000, 1e6);
    busy.vanished_pages = 12;
    let mut input = input(vec![busy]);
    input.compressed_swap = Some(CompressedSwap::default());
    let text = notes(&input).join("\n");
    assert!(text.contains("12 private pages (48.0 KiB) were gone"), "{text}");
    assert!(text.contains("left out: 3.0 MiB; this system has neither zram nor zswap"), "{text}");
    input.compressed_swap = Some(CompressedSwap {
        zswapped: Some(9 << 20),
        zswap_pool: Some(3 << 20),
        zram_devices: vec!["/dev/zram0".to_owned()],
    });
    let text = notes(&input).join("\n");
    assert!(
        text.contains("by zram (/dev/zram0), or in part in zswap, which holds 9.0 MiB"),
        "{text}"
    );
}
