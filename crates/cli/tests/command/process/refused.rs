//! Refusals: one line on stderr, the documented exit code, and a report of what was read.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

use super::children::{python, python_with_a_heap, status_bytes};
use crate::common::{Outcome, estimate, estimate_json, number, pagefold, runs};

/// Owns no process here.
const OTHER_USER: &str = "65534";

fn refuse(process_id: &str, code: i32, words: &[&str]) {
    estimate(["--pid", process_id]).fails_without_report(code, words);
}

#[test]
fn numbers_that_no_process_can_have_are_a_mistake() {
    for wrong in ["0", "-1", "-4194304", "4194305", "99999999999999999999", "", "/bin/sh"] {
        refuse(wrong, 2, &["--pid", "a whole number from 1 to 4194304"]);
    }
}

#[test]
fn a_process_that_does_not_exist_is_named() {
    // The kernel assigns numbers upwards; the highest is hardly ever in use.
    refuse("4194303", 1, &["process 4194303", "no process has this number"]);
}

#[test]
fn a_process_that_has_ended_but_was_not_reaped_is_told_from_one_that_is_gone() {
    let mut child = Command::new("true").stdin(Stdio::null()).spawn().expect("there is `true`");
    let stat = format!("/proc/{}/stat", child.id());
    while !fs::read_to_string(&stat).expect("it is not reaped").contains(") Z ") {
        thread::sleep(Duration::from_millis(5));
    }
    refuse(&child.id().to_string(), 1, &["(true)", "has ended", "parent"]);
    child.wait().expect("it is ours");
}

#[test]
fn a_kernel_thread_has_no_memory() {
    let status = fs::read_to_string("/proc/2/status").unwrap_or_default();
    if status.contains("VmSize:") || status.is_empty() {
        eprintln!("SKIPPED: process 2 is no kernel thread here");
        return;
    }
    refuse("2", 1, &["process 2", "kthreadd", "kernel thread"]);
}

#[test]
fn the_command_does_not_measure_itself() {
    let binary = env!("CARGO_BIN_EXE_pagefold");
    // `exec` keeps the shell's number.
    let script = format!("exec '{binary}' estimate --pid $$");
    let outcome: Outcome =
        Command::new("sh").args(["-c", &script]).output().expect("there is a shell").into();
    outcome.fails_without_report(1, &["(pagefold)", "this very command"]);
}

/// Only root may become another user.
fn as_another_user() -> Option<Command> {
    let command = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", OTHER_USER, "--regid", OTHER_USER, "--clear-groups"]);
        command.arg(env!("CARGO_BIN_EXE_pagefold"));
        command
    };
    let works = command().arg("--version").output().is_ok_and(|output| output.status.success());
    works.then(command)
}

#[test]
fn another_users_process_is_refused_with_what_would_help() {
    let Some(mut command) = as_another_user() else {
        eprintln!(
            "SKIPPED: this user cannot become another one, or that one cannot run the binary"
        );
        return;
    };
    let python = python("");
    let id = python.id().to_string();
    let outcome: Outcome =
        command.args(["estimate", "--pid", &id]).output().expect("it runs").into();
    outcome.fails_without_report(
        1,
        &[&id, "python", "not permitted", "the user that owns the process", "root", "ptrace_scope"],
    );
}

#[test]
fn one_that_is_refused_among_others_is_listed_and_the_others_are_measured() {
    let python = python_with_a_heap();
    let id = python.id().to_string();
    let document = estimate_json(["--codec", "lz4", "--pid", "4194303", "--pid", &id], 3);
    assert_eq!(document["input"]["processes"].as_array().map(Vec::len), Some(1));
    assert_eq!(document["input"]["skipped"][0]["what"], "process 4194303");
    assert_eq!(runs(&document)[0]["verified"], true);
}

#[test]
fn paths_and_processes_do_not_go_together() {
    for wrong in [
        &["--pid", "1", "."][..],
        &["--all", "."],
        &["--all", "--pid", "1"],
        &["--all", "--cgroup", "/x"],
        &["--cgroup", "/x", "."],
        &["--shared", "."],
    ] {
        estimate(wrong).fails_without_report(2, &["cannot be used with"]);
    }
    estimate(["--maps"]).fails_without_report(2, &["no input"]);
    estimate(["--maps", env!("CARGO_BIN_EXE_pagefold")])
        .fails_without_report(2, &["--maps", "--pid", "core file"]);
}

/// The process namespace contains only the shell, Python and the command.
#[test]
fn all_processes_are_read_or_listed() {
    let script = format!(
        "python3 -c 'import time; data = bytes(range(256)) * 40000; print(1, flush=True); time.sleep(60)' > \"$0\" &\n\
         while ! [ -s \"$0\" ]; do sleep 0.05; done\n\
         '{}' estimate --all --json --codec lz4; echo $? >&2; kill $!",
        env!("CARGO_BIN_EXE_pagefold")
    );
    let ready = tempfile::NamedTempFile::new().expect("a temporary file");
    let output = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "sh", "-c", &script])
        .arg(ready.path())
        .output();
    let Ok(output) = output else {
        eprintln!("SKIPPED: there is no unshare");
        return;
    };
    let outcome = Outcome::from(output);
    if outcome.stderr.contains("unshare") {
        eprintln!("SKIPPED: no process namespace: {}", outcome.stderr.trim());
        return;
    }
    assert_eq!(outcome.stderr, "0\n", "{outcome:?}");
    let document: Value = serde_json::from_str(&outcome.stdout).expect("it is JSON");
    let names: Vec<_> = document["input"]["processes"]
        .as_array()
        .expect("`processes` is an array")
        .iter()
        .map(|process| process["name"].as_str().expect("a name"))
        .collect();
    assert!(
        names.contains(&"sh") && names.iter().any(|name| name.starts_with("python")),
        "{names:?}"
    );
    let skipped = document["input"]["skipped"].as_array().expect("`skipped` is an array");
    assert_eq!(skipped.len(), 1, "{skipped:?}");
    assert!(skipped[0]["why"].as_str().is_some_and(|why| why.contains("this very command")));
    assert!(number(&document["input"], "bytes") > 10_240_000, "{document}");
}

/// Kills a process when the command's own memory shows a partial read. It may be too late, so it tries several times.
#[test]
fn a_process_that_ends_half_way_is_reported_as_far_as_it_was_read() {
    const MIB: u64 = 1 << 20;
    for attempt in 0..10 {
        let mut python = python(
            "import random\n\
             data = [random.randbytes(1 << 20) for _ in range(400)]",
        );
        let mut command = pagefold();
        let id = python.id().to_string();
        let command = command
            .args(["estimate", "--json", "--codec", "lz4", "--pid", &id])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        while status_bytes(command.id(), "RssAnon").is_some_and(|bytes| bytes < 40 * MIB) {
            thread::yield_now();
        }
        python.child.kill().expect("it is ours");
        let outcome = Outcome::from(command.wait_with_output().expect("it ends"));
        if outcome.code == Some(0) {
            eprintln!("attempt {attempt}: it was read to its end before it ended");
            continue;
        }
        outcome.fails(3, &[&id, "ended", "while it was being read", "in the figures"]);
        let document = outcome.json(3);
        let found = &document["input"]["processes"][0];
        assert_eq!(found["complete"], false);
        let bytes = number(found, "bytes");
        assert!((20 * MIB..400 * MIB).contains(&bytes), "{bytes}");
        assert_eq!(number(&document["input"], "bytes"), bytes);
        assert_eq!(runs(&document)[0]["verified"], true);
        return;
    }
    panic!("the process was never caught half way");
}
