//! Selected files: lists, patterns, file systems; and the skipped ones.

use std::{
    fs,
    os::unix::{ffi::OsStrExt as _, fs::symlink, net::UnixListener},
    path::Path,
    process::Command,
};

use serde_json::Value;

use crate::common::{Outcome, PAGE, estimate, estimate_json, estimate_stdin, number, text, write};

/// Names skipped for this reason.
fn skipped<'a>(document: &'a Value, why: &str) -> Vec<&'a str> {
    let skipped = document["input"]["skipped"].as_array().expect("`skipped` is an array");
    let matches =
        skipped.iter().filter(|one| one["why"].as_str().is_some_and(|w| w.starts_with(why)));
    matches.map(|one| one["what"].as_str().expect("a name")).collect()
}

#[test]
fn a_list_of_names_ended_by_zeros_stands_for_its_files() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let odd = dir.path().join("a b\nc");
    write(&odd, &text(3 * PAGE));
    write(dir.path().join("-"), &text(2 * PAGE));
    let mut list = odd.as_os_str().as_bytes().to_vec();
    list.push(0);
    list.extend(dir.path().join("-").as_os_str().as_bytes());
    list.push(0);
    let args = ["--json", "--codec", "lz4", "--files0-from"];
    let document = estimate_stdin(&[&args[..], &["-"]].concat(), &list).json(0);
    assert_eq!((number(&document["input"], "pages"), number(&document["input"], "files")), (5, 2));

    let file = dir.path().join("list");
    write(&file, &list);
    let file = file.display().to_string();
    let document = estimate_json(["--codec", "lz4", "--files0-from", &file], 0);
    assert_eq!(number(&document["input"], "pages"), 5);

    estimate_stdin(&[&args[..], &["-"]].concat(), b"")
        .fails_without_report(1, &["lists no file", "-print0"]);
    estimate_stdin(&[&args[..], &["-"]].concat(), b"a\0\0")
        .fails_without_report(1, &["name 2 is empty"]);
    estimate(["--files0-from", "/nonexistent/list"])
        .fails_without_report(1, &["/nonexistent/list", "No such file"]);
    estimate(["--files0-from", &file, "."]).fails_without_report(2, &["cannot be used with"]);
    estimate(["--files0-from", &file, "--pid", "1"])
        .fails_without_report(2, &["cannot be used with"]);
}

#[test]
fn what_matches_a_pattern_is_left_out_of_directories_and_not_of_what_is_named() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let root = dir.path();
    fs::create_dir_all(root.join("x/.git")).expect("directories");
    for name in ["x/.git/pack", "x/a.iso", "x/b.txt", "c.iso"] {
        write(root.join(name), &text(PAGE));
    }
    let path = root.display().to_string();
    let document =
        estimate_json(["--codec", "lz4", "--exclude", ".git", "--exclude", "*.iso", &path], 0);
    assert_eq!(number(&document["input"], "files"), 1, "{document}");
    assert_eq!(skipped(&document, "excluded").len(), 3, "a directory counts once: {document}");
    let document = estimate_json(["--codec", "lz4", "--exclude", "x/*.iso", &path], 0);
    assert_eq!(number(&document["input"], "files"), 3);
    let named = root.join("c.iso").display().to_string();
    let document = estimate_json(["--codec", "lz4", "--exclude", "*.iso", &named], 0);
    assert_eq!(number(&document["input"], "files"), 1);
    estimate(["--exclude", "[", &path]).fails_without_report(2, &["--exclude"]);
}

/// Mounts in its own namespace, which needs root; `None` where refused.
fn with_mounts(script: &str) -> Option<Outcome> {
    let output = Command::new("unshare").args(["--mount", "sh", "-ec", script]).output().ok()?;
    let outcome = Outcome::from(output);
    let refused = outcome.stderr.contains("unshare:") || outcome.stderr.contains("mount:");
    if refused {
        eprintln!("SKIPPED: nothing can be mounted here: {}", outcome.stderr.trim());
    }
    (!refused).then_some(outcome)
}

#[test]
fn one_file_system_leaves_out_what_is_mounted_below() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir(dir.path().join("mounted")).expect("a directory");
    write(dir.path().join("here"), &text(PAGE));
    let (path, binary) = (dir.path().display(), env!("CARGO_BIN_EXE_pagefold"));
    let run = |option: &str| {
        with_mounts(&format!(
            "mount -t tmpfs tmpfs {path}/mounted; cp {path}/here {path}/mounted/there; \
             exec '{binary}' estimate --json --codec lz4 {option} {path}"
        ))
    };
    let Some(both) = run("") else { return };
    assert_eq!(number(&both.json(0)["input"], "files"), 2);
    for option in ["-x", "--one-file-system"] {
        let one = run(option).expect("it was possible before").json(0);
        assert_eq!(number(&one["input"], "files"), 1);
        assert_eq!(skipped(&one, "a mount point"), [format!("{path}/mounted")]);
    }
}

/// Several names of a file, or overlapping inputs, are one file.
#[test]
fn a_file_that_several_inputs_reach_counts_once() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let root = dir.path();
    fs::create_dir(root.join("sub")).expect("a directory");
    write(root.join("sub/a"), &text(2 * PAGE));
    fs::hard_link(root.join("sub/a"), root.join("z")).expect("a hard link");
    write(root.join("sub/b"), &text(PAGE));
    symlink("sub", root.join("link")).expect("a symbolic link");
    let paths = ["", "sub", "sub/b", "link"].map(|name| root.join(name).display().to_string());
    let document = estimate_json(
        ["--codec", "lz4"].iter().copied().chain(paths.iter().map(String::as_str)),
        0,
    );
    assert_eq!((number(&document["input"], "files"), number(&document["input"], "pages")), (2, 3));
}

#[test]
fn what_was_skipped_is_one_sentence_of_counts() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let root = dir.path();
    write(root.join("data"), &text(4 * PAGE));
    for number in 0..30 {
        symlink("data", root.join(format!("link {number}"))).expect("a symbolic link");
    }
    let _socket = UnixListener::bind(root.join("socket")).expect("a socket");
    let missing = root.join("missing");
    let outcome = estimate([Path::new("--codec"), Path::new("lz4"), root, &missing]);
    outcome.fails(3, &["missing", "No such file"]);
    assert_eq!(outcome.stdout.matches("kipped").count(), 1, "{outcome:?}");
    let expected = "Skipped 32 inputs: No such file or directory (1), 30 symbolic links, 1 socket;\n--json lists them.\n";
    assert!(outcome.stdout.ends_with(expected), "{outcome:?}");
}

#[test]
fn a_proc_without_rss_anon_costs_that_figure_and_not_the_report() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    write(dir.path().join("data"), &text(32 * PAGE));
    write(
        dir.path().join("status"),
        b"Name:\tpagefold\nState:\tR (running)\nTgid:\t1\nVmSize:\t9 kB\n",
    );
    let (path, binary) = (dir.path().display(), env!("CARGO_BIN_EXE_pagefold"));
    let run = |option: &str| {
        with_mounts(&format!(
            "mount --bind {path}/status /proc/$$/status; exec '{binary}' estimate --codec lz4 --lifecycle {option} {path}/data"
        ))
    };
    let Some(outcome) = run("--json") else { return };
    let document = outcome.json(0);
    for row in document["runs"].as_array().expect("`runs` is an array") {
        assert_eq!((&row["rss_delta_bytes"], &row["verified"]), (&Value::Null, &true.into()));
    }
    if cfg!(not(feature = "html")) {
        return;
    }
    let page = dir.path().join("page.html");
    let text = run(&format!("--html {}", page.display())).expect("it was possible before");
    assert_eq!((text.code, text.stderr.as_str()), (Some(0), ""), "{text:?}");
    assert!(page.exists());
}
