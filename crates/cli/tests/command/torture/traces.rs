//! Every allocator replays a recorded trace; a failing one is short and fails again.

use std::fs;

use super::{LIMIT, json, runs, text, torture};

#[test]
fn a_recorded_run_is_the_same_run_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("t.trace");
    let path = path.to_str().expect("a plain name");
    let recorded =
        json(&["--record", path, "--allocator", "nbud", "--ops", "8000", "--seed", "9"], 0);
    let trace = fs::read_to_string(path).expect("it was written");
    assert!(trace.starts_with("pagefold-trace 1\nseed 0x9\nlimit 4194304\n"), "{trace:.200}");
    assert!(trace.lines().any(|line| line == "allocator nbud"), "{trace:.200}");
    assert!(trace.lines().count() > 7000);

    let replayed = torture(["--json", "--replay", path]);
    assert!(replayed.status.success(), "{replayed:?}");
    let replayed: serde_json::Value = serde_json::from_slice(&replayed.stdout).expect("JSON");
    let digest = |document: &serde_json::Value| runs(document)[0]["digest"].clone();
    assert_eq!(digest(&recorded), digest(&replayed), "nbud comes first");
    assert_eq!(replayed["seed"], "0x9");
    assert_eq!(runs(&replayed).len(), pagefold_pool::Allocator::ALL.len());
    // Less room and new faults: other outcomes, and no failure.
    let args = ["--json", "--replay", path, "--limit", "2MiB", "--faults", "frame=0.05"];
    let squeezed = torture(args);
    assert!(squeezed.status.success(), "{squeezed:?}");
    let squeezed: serde_json::Value = serde_json::from_slice(&squeezed.stdout).expect("JSON");
    let counts = &runs(&squeezed)[0]["counts"];
    assert!(counts["out_of_memory"].as_u64() > Some(0), "{counts}");
}

#[test]
fn a_mutant_is_shrunk_to_a_short_trace_that_fails_again() {
    let args = ["--allocator", "map:WriteIgnored", "--threads", "1", "--seed", "4"];
    let document = json(&[&args[..], &["--ops", "50000"]].concat(), 4);
    let failure = &runs(&document)[0]["failure"];
    let steps = failure["steps"].as_array().expect("steps");
    assert!((1..=10).contains(&steps.len()), "{failure}");
    let path = failure["trace"].as_str().expect("a file").to_owned();

    let again = torture(["--allocator", "map:WriteIgnored", "--replay", &path]);
    assert_eq!(again.status.code(), Some(4), "{again:?}");
    let shown = text(&again.stdout);
    assert!(shown.contains("FAILED at operation") && shown.contains("To reproduce:"), "{shown}");
    // The printed command reproduces it as well.
    let command = failure["command"].as_str().expect("a command").to_owned();
    let words: Vec<&str> = command.split_whitespace().skip(2).collect();
    let rerun = torture(words);
    assert_eq!(rerun.status.code(), Some(4), "{command}: {rerun:?}");
    let sound = torture(["--allocator", "map", "--replay", &path, "--limit", LIMIT]);
    assert!(sound.status.success(), "{sound:?}");
    fs::remove_file(path).expect("it was kept");
    // The replays wrote traces too.
    for output in [&again, &rerun] {
        let line = text(&output.stdout).lines().find_map(|line| line.split_once("--replay "));
        if let Some((_, path)) = line {
            fs::remove_file(path).expect("it was kept");
        }
    }
}

#[test]
fn estimate_measures_every_allocator_on_a_trace() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("t.trace");
    let path = path.to_str().expect("a plain name");
    json(&["--record", path, "--allocator", "nbud", "--ops", "8000", "--seed", "9"], 0);
    let estimate = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pagefold"));
        command.args(["estimate", "--trace", path]).args(args).output().expect("the binary runs")
    };
    let output = estimate(&["--json"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&document["version"], &document["steps"]), (&1.into(), &8000.into()));
    assert_eq!(runs(&document).len(), pagefold_pool::Allocator::ALL.len());
    for run in runs(&document) {
        for account in ["fullest", "end"] {
            let density = run[account]["density"].as_f64().expect("a number");
            assert!(density > 0.3 && density <= 1.0, "{account}: {run}");
        }
        for time in ["store_ns", "write_ns", "read_ns", "free_ns"] {
            assert!(run[time].as_f64() > Some(0.0), "{time}: {run}");
        }
        assert!(run["refused"].is_u64() && run["left_out"].is_u64(), "{run}");
    }
    let table = estimate(&["--allocator", "zbud"]);
    let table = text(&table.stdout);
    assert!(
        table.contains("zbud") && !table.contains("nbud") && table.contains("density"),
        "{table}"
    );
    for args in [&["--codec", "lz4"][..], &["--lifecycle"], &["x"], &["--limit", "1"]] {
        let output = estimate(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
    }
}
