//! Inherited and received signals, and file size limits.

use std::{
    io::Write as _,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    child_signals::with_default_signals,
    common::{Outcome, PAGE, number, text, write},
};

/// A shell runs `setup`, then becomes the command.
fn after(setup: &str, args: &str) -> Command {
    let mut command = Command::new("sh");
    let script = format!("{setup}; exec '{}' {args}", env!("CARGO_BIN_EXE_pagefold"));
    command.args(["-c", &script]).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Writes more than a pipe holds: afterwards the command has set its handlers.
fn begin(command: &mut Command) -> Child {
    let mut child = with_default_signals(command).spawn().expect("there is a shell");
    child.stdin.as_mut().expect("it is a pipe").write_all(&text(1 << 20)).expect("it reads");
    child
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("it is our child");
}

fn end(mut child: Child) -> Outcome {
    drop(child.stdin.take());
    child.wait_with_output().expect("it ends").into()
}

#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    for (name, signal) in [("HUP", Signal::HUP), ("INT", Signal::INT), ("TERM", Signal::TERM)] {
        let child = begin(&mut after(&format!("trap '' {name}"), "estimate --json --codec lz4 -"));
        send(&child, signal);
        let document = end(child).json(0);
        assert_eq!(number(&document["input"], "pages"), (1 << 20) / PAGE as u64, "{name}");
    }
}

#[test]
fn a_signal_that_was_not_ignored_ends_it_though_another_one_was() {
    for signal in [Signal::HUP, Signal::TERM] {
        let mut child = begin(&mut after("trap '' INT", "estimate --codec lz4 -"));
        send(&child, signal);
        // The pipe stays open, so only the signal ends the command.
        let stdin = child.stdin.take();
        end(child).fails_without_report(130, &["interrupted"]);
        drop(stdin);
    }
}

#[test]
fn a_file_that_may_not_grow_is_an_error_as_a_full_disk_is() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let input = dir.path().join("data");
    write(&input, &text(64 * PAGE));
    let (report, page) = (dir.path().join("report.json"), dir.path().join("page.html"));
    let command = |args: &str| {
        let mut child = after("ulimit -f 1", args).spawn().expect("there is a shell");
        drop(child.stdin.take());
        Outcome::from(child.wait_with_output().expect("it ends"))
    };
    let (input, report) = (input.display(), report.display());
    command(&format!("estimate --json --codec lz4 {input} > {report}"))
        .fails(1, &["the report could not be written", "File too large"]);
    if cfg!(not(feature = "html")) {
        return;
    }
    // An unwritable page does not cost the report.
    let outcome =
        command(&format!("estimate --json --codec lz4 --html {} {input}", page.display()));
    outcome.fails(1, &["--html", "could not be written", "File too large"]);
    assert_eq!(outcome.json(1)["runs"][0]["verified"], true);
    assert!(!page.exists(), "half a page is none");
}

#[test]
fn nothing_on_stderr_or_in_the_text_can_write_on_the_screen() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let hostile = "a\u{1b}[2J\u{9b}31m";
    write(dir.path().join("data"), &text(4 * PAGE));
    let path = |name: &str| dir.path().join(name).display().to_string();
    for args in [
        vec!["estimate".to_owned(), path(hostile)],
        vec!["estimate".to_owned(), path("data"), path(hostile)],
        vec!["estimate".to_owned(), format!("--{hostile}")],
        vec!["estimate".to_owned(), "--codec".to_owned(), hostile.to_owned(), ".".to_owned()],
        vec!["estimate".to_owned(), "--pid".to_owned(), hostile.to_owned()],
        vec!["estimate".to_owned(), "--trace".to_owned(), path(hostile)],
        vec!["classes".to_owned(), "--sizes".to_owned(), path(hostile)],
        vec!["torture".to_owned(), "--replay".to_owned(), path(hostile)],
        vec![hostile.to_owned()],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_pagefold"))
            .args(&args)
            .stdin(Stdio::null())
            .output()
            .expect("it runs");
        let outcome = Outcome::from(output);
        assert_ne!(outcome.code, Some(0), "{args:?}");
        let written = outcome.stdout.clone() + &outcome.stderr;
        assert!(!written.contains(['\u{1b}', '\u{9b}']), "{args:?}: {outcome:?}");
        // The argument parser has removed complete sequences.
        assert!(outcome.stderr.contains("\u{fffd}31m"), "{args:?}: {outcome:?}");
        assert_eq!(outcome.stderr.lines().count(), 1, "{args:?}: {outcome:?}");
    }
    write(dir.path().join(hostile), b"100 5\n");
    let output = Command::new(env!("CARGO_BIN_EXE_pagefold"))
        .args(["classes", "--sizes", &path(hostile)])
        .output()
        .expect("it runs");
    let outcome = Outcome::from(output);
    assert!(
        !outcome.stdout.contains('\u{1b}') && outcome.stdout.contains("a\u{fffd}[2J"),
        "{outcome:?}"
    );
}
