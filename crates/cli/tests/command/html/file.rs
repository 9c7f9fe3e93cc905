//! The page's path: an unwritable one is refused before measuring; a page is written entirely or not at all.

use std::{
    fs::{self, Permissions},
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::Stdio,
};

use crate::common::{Outcome, PAGE, estimate, pagefold, sample_dir, text, write};

const GONE: &str = "/nonexistent/pagefold";

/// With one codec.
fn estimate_html(page: &Path, input: &Path) -> Outcome {
    estimate([
        "--codec".as_ref(),
        "lz4".as_ref(),
        "--html".as_ref(),
        page.as_os_str(),
        input.as_os_str(),
    ])
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("it is ours");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("it is ours").file_name().into_string().expect("a text"))
        .collect();
    names.sort();
    names
}

#[test]
fn a_place_that_cannot_be_written_is_refused_before_anything_is_measured() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    symlink("nowhere", dir.path().join("dangling")).expect("a symbolic link");
    // The input is missing too; the path is checked first.
    for (page, why) in [
        ("/nonexistent/report.html", "No such file or directory"),
        // Not even root creates files there.
        ("/sys/report.html", "no file can be written there"),
        ("/dev/null", "not a regular file"),
        ("/", "not a regular file"),
        ("", "--html"),
        (dir.path().to_str().expect("a text"), "not a regular file"),
        (dir.path().join("dangling").to_str().expect("a text"), "not a regular file"),
        ("/etc/hostname/report.html", "Not a directory"),
    ] {
        estimate_html(Path::new(page), Path::new(GONE))
            .fails_without_report(2, &["--html", page, why]);
    }
    assert_eq!(names(dir.path()), ["dangling"], "nothing is left behind");
}

#[test]
fn a_place_without_permission_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let page = dir.path().join("report.html");
    write(&page, b"old");
    fs::set_permissions(&page, Permissions::from_mode(0o444)).expect("it is ours");
    fs::set_permissions(dir.path(), Permissions::from_mode(0o555)).expect("it is ours");
    if fs::write(dir.path().join("probe"), b"").is_ok() {
        eprintln!("SKIPPED: this user writes everywhere whatever the permissions are");
        return;
    }
    for page in [page, dir.path().join("new.html")] {
        estimate_html(&page, Path::new(GONE))
            .fails_without_report(2, &["--html", "Permission denied"]);
    }
}

#[test]
fn the_page_does_not_replace_an_input() {
    let dir = sample_dir();
    let input = dir.path().join("sub/text");
    let before = fs::read(&input).expect("it is ours");
    symlink("sub/text", dir.path().join("link")).expect("a symbolic link");
    for page in [input.clone(), dir.path().join("link"), dir.path().join("sub/../sub/text")] {
        estimate_html(&page, &input).fails_without_report(2, &["one of the inputs"]);
    }
    assert_eq!(fs::read(&input).expect("it is ours"), before);
}

#[test]
fn a_page_is_written_beside_what_is_printed_and_replaces_an_old_one() {
    let (dir, input) = (tempfile::tempdir().expect("a temporary directory"), sample_dir());
    let page = dir.path().join("report.html");
    let outcome = estimate_html(&page, input.path());
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    assert!(outcome.stdout.contains(" would fit in ") || outcome.stdout.contains(" would take "));
    let written = fs::read_to_string(&page).expect("it was written");
    assert!(written.starts_with("<!DOCTYPE html>") && written.ends_with("</html>\n"));

    write(&page, b"old");
    fs::set_permissions(&page, Permissions::from_mode(0o600)).expect("it is ours");
    symlink("report.html", dir.path().join("latest")).expect("a symbolic link");
    let outcome = estimate_html(&dir.path().join("latest"), input.path());
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(fs::read_to_string(&page).expect("it was written").starts_with("<!DOCTYPE html>"));
    let mode = fs::metadata(&page).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "the new page has the permissions of the old one");
    assert!(dir.path().join("latest").is_symlink(), "the link still is one");
    assert_eq!(names(dir.path()), ["latest", "report.html"], "nothing else is left");
}

#[test]
fn a_relative_place_is_in_the_working_directory() {
    let (dir, input) = (tempfile::tempdir().expect("a temporary directory"), sample_dir());
    let outcome: Outcome = pagefold()
        .current_dir(dir.path())
        .args(["estimate", "--codec", "lz4", "--json", "--html", "report.html"])
        .arg(input.path())
        .output()
        .expect("the binary runs")
        .into();
    outcome.json(0);
    assert_eq!(names(dir.path()), ["report.html"]);
}

#[test]
fn an_old_page_stays_when_there_is_nothing_to_measure() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let page = dir.path().join("report.html");
    write(&page, b"old");
    estimate_html(&page, Path::new(GONE)).fails_without_report(1, &[GONE]);
    assert_eq!(fs::read(&page).expect("it is there"), b"old");
    assert_eq!(names(dir.path()), ["report.html"]);
}

#[test]
fn a_place_that_goes_away_meanwhile_costs_the_page_and_not_the_report() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let place = dir.path().join("place");
    fs::create_dir(&place).expect("a directory");
    let mut child = pagefold()
        .args(["estimate", "--codec", "lz4", "--html"])
        .arg(place.join("report.html"))
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut input = child.stdin.take().expect("it is a pipe");
    // More than a pipe holds: after this the command reads, and has checked the path.
    input.write_all(&text(64 * PAGE)).expect("the command reads");
    fs::remove_dir(&place).expect("it is empty");
    drop(input);
    let outcome: Outcome = child.wait_with_output().expect("it ends").into();
    outcome.fails(1, &["--html", "could not be written", "No such file"]);
    assert!(outcome.stdout.contains("64 pages"), "{}", outcome.stdout);
}
