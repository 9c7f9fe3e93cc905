//! Core files: built by hand, with known content, and dumped by gdb.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::Path,
    process::Command,
};

use serde_json::Value;

use super::children::{python_with_a_heap, wait_until_still};
use super::core_builder::{Core, READ, WRITE};
use crate::common::{PAGE, estimate, estimate_json, noise, number, runs, text, write};

const HEAP: u64 = 0x50_0000;
const STACK: u64 = 0x7ff0_0000_0000;

/// A heap of noise and text, a stack of zeros, and 20 file pages.
fn process() -> Core {
    let mut heap = noise(16 * PAGE);
    heap.extend(text(48 * PAGE));
    let core = Core {
        files: Some(vec![(0x40_0000, 0x41_4000)]),
        process: Some((4321, "redis-server")),
        in_stack: Some(STACK + 100),
        ..Core::default()
    };
    core.segment(0x40_0000, READ, noise(4 * PAGE))
        .segment(0x40_4000, READ | WRITE, noise(16 * PAGE))
        .segment(HEAP, READ | WRITE, heap)
        .segment(STACK, READ | WRITE, vec![0; 8 * PAGE])
}

fn write_core(bytes: &[u8]) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("core.4321");
    write(&path, bytes);
    let path = path.display().to_string();
    (directory, path)
}

fn found(document: &Value) -> &Value {
    &document["input"]["processes"][0]
}

#[test]
fn the_private_segments_are_measured_and_the_files_are_left_out() {
    let (_directory, path) = write_core(&process().build());
    let document = estimate_json(["--codec", "lz4", "--maps", &path], 0);
    let core = found(&document);
    assert_eq!((number(core, "pid"), core["name"].as_str()), (4321, Some("redis-server")));
    assert_eq!(core["core"], path.as_str());
    assert_eq!((number(core, "pages"), number(core, "file_bytes")), (72, 20 * PAGE as u64));
    assert_eq!(core["rss_anon_bytes"], Value::Null);
    let run = &runs(&document)[0];
    assert_eq!((number(run, "raw"), number(run, "same_filled")), (16, 8));
    let maps = core["maps"].as_array().expect("`maps` is an array");
    let parts: Vec<_> = maps
        .iter()
        .map(|map| (map["kind"].as_str(), map["start"].as_str(), number(map, "pages")))
        .collect();
    assert_eq!(
        parts,
        [(Some("anonymous"), Some("0x500000"), 64), (Some("stack"), Some("0x7ff000000000"), 8)]
    );
    assert_eq!(number(&maps[0]["results"][0], "raw"), 16);
    assert_eq!(number(&document["input"], "files"), 0);

    let shown = estimate(["--codec", "lz4", &path]);
    assert!(shown.stdout.contains("of 1 core file;"), "{shown:?}");
    assert!(shown.stdout.contains("\n4321 redis-server"), "{shown:?}");
}

#[test]
fn a_core_file_beside_other_files_is_one_input_more() {
    let (directory, path) = write_core(&process().build());
    let other = directory.path().join("text");
    write(&other, &text(10 * PAGE));
    let document = estimate_json(["--codec", "lz4", &path, &other.display().to_string()], 0);
    let input = &document["input"];
    assert_eq!((number(input, "files"), number(input, "pages")), (1, 82));
    // In a directory it is an ordinary file; a named path comes first.
    let all = directory.path().display().to_string();
    let document = estimate_json(["--codec", "lz4", &all], 0);
    assert_eq!(number(&document["input"], "files"), 2);
    assert_eq!(document["input"]["processes"], Value::Array(Vec::new()));
}

#[test]
fn holes_are_no_pages() {
    let (_directory, path) = write_core(&process().build());
    // The process touched only the last page of 64 MiB of stack.
    let hole = 64 << 20;
    let file = File::options().write(true).read(true).open(&path).expect("it is ours");
    let len = file.metadata().expect("it is there").len();
    let stack = 64 + 56 * 4;
    for field in [32, 40] {
        let grown = (8 * PAGE as u64 + hole).to_le_bytes();
        file.write_all_at(&grown, stack + field).expect("there is room");
    }
    file.set_len(len + hole).expect("there is room");
    file.write_all_at(&noise(PAGE), len + hole - PAGE as u64).expect("there is room");
    file.sync_all().expect("there is room");
    let document = estimate_json(["--codec", "lz4", &path], 0);
    let core = found(&document);
    if number(core, "hole_bytes") == 0 {
        eprintln!("SKIPPED: this file system knows no holes");
        return;
    }
    // The parts begin inside file system blocks, so one more page may be there.
    assert!((73..=75).contains(&number(core, "pages")), "{core}");
    assert_eq!(number(core, "bytes") + number(core, "hole_bytes"), 72 * PAGE as u64 + hole);
}

#[test]
fn a_core_file_with_more_holes_than_memory_is_measured_whole() {
    let (_directory, path) = write_core(&process().build());
    let file = File::options().write(true).read(true).open(&path).expect("it is ours");
    let len = file.metadata().expect("it is there").len();
    // 64 GiB of stack with one dumped page.
    let stack = 64 + 56 * 4;
    for field in [32, 40] {
        file.write_all_at(&(64_u64 << 30).to_le_bytes(), stack + field).expect("there is room");
    }
    file.set_len(len + (64 << 30)).expect("holes take no room");
    file.write_all_at(&noise(PAGE), len + (32 << 30)).expect("there is room");
    file.sync_all().expect("there is room");
    let document = estimate_json(["--codec", "lz4", &path], 0);
    if number(found(&document), "hole_bytes") == 0 {
        eprintln!("SKIPPED: this file system knows no holes");
        return;
    }
    assert_eq!(document["input"]["sampled"], false, "{document}");
    assert!((73..=77).contains(&number(&document["input"], "pages")), "{document}");
}

#[test]
fn zeros_in_a_core_file_without_holes_are_said_to_be_so() {
    let (_directory, path) = write_core(&process().build());
    let document = estimate_json(["--codec", "lz4", &path], 0);
    assert_eq!(number(found(&document), "hole_bytes"), 0);
    assert_eq!(number(found(&document), "zero_bytes"), 8 * PAGE as u64);
    let shown = estimate(["--codec", "lz4", &path]).stdout;
    assert!(shown.contains("About 32.0 KiB are pages of zeros"), "{shown}");
    assert!(shown.contains("cp --sparse=always"), "{shown}");
    // With a page of noise instead there is no message.
    let mut other = process();
    other.segments[3].bytes = noise(8 * PAGE);
    let (_directory, path) = write_core(&other.build());
    let shown = estimate(["--codec", "lz4", &path]).stdout;
    assert!(!shown.contains("pages of zeros"), "{shown}");
}

#[test]
fn the_memory_of_a_machine_is_measured_and_said_to_be_so() {
    let core = Core::default()
        .segment(0, 0, text(20 * PAGE))
        .segment(0x1_0000_0000, 0, vec![0; 5 * PAGE])
        .build();
    let (_directory, path) = write_core(&core);
    let document = estimate_json(["--codec", "lz4", "--maps", &path], 0);
    assert_eq!(number(found(&document), "pages"), 25);
    assert_eq!(found(&document)["zero_bytes"], Value::Null, "they are the machine's own");
    assert_eq!(found(&document)["maps"][0]["name"], "guest memory");
    let why = document["input"]["skipped"][0]["why"].as_str().expect("a text");
    assert!(why.contains("whole machine"), "{why}");
}

#[test]
fn a_core_file_with_nothing_to_measure_says_how_its_bytes_are_measured() {
    let (_directory, path) = write_core(&Core::default().build());
    estimate([&path]).fails_without_report(1, &["without program headers", "estimate - < FILE"]);
}

#[test]
fn without_a_list_of_files_that_is_said() {
    let (_directory, path) = write_core(&Core { files: None, ..process() }.build());
    let document = estimate_json(["--codec", "lz4", &path], 0);
    assert_eq!(number(found(&document), "pages"), 88, "the file's writable pages too");
    let why = document["input"]["skipped"][0]["why"].as_str().expect("a text");
    assert!(why.contains("NT_FILE"), "{why}");
}

#[test]
fn truncated_and_foreign_core_files_are_refused() {
    let whole = process().build();
    for len in [64, 200, 1000, whole.len() / 2, whole.len() - 1] {
        let (_directory, path) = write_core(&whole[..len]);
        estimate([&path]).fails_without_report(1, &["core.4321", "truncated core file", "has"]);
    }
    let foreign = |change: fn(&mut [u8]), words: &str| {
        let mut bytes = whole.clone();
        change(&mut bytes);
        let (directory, path) = write_core(&bytes);
        estimate([&path]).fails_without_report(1, &["core.4321", words, "64-bit little-endian"]);
        // Among several inputs it is listed, and the rest is measured.
        let other = directory.path().join("text");
        write(&other, &text(10 * PAGE));
        let document = estimate_json(["--codec", "lz4", &path, &other.display().to_string()], 3);
        assert_eq!(number(&document["input"], "pages"), 10);
    };
    foreign(|bytes| bytes[4] = 1, "32-bit process");
    foreign(
        |bytes| {
            bytes[5] = 2;
            bytes[16..18].reverse();
        },
        "big-endian process",
    );
    let mut damaged = whole.clone();
    damaged[64 + 56 * 3 + 16..][..8].copy_from_slice(&STACK.to_le_bytes());
    let (_directory, path) = write_core(&damaged);
    estimate([&path]).fails_without_report(1, &["damaged core file", "the same addresses"]);
}

#[test]
fn a_program_is_a_file() {
    let binary = env!("CARGO_BIN_EXE_pagefold");
    let document = estimate_json(["--codec", "raw", "--sample", "0.01", binary], 0);
    assert_eq!(number(&document["input"], "files"), 1);
    let len = fs::metadata(binary).expect("it is there").len();
    // Linkers leave holes.
    let input = &document["input"];
    assert_eq!(number(input, "total_bytes") + number(input, "hole_bytes"), len);
}

/// gdb's dump of a process equals the process, except for untouched zero pages.
#[test]
fn a_core_file_by_gdb_agrees_with_the_process() {
    let mut python = python_with_a_heap();
    let digest = python.ask("digest()");
    wait_until_still(python.id());
    let id = python.id().to_string();
    let live = estimate_json(["--codec", "lz4", "--pid", &id], 0);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let prefix = directory.path().join("core");
    let dumped = Command::new("gcore").arg("-o").arg(&prefix).arg(&id).output();
    let path = prefix.with_extension(&id);
    if !dumped.is_ok_and(|output| output.status.success()) || !Path::new(&path).exists() {
        eprintln!("SKIPPED: gcore (of gdb) is missing or may not attach");
        return;
    }
    assert_eq!(python.ask("digest()"), digest);
    let path = path.display().to_string();
    let core = estimate_json(["--codec", "lz4", "--maps", &path], 0);
    assert_eq!(number(found(&core), "pid").to_string(), id);
    // Excluded: absent pages, and zeros that may be holes.
    let content = |document: &Value| {
        let run = &runs(document)[0];
        number(run, "pages") - number(run, "same_filled")
    };
    let (of_core, of_process) = (content(&core), content(&live));
    // Data pages of libraries count in the process only; a core file has them in a file's segment.
    let difference = of_core.abs_diff(of_process) as f64 / of_process as f64;
    assert!(difference < 0.05, "{of_core} pages of the core file, {of_process} of the process");
    let stacks = found(&core)["maps"].as_array().expect("`maps` is an array");
    assert!(stacks.iter().any(|map| map["kind"] == "stack"), "{core}");
}
