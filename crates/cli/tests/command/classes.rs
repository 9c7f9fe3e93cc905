//! `pagefold classes` through the binary: figures, JSON, bad input, exit codes.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

fn classes(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pagefold"));
    command.arg("classes").args(args).stdin(Stdio::null()).output().expect("the binary runs")
}

/// With `lengths` on standard input.
fn classes_of(args: &[&str], lengths: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pagefold"))
        .arg("classes")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut stdin = child.stdin.take().expect("it is a pipe");
    stdin.write_all(lengths.as_bytes()).expect("it is read");
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

fn json(output: &Output) -> Value {
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn figures_are_those_of_the_table() {
    for (chain, classes_wanted, density, spanning) in
        [("4", 69, 0.930, 0.19), ("8", 119, 0.970, 0.30), ("16", 192, 0.985, 0.38)]
    {
        let found = json(&classes(&["--chain", chain, "--json"]));
        assert_eq!(found["sizes"], 255);
        assert_eq!(found["classes"].as_array().map(Vec::len), Some(classes_wanted));
        let figure = |key: &str| found[key].as_f64().expect("a number");
        assert!((figure("density") - density).abs() < 0.0005, "{}", found["density"]);
        assert!((figure("spanning") - spanning).abs() < 0.005, "{}", found["spanning"]);

        let text = classes(&["--chain", chain]);
        let text = String::from_utf8(text.stdout).expect("text");
        assert!(text.contains(&format!("255 sizes in {classes_wanted} classes")), "{text}");
        let rule = &found["documented_rule"];
        let line = format!(
            "documentation: {} classes, huge above {}.",
            rule["classes"], rule["huge_above_bytes"]
        );
        assert!(
            text.contains(&line) && rule["huge_above_bytes"] == found["huge_above_bytes"],
            "{text}"
        );
        assert!(text.contains(&format!("Density {density:.3}")), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 90), "{text}");
    }
}

#[test]
fn kernels_with_larger_pages_have_larger_steps() {
    for (frame, frame_bytes, step) in [("4K", 4096, 16), ("16K", 16384, 64), ("64KiB", 65536, 256)]
    {
        let found = json(&classes(&["--frame", frame, "--json"]));
        assert_eq!(
            (&found["frame_bytes"], &found["step_bytes"]),
            (&frame_bytes.into(), &step.into())
        );
        let last = found["classes"].as_array().and_then(|classes| classes.last()).expect("classes");
        assert_eq!((&last["size_bytes"], &last["huge"]), (&frame_bytes.into(), &true.into()));
        assert_eq!(found["too_long"], 0);
    }
    // Another step is possible.
    let found = json(&classes(&["--frame", "16K", "--step", "16", "--json"]));
    assert_eq!((&found["step_bytes"], &found["sizes"]), (&16.into(), &1023.into()));
}

#[test]
fn lengths_come_from_a_file_or_a_pipe() {
    let lengths = "# length count\n100 5\n\n4096\n5000 2\n";
    let found = json(&classes_of(&["--sizes", "-", "--json"], lengths));
    assert_eq!((&found["objects"], &found["too_long"]), (&6.into(), &2.into()));
    assert_eq!(found["payload_bytes"], 4596);
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), lengths).expect("written");
    let of_file = json(&classes(&["--sizes", &file.path().display().to_string(), "--json"]));
    assert_eq!(of_file["density"], found["density"]);
}

#[test]
fn a_class_says_all_of_itself() {
    let found = json(&classes(&["--json", "--uniform", "4096..4096"]));
    let last = found["classes"].as_array().and_then(|classes| classes.last()).expect("classes");
    let expected = serde_json::json!({
        "size_min_bytes": 3648, "size_bytes": 4096, "frames": 1, "objects_a_zspage": 1, "waste_bytes": 0,
        "spanning_a_zspage": 0, "huge": true, "objects": 1, "density": 1.0
    });
    assert_eq!(*last, expected);
    assert_eq!(found["version"], 1);
}

#[test]
fn bad_input_is_one_line_and_says_what_is_possible() {
    let usage = [
        (&["--step", "17"][..], "a divisor of 4064"),
        (&["--step", "0"], "a divisor of 4064"),
        (&["--step", "-1"], "not a size in bytes"),
        (&["--chain", "0"], "choose 1 to 64"),
        (&["--chain", "65"], "choose 1 to 64"),
        (&["--chain", "x"], "invalid"),
        (&["--frame", "5000"], "a power of two"),
        (&["--smallest", "8K"], "choose 1 to 4096"),
        (&["--header", "4096"], "leaves no room"),
        (&["--uniform", "9..3"], "the first no longer than the last"),
        (&["--uniform", "9..3M"], "lengths are 1 to"),
        (&["--uniform", "9"], "FROM..TO"),
        (&["--uniform", "1..2", "--sizes", "x"], "cannot be used with"),
        (&["extra"], "unexpected"),
    ];
    for (args, words) in usage {
        let output = classes(args);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(words) && text.lines().count() == 1, "{args:?}: {text}");
        assert!(output.stdout.is_empty());
    }
    let lengths = [
        ("", "has no lengths"),
        ("# nothing\n", "has no lengths"),
        ("100\nx\n", "line 2: `x` is no length"),
        ("0\n", "line 1: an object has at least one byte"),
        ("5 5 5\n", "line 1: `5` is too much"),
        ("1 99999999999999999\n", "at most 2^48"),
        (&"1".repeat(1000), "longer than 256 bytes"),
    ];
    for (input, words) in lengths {
        let output = classes_of(&["--sizes", "-"], input);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{input:?}: {text}");
        assert!(text.contains(words) && text.lines().count() == 1, "{input:?}: {text}");
        assert!(output.stdout.is_empty());
    }
    let missing = classes(&["--sizes", "/nonexistent"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/nonexistent"));
}
