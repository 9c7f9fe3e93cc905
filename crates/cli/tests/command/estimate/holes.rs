//! Holes of sparse files are neither planned for nor measured, but reported.

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt as _, MetadataExt as _},
};

use crate::common::{PAGE, estimate, estimate_json, number, text, write};

/// 400 GiB with 20 pages of text; `None` on a file system without holes.
fn sparse() -> Option<(tempfile::TempDir, String)> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("sparse");
    let file = File::create(&path).expect("a file");
    file.set_len(400 << 30).expect("holes take no room");
    file.write_all_at(&text(20 * PAGE), 200 << 30).expect("there is room");
    file.sync_all().expect("there is room");
    if fs::metadata(&path).expect("it is there").blocks() > 1 << 20 {
        eprintln!("SKIPPED: this file system knows no holes");
        return None;
    }
    let path = path.display().to_string();
    Some((dir, path))
}

#[test]
fn holes_are_left_out_and_the_data_is_measured_whole() {
    let Some((_dir, path)) = sparse() else { return };
    let document = estimate_json(["--codec", "lz4", &path], 0);
    let input = &document["input"];
    assert_eq!((number(input, "pages"), number(input, "total_pages")), (20, 20));
    assert_eq!((number(input, "same_filled"), number(input, "files")), (0, 1));
    assert_eq!(number(input, "total_bytes") + number(input, "hole_bytes"), 400 << 30);
    assert_eq!(input["sampled"], false);
    let shown = estimate(["--codec", "lz4", &path]).stdout;
    assert!(shown.contains("Left out: 400.0 GiB of holes, where files have no data."), "{shown}");
}

#[test]
fn a_page_that_is_data_in_part_counts_and_one_that_ends_the_file_is_no_more_than_it_is() {
    let Some((dir, _)) = sparse() else { return };
    let path = dir.path().join("short");
    let file = File::create(&path).expect("a file");
    // A hole, a stored page, and a hole that ends inside a page.
    file.set_len((1 << 20) + 100).expect("holes take no room");
    file.write_all_at(b"x", (512 << 10) + 3000).expect("there is room");
    file.sync_all().expect("there is room");
    let document = estimate_json(["--codec", "lz4", &path.display().to_string()], 0);
    let input = &document["input"];
    assert_eq!(number(input, "total_bytes") + number(input, "hole_bytes"), (1 << 20) + 100);
    assert!(number(input, "pages") >= 1 && number(input, "hole_bytes") > 512 << 10, "{input}");
}

#[test]
fn an_input_of_nothing_but_holes_is_said_to_be_so() {
    let Some((dir, path)) = sparse() else { return };
    File::create(&path).expect("it is ours").set_len(1 << 30).expect("holes take no room");
    estimate([&path]).fails_without_report(1, &["1.0 GiB of holes"]);
    // With another file it counts as read.
    write(dir.path().join("text"), &text(3 * PAGE));
    let document = estimate_json(["--codec", "lz4", &dir.path().display().to_string()], 0);
    assert_eq!((number(&document["input"], "files"), number(&document["input"], "pages")), (2, 3));
    assert_eq!(number(&document["input"], "hole_bytes"), 1 << 30);
}
