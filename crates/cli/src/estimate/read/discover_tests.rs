//! Finding the files.

use std::os::unix::{
    fs::{FileExt as _, symlink},
    net::UnixListener,
};

use super::*;

fn walk(paths: &[&Path]) -> Discovery {
    Discovery::walk(
        &paths.iter().map(|path| Input::Path(path.to_path_buf())).collect::<Vec<_>>(),
        &Walk::default(),
    )
}

#[test]
fn a_tree_is_listed_by_name_each_file_once_and_links_are_not_followed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let root = dir.path();
    fs::create_dir(root.join("sub")).expect("a directory");
    fs::write(root.join("sub/b"), [1; 5000]).expect("a file");
    fs::write(root.join("a"), [1; 10]).expect("a file");
    fs::hard_link(root.join("a"), root.join("z")).expect("a hard link");
    symlink(root, root.join("sub/loop")).expect("a symbolic link");
    let _socket = UnixListener::bind(root.join("socket")).expect("a socket");

    let found = walk(&[root, &root.join("sub/b")]);
    let file = |name: &str, data_bytes| InputSource::File { path: root.join(name), data_bytes };
    assert_eq!(found.sources, [file("a", 10), file("sub/b", 5000)]);
    assert_eq!((found.known_bytes, found.known_pages(), found.has_stream()), (5010, 3, false));
    let mut whys: Vec<_> = found.skipped.iter().map(|skipped| skipped.why.as_str()).collect();
    whys.sort_unstable();
    assert_eq!(whys, [REPEATED, REPEATED, "a socket", "a symbolic link, not followed"]);
    assert!(found.skipped.iter().all(|skipped| !skipped.failed), "none of these was asked for");
}

#[test]
fn a_named_link_is_followed_to_a_file_and_to_a_directory() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let root = dir.path();
    fs::create_dir(root.join("sub")).expect("a directory");
    fs::write(root.join("sub/a"), [1; 10]).expect("a file");
    fs::write(root.join("b"), [1; 20]).expect("a file");
    symlink("sub", root.join("to_dir")).expect("a symbolic link");
    symlink("b", root.join("to_file")).expect("a symbolic link");
    let found = walk(&[&root.join("to_dir"), &root.join("to_file")]);
    assert_eq!((found.sources.len(), found.known_bytes), (2, 30));
    assert!(found.skipped.is_empty(), "{:?}", found.skipped);
}

#[test]
fn the_kernels_own_file_systems_are_told_from_those_that_store() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    assert!(is_generated(Path::new("/proc/self")) && !is_generated(dir.path()));
    assert!(!is_generated(Path::new("/nonexistent")));
}

#[test]
fn what_cannot_be_opened_is_listed_and_not_planned_for() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let there = dir.path().join("there");
    fs::write(&there, [1; 5000]).expect("a file");
    let metadata = fs::metadata(&there).expect("it is there");
    let mut found = Discovery::default();
    // A vanished file looks like any other until it is opened.
    found.add_file(&dir.path().join("gone"), &metadata, false);
    assert_eq!((found.known_bytes, found.known_pages(), found.sources.len()), (0, 0, 0));
    assert!(found.skipped[0].failed, "{:?}", found.skipped);
    assert!(found.skipped[0].why.contains("No such file"), "{:?}", found.skipped);
}

#[test]
fn holes_are_not_planned_for() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("sparse");
    let file = File::create(&path).expect("a file");
    file.set_len(400 << 30).expect("holes take no room");
    file.write_all_at(&[1; 8192], 200 << 30).expect("there is room");
    file.sync_all().expect("there is room");
    let found = walk(&[dir.path()]);
    if found.known_bytes == 400 << 30 {
        eprintln!("SKIPPED: this file system knows no holes");
        return;
    }
    assert!((8192..1 << 20).contains(&found.known_bytes), "{}", found.known_bytes);
}

#[test]
fn what_was_asked_for_and_is_not_there_has_failed() {
    let found = walk(&[Path::new("/nonexistent/pagefold"), Path::new("/dev/null")]);
    assert!(found.sources.is_empty());
    assert!(found.skipped.iter().all(|skipped| skipped.failed));
    assert!(found.skipped[0].why.contains("No such file"), "{:?}", found.skipped[0]);
    assert!(found.skipped[1].why.contains("character device"), "{:?}", found.skipped[1]);
}
