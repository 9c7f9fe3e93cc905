//! Bad input: one line on stderr, the documented exit code, and a report of what was read.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use crate::common::{
    Outcome, PAGE, estimate, estimate_json, estimate_stdin, noise, number, pagefold, runs,
    sample_dir, text, write,
};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;

const GONE: &str = "/nonexistent/pagefold";

fn skipped(document: &Value) -> Vec<(String, String)> {
    let entries = document["input"]["skipped"].as_array().expect("`skipped` is an array");
    let text = |entry: &Value, key: &str| entry[key].as_str().expect("a text").to_owned();
    entries.iter().map(|entry| (text(entry, "what"), text(entry, "why"))).collect()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn a_missing_path_alone_is_an_error() {
    estimate([GONE]).fails_without_report(1, &[GONE, "No such file or directory"]);
    estimate([GONE, "/nonexistent/two", "/nonexistent/three"])
        .fails_without_report(1, &[GONE, "2 more"]);
}

#[test]
fn a_missing_path_among_others_is_listed_and_the_others_are_measured() {
    let dir = sample_dir();
    let path = shown(dir.path());
    let document = estimate_json(["--codec", "lz4", GONE, &path], 3);
    assert_eq!(number(&document["input"], "pages"), 125);
    assert_eq!(runs(&document)[0]["verified"], true);
    let [(what, why)] = skipped(&document).try_into().expect("one entry");
    assert_eq!(what, GONE);
    assert!(why.starts_with("No such file or directory"), "{why}");

    let outcome = estimate(["--codec", "lz4", GONE, &path]);
    outcome.fails(3, &[GONE, "No such file"]);
    assert!(
        outcome.stdout.contains("would fit") && outcome.stdout.contains("Skipped 1 input:"),
        "{}",
        outcome.stdout
    );
}

#[test]
fn an_unreadable_file_is_listed_and_the_others_are_measured() {
    let dir = sample_dir();
    let locked = dir.path().join("locked");
    write(&locked, &[1; PAGE]);
    fs::set_permissions(&locked, Permissions::from_mode(0o000)).expect("it is ours");
    if File::open(&locked).is_ok() {
        eprintln!("SKIPPED: this user reads files whatever their permissions are");
        return;
    }
    let document = estimate_json(["--codec", "lz4", &shown(dir.path())], 3);
    assert_eq!(number(&document["input"], "pages"), 125);
    assert!(skipped(&document)[0].1.starts_with("Permission denied"), "{document}");
    estimate([&locked]).fails_without_report(1, &["locked", "Permission denied"]);
}

/// A process's memory can be opened, but its first byte always fails with an I/O error.
#[test]
fn a_file_that_cannot_be_read_is_listed_and_the_others_are_measured() {
    let dir = sample_dir();
    let (path, broken) = (shown(dir.path()), "/proc/self/mem");
    let document = estimate_json(["--codec", "lz4", broken, &path], 3);
    assert_eq!(
        (number(&document["input"], "pages"), number(&document["input"], "files")),
        (125, 3)
    );
    let [(what, why)] = skipped(&document).try_into().expect("one entry");
    assert_eq!(what, broken);
    assert!(why.contains("error"), "{why}");
    estimate([broken]).fails_without_report(1, &[broken, "error"]);
}

#[test]
fn a_named_file_that_claims_to_be_empty_is_read_to_its_end() {
    let document = estimate_json(["--codec", "lz4", "/proc/meminfo"], 0);
    assert!(number(&document["input"], "bytes") > 500, "{document}");
}

#[test]
fn an_empty_input_is_an_error() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    estimate([dir.path()]).fails_without_report(1, &["the input is empty"]);
    let empty = dir.path().join("empty");
    write(&empty, b"");
    estimate([&empty]).fails_without_report(1, &["the input is empty"]);
    estimate([dir.path()]).fails_without_report(1, &["the input is empty"]);
    estimate_stdin(&["-"], b"").fails_without_report(1, &["the input is empty"]);
}

#[test]
fn an_empty_file_beside_others_is_nothing_special() {
    let dir = sample_dir();
    write(dir.path().join("empty"), b"");
    let document = estimate_json(["--codec", "lz4", &shown(dir.path())], 0);
    assert_eq!(
        (number(&document["input"], "files"), number(&document["input"], "pages")),
        (4, 125)
    );
    assert!(skipped(&document).is_empty());
}

#[test]
fn special_files_and_links_in_a_directory_are_listed_and_are_no_failure() {
    let dir = sample_dir();
    symlink("..", dir.path().join("sub/loop")).expect("a symbolic link");
    symlink("nowhere", dir.path().join("dangling")).expect("a symbolic link");
    mknodat(CWD, dir.path().join("fifo"), FileType::Fifo, Mode::RUSR, 0).expect("a FIFO");
    let document = estimate_json(["--codec", "lz4", &shown(dir.path())], 0);
    assert_eq!(
        number(&document["input"], "pages"),
        125,
        "nothing twice, and no waiting for a writer"
    );
    let found = skipped(&document);
    assert_eq!(found.len(), 3, "{found:?}");
    for (name, why) in
        [("sub/loop", "symbolic link"), ("dangling", "symbolic link"), ("fifo", "FIFO")]
    {
        let (_, reason) = found.iter().find(|(what, _)| what.ends_with(name)).expect(name);
        assert!(reason.contains(why), "{name}: {reason}");
    }
}

#[test]
fn a_named_special_file_is_refused_with_advice_and_a_named_link_is_followed() {
    let dir = sample_dir();
    let fifo = dir.path().join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).expect("a FIFO");
    estimate([&fifo]).fails_without_report(1, &["a FIFO", "pagefold estimate -"]);
    estimate(["/dev/null"]).fails_without_report(1, &["/dev/null", "a character device"]);

    let link = dir.path().join("link");
    symlink("sub", &link).expect("a symbolic link");
    let document = estimate_json(["--codec", "lz4", &shown(&link)], 0);
    assert_eq!(number(&document["input"], "pages"), 101);
}

#[test]
fn unknown_names_are_refused_with_the_known_ones() {
    estimate(["--codec", "lzo", "."])
        .fails_without_report(2, &["lzo", "lz4", "zstd:LEVEL", "raw", "--codec"]);
    estimate(["--codec", "", "."]).fails_without_report(2, &["lz4"]);
    estimate(["--allocator", "slab", "."])
        .fails_without_report(2, &["slab", "nbud", "zbud", "xcfmalloc", "zsmalloc", "--allocator"]);
}

#[test]
fn a_level_out_of_range_names_the_range() {
    for codec in ["zstd:20", "zstd:-8", "zstd:x", "zstd:", "zstd:99999999999999999999"] {
        estimate(["--codec", codec, "."]).fails_without_report(2, &["-7", "19"]);
    }
}

#[test]
fn a_sample_lies_above_0_and_at_most_at_1() {
    for sample in ["0", "-0.5", "1.01", "nan", "NaN", "inf", "-inf", "much", ""] {
        let args = [format!("--sample={sample}"), ".".to_owned()];
        estimate(args).fails_without_report(2, &["--sample", "above 0 and at most 1"]);
    }
    estimate(["--sample", "-1", "."]).fails_without_report(2, &["above 0 and at most 1"]);
}

#[test]
fn a_sample_that_holds_no_page_says_so() {
    let dir = sample_dir();
    let path = shown(dir.path());
    estimate(["--sample", "1e-12", &path])
        .fails_without_report(1, &["no page of 125 was sampled", "--sample"]);
}

#[test]
fn threads_are_at_least_one() {
    for threads in ["0", "-1", "1.5", "many", "1000000"] {
        estimate(["--threads", threads, "."]).fails_without_report(2, &["--threads", "1 to 1024"]);
    }
}

#[test]
fn a_limit_that_is_no_size_is_refused() {
    for limit in ["", "-5", "1.5", "1,5G", "10 parsecs", "0x10", "99999999999999999999", "129T"] {
        let args = [format!("--limit={limit}"), ".".to_owned()];
        estimate(args).fails_without_report(2, &["--limit"]);
    }
}

#[test]
fn a_limit_too_small_for_a_pool_is_refused_before_anything_is_read() {
    for limit in ["0", "1", "4K"] {
        estimate(["--limit", limit, GONE]).fails_without_report(2, &["too small", "at least"]);
    }
}

#[test]
fn arguments_that_do_not_exist_are_refused_in_one_line() {
    for args in [&[][..], &["--json"], &["--maps", "--codec", "lz4"]] {
        let wanted = ["no input", "`pagefold estimate /usr/lib`", "--pid", "--help"];
        estimate(args).fails_without_report(2, &wanted);
    }
    estimate(["--speed", "."]).fails_without_report(2, &["--speed"]);
    for args in [&[][..], &["fold"]] {
        let outcome: Outcome = pagefold().args(args).output().expect("the binary runs").into();
        outcome.fails_without_report(2, &[]);
    }
}

#[test]
fn a_file_that_grows_while_it_is_read_is_taken_at_the_length_it_had() {
    // The command's output makes the file grow; it reads no later bytes.
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("log");
    write(&path, &text(10 * PAGE));
    let log = fs::OpenOptions::new().append(true).open(&path).expect("it is ours");
    let status = pagefold()
        .args(["estimate", "--json"])
        .arg(&path)
        .stdout(log)
        .status()
        .expect("the binary runs");
    assert!(status.success());
    let all = fs::read(&path).expect("it is ours");
    let document: Value =
        serde_json::from_slice(&all[10 * PAGE..]).expect("the report was appended");
    assert_eq!(number(&document["input"], "bytes"), 10 * PAGE as u64);
}

#[test]
fn a_name_that_is_not_unicode_is_measured() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join(OsStr::from_bytes(b"\xff\xfe"));
    write(&path, &noise(100));
    assert_eq!(number(&estimate_json([&path], 0)["input"], "bytes"), 100);
}
