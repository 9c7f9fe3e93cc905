//! Pipes that close, terminals, colours, signals.

use std::{
    fs::{self, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::{fs::symlink, net::UnixListener},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{
    child_signals::with_default_signals,
    common::{Outcome, estimate, pagefold, runs, sample_dir, text},
};
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn the_table_is_readable_at_80_columns_and_the_verdict_stands_above_it() {
    let dir = sample_dir();
    let path = dir.path().display().to_string();
    for args in [vec![path.as_str()], vec!["--lifecycle", &path]] {
        let outcome = estimate(args);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
        let text = &outcome.stdout;
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        for word in [
            "125 pages of 3 files",
            "8 of them same-filled",
            "ratio",
            "eff. ratio",
            "density",
            "p99",
            "mean",
            "RssAnon",
        ] {
            assert!(text.contains(word), "`{word}` is missing:\n{text}");
        }
        let first = text.lines().next().expect("there is a report");
        assert!(first.contains(" would fit in ") || first.contains(" would take "), "{text}");
        assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{text:?}");
    }
}

#[test]
fn a_sample_is_said_to_be_one_and_scaled_up_and_quiet_leaves_the_note_out() {
    let dir = sample_dir();
    let path = dir.path().display().to_string();
    let sampled = estimate(["--sample", "0.5", "--seed", "11", &path]).stdout;
    assert!(sampled.starts_with("The whole "), "the answer is that of the whole: {sampled}");
    assert!(sampled.contains("This is a sample: ") && sampled.contains("seed 11"), "{sampled}");
    let quiet = estimate(["--quiet", "--sample", "0.5", "--seed", "11", &path]).stdout;
    assert!(!quiet.contains("This is a sample"), "{quiet}");
    assert!(quiet.contains("ratio"), "the table stays: {quiet}");
    assert!(!estimate([&path]).stdout.contains("sample"), "nothing was left out");
}

#[test]
fn no_sentence_is_longer_than_a_line() {
    let dir = sample_dir();
    let path = dir.path().display().to_string();
    symlink("nowhere", dir.path().join("link")).expect("a symbolic link");
    UnixListener::bind(dir.path().join("socket")).expect("a socket");
    // Intervals of eight runs, a limit, several reasons for skipped inputs.
    let allocators = ["--allocator", "nbud", "--allocator", "zsmalloc"];
    let sampled = estimate([&["--sample", "0.5", &path][..], &allocators].concat()).stdout;
    assert!(sampled.contains("Effective ratio of the whole, with 95 % confidence:"), "{sampled}");
    assert!(sampled.contains("Skipped 2 inputs"), "{sampled}");
    let after = sampled.split_once(" confidence:").expect("it has intervals").1;
    let intervals = after.split_once("\n\n").expect("the figures follow").0;
    assert_eq!(intervals.matches(" with ").count(), 8, "{sampled}");
    // Without breaks inside.
    assert!(
        intervals
            .lines()
            .all(|line| line.matches(" with ").count() == line.matches(" to ").count()),
        "{sampled}"
    );
    let larger = dir.path().join("larger");
    fs::write(&larger, (0..4_000_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>())
        .expect("a file");
    let limited = estimate([&["--limit", "3M", &path][..], &allocators].concat()).stdout;
    assert!(limited.contains("was reached"), "{limited}");
    for text in [sampled, limited] {
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
    let narrow = format!(
        "stty rows 20 cols 50; {} estimate --quiet --sample 0.5 {path}",
        env!("CARGO_BIN_EXE_pagefold")
    );
    let Some(narrow) = on_a_terminal_line(&narrow, true) else { return };
    let sentences = narrow.split("codec ").next().expect("a beginning");
    assert!(sentences.contains("confidence"), "{narrow:?}");
    assert!(sentences.lines().all(|line| line.trim_end().chars().count() <= 50), "{narrow:?}");
}

#[test]
fn a_pipe_gets_neither_colour_nor_progress() {
    let dir = sample_dir();
    let outcome = estimate([dir.path()]);
    assert_eq!(outcome.stderr, "");
    assert!(!outcome.stdout.contains('\u{1b}'), "{}", outcome.stdout);
}

/// `None` without a program that makes a terminal.
fn on_a_terminal(arguments: &str, no_color: bool) -> Option<String> {
    let line = format!("{} estimate {arguments}", env!("CARGO_BIN_EXE_pagefold"));
    on_a_terminal_line(&line, no_color)
}

/// On its own terminal.
fn on_a_terminal_line(line: &str, no_color: bool) -> Option<String> {
    let mut command = Command::new("script");
    command.args(["-q", "-e", "-c", line, "/dev/null"]).env("TERM", "xterm").env_remove("NO_COLOR");
    if no_color {
        command.env("NO_COLOR", "1");
    }
    match command.stdin(Stdio::null()).output() {
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(error) => {
            eprintln!("SKIPPED: `script`, which makes a terminal, does not run: {error}");
            None
        }
    }
}

/// Bold type; only the verdict uses it.
const BOLD: &str = "\u{1b}[1m";

#[test]
fn a_terminal_gets_colour_and_progress_unless_the_user_says_otherwise() {
    let dir = sample_dir();
    let path = dir.path().display().to_string();
    let Some(colourful) = on_a_terminal(&path, false) else { return };
    assert!(colourful.contains(BOLD), "{colourful:?}");
    assert!(colourful.contains("lz4 fill"), "the progress bar names the stage: {colourful:?}");
    let Some(plain) = on_a_terminal(&path, true) else { return };
    assert!(!plain.contains(BOLD) && plain.contains("density"), "{plain:?}");
    let Some(quiet) = on_a_terminal(&format!("--quiet {path}"), false) else { return };
    assert!(!quiet.contains("lz4 fill") && quiet.contains("density"), "{quiet:?}");
}

#[test]
fn a_reader_that_closes_the_pipe_is_no_error() {
    let dir = sample_dir();
    for json in [&["--json"][..], &[]] {
        let mut command = pagefold();
        command
            .arg("estimate")
            .args(json)
            .arg(dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        drop(child.stdout.take());
        let outcome: Outcome = child.wait_with_output().expect("it ends").into();
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    }
}

#[test]
fn a_report_that_cannot_be_written_is_an_error() {
    let dir = sample_dir();
    let full = OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let mut command = pagefold();
    command.arg("estimate").arg(dir.path()).stdout(full).stderr(Stdio::piped());
    let outcome: Outcome =
        command.spawn().and_then(Child::wait_with_output).expect("it ends").into();
    outcome.fails_without_report(1, &["the report could not be written"]);
}

#[test]
fn help_has_examples_and_exit_codes_and_version_answers() {
    let help = estimate(["--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    for word in [
        "Examples:",
        "Exit codes:",
        "--lifecycle",
        "--limit",
        "--sample",
        "--seed",
        "--threads",
        "zstd:LEVEL",
        "130",
    ] {
        assert!(help.stdout.contains(word), "`{word}` is missing:\n{}", help.stdout);
    }
    let version: Outcome = pagefold().arg("--version").output().expect("the binary runs").into();
    assert_eq!(version.stdout.trim(), concat!("pagefold ", env!("CARGO_PKG_VERSION")));
}

fn signal(child: &Child) {
    let pid = Pid::from_child(child);
    kill_process(pid, Signal::INT).expect("it is our child");
}

#[test]
fn interrupted_while_reading_it_ends_at_once_with_a_line() {
    let mut command = pagefold();
    command
        .args(["estimate", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = with_default_signals(&mut command).spawn().expect("the binary runs");
    let mut stdin = child.stdin.take().expect("it is a pipe");
    // More than a pipe holds: when this returns, the command reads, and catches Ctrl-C.
    stdin.write_all(&text(1 << 20)).expect("the command reads");
    signal(&child);
    let outcome: Outcome = child.wait_with_output().expect("it ends").into();
    outcome.fails_without_report(130, &["interrupted while reading"]);
    drop(stdin);
}

#[test]
fn interrupted_while_measuring_it_reports_what_it_has() {
    let mut command = pagefold();
    command.args(["estimate", "--json", "--lifecycle", "-"]);
    // Minutes of work, if the signal were lost.
    for _ in 0..20 {
        command.args(["--codec", "zstd:19"]);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = with_default_signals(&mut command).spawn().expect("the binary runs");
    child
        .stdin
        .take()
        .expect("it is a pipe")
        .write_all(&text(16 << 20))
        .expect("the command reads");
    wait_for_worker(&mut child);
    signal(&child);
    let outcome: Outcome = child.wait_with_output().expect("it ends").into();
    outcome.fails(130, &["interrupted"]);
    let document = outcome.json(130);
    assert_eq!(document["interrupted"], true);
    let last = runs(&document).last().expect("a run had begun");
    assert_eq!(
        (last["interrupted"].as_bool(), last["verified"].as_bool()),
        (Some(true), Some(false)),
        "{last}"
    );
    assert_eq!(last["store_us"]["p50"].is_f64(), last["pages"].as_u64() > Some(0), "{last}");
}

/// Waits for a worker thread, by its name.
fn wait_for_worker(child: &mut Child) {
    let tasks = format!("/proc/{}/task", child.id());
    loop {
        let names = fs::read_dir(&tasks)
            .expect("the child runs")
            .flatten()
            .map(|task| task.path().join("comm"));
        if names.flat_map(fs::read_to_string).any(|name| name.starts_with("worker")) {
            return;
        }
        if child.try_wait().expect("it is our child").is_some() {
            let mut stderr = String::new();
            child.stderr.take().expect("it is a pipe").read_to_string(&mut stderr).expect("text");
            panic!("the command ended before it was interrupted: {stderr}");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
