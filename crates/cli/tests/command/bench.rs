//! `pagefold bench region` through the binary: a quick run, bad input, exit codes. Rows of the peer need root, and are not run here.

use std::{fs, process::Command};

use serde_json::Value;

use crate::common::{Outcome, pagefold};

fn bench(args: &[&str]) -> Outcome {
    let mut command: Command = pagefold();
    command.args(["bench", "region"]).args(args).output().expect("the binary runs").into()
}

#[test]
fn a_quick_run_measures_every_pattern() {
    let found = bench(&["--quick", "--zram", "none", "--json"]).json(0);
    assert_eq!(found["bytes"], 8 << 20);
    assert_eq!(found["zram_skipped"], "not asked for");
    assert_eq!(found["tables"].as_array().map(Vec::len), Some(1));
    let table = &found["tables"][0];
    assert_eq!(table["busy"], false);
    let rows = table["rows"].as_array().expect("rows");
    for name in ["sequential", "random", "zipf", "hash join", "sort"] {
        let is_of = |row: &&Value| row["workload"].as_str().is_some_and(|of| of.starts_with(name));
        assert!(rows.iter().any(|row| is_of(&row)), "{name}: {found}");
    }
    for row in rows {
        let (memory, region) = (&row["memory"], &row["region"][0]);
        assert_eq!((&memory["answer"], &memory["digest"]), (&region["answer"], &region["digest"]));
        assert!(region["faults"].as_u64() > Some(100), "a quarter is in memory: {row}");
        assert_eq!(row["zram"][0]["skipped"], "not asked for");
    }
    let [region, zram] = [0, 1].map(|at| &table["out_and_back"][at]);
    assert_eq!(
        (region["place"].as_str(), zram["place"].as_str()),
        (Some("region"), Some("zram swap"))
    );
    assert!(region["touch_random_us"].as_f64() > Some(0.0), "{region}");
    assert_eq!(zram["skipped"], "not asked for");
}

#[test]
fn the_table_has_the_limits_and_patterns_that_are_asked_for() {
    let args =
        ["--quick", "--zram", "none", "--pattern", "zipf", "--limit", "1/2", "--limit", "1/4"];
    let outcome = bench(&args);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let text = &outcome.stdout;
    for word in
        ["zipf, 95 % writes", "1/2", "1/4", "zram swap: skipped: not asked for", "one thread"]
    {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!text.contains("hash join") && !text.contains("busy thread"), "{text}");
}

#[test]
fn bad_input_is_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let short = folder.path().join("short");
    fs::write(&short, [1; 4096]).expect("room");
    let short = short.to_str().expect("text");
    bench(&[short, "--zram", "none"]).fails_without_report(2, &["4096 bytes", "8 MiB"]);
    bench(&["/nowhere/at/all", "--zram", "none"]).fails_without_report(2, &["/nowhere/at/all"]);
    for (args, word) in
        [(["--limit", "5/4"], "1/4"), (["--mib", "1"], "at least 8"), (["--pattern", "x"], "zipf")]
    {
        let outcome = bench(&args);
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        assert!(outcome.stderr.contains(word), "{outcome:?}");
    }
    // A limit below the least of a region.
    let small = bench(&["--quick", "--zram", "none", "--limit", "1/64"]);
    small.fails_without_report(1, &["resident limit"]);
}
