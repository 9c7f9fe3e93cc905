//! `xtask corpus` as a user runs it: files, manifest, exit codes.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

fn corpus(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.arg("corpus").arg("--out").arg(directory).args(arguments).output().unwrap()
}

fn manifest(directory: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(directory.join("manifest.json")).unwrap()).unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let manifest = manifest(directory);
    let files = manifest["files"].as_array().unwrap();
    files.iter().map(|file| file["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_small_corpus_is_whole_and_described() {
    let directory = tempfile::tempdir().unwrap();
    let output =
        corpus(directory.path(), &["--megabytes", "2", "--only", "json", "incompressible", "text"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(names(directory.path()), ["incompressible", "json", "text"]);

    for file in manifest(directory.path())["files"].as_array().unwrap() {
        let bytes = fs::read(directory.path().join(file["file"].as_str().unwrap())).unwrap();
        assert_eq!(bytes.len(), 2 << 20, "{file}");
        assert_eq!(file["pages"], 512, "{file}");
        assert_eq!(
            file["xxh3_128"],
            format!("{:032x}", xxhash_rust::xxh3::xxh3_128(&bytes)),
            "{file}"
        );
        let same_filled = bytes.chunks(4096).filter(|page| page[8..] == page[..4088]).count();
        assert_eq!(file["same_filled_pages"], same_filled, "{file}");
    }
    let random = fs::read(directory.path().join("incompressible.pages")).unwrap();
    let ones: u64 = random.iter().map(|byte| u64::from(byte.count_ones())).sum();
    assert!(ones.abs_diff(8 << 20) < 1 << 14, "half of the bits are ones: {ones}");
}

#[test]
fn the_seed_decides_the_generated_bytes_and_the_other_classes_stay() {
    let directory = tempfile::tempdir().unwrap();
    let make = |seed, class| {
        let output =
            corpus(directory.path(), &["--megabytes", "1", "--seed", seed, "--only", class]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::read(directory.path().join(format!("{class}.pages"))).unwrap()
    };
    for class in ["json", "incompressible"] {
        let first = make("1", class);
        assert_ne!(make("2", class), first, "{class}");
        assert_eq!(make("1", class), first, "{class}");
    }
    assert_eq!(names(directory.path()), ["incompressible", "json"]);
}

#[test]
fn a_class_that_cannot_be_made_is_reported_and_the_others_are_made() {
    let directory = tempfile::tempdir().unwrap();
    let nothing = tempfile::tempdir().unwrap();
    // With no programs in the path, there is no runtime to take a heap from.
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .env("PATH", nothing.path())
        .arg("corpus")
        .arg("--out")
        .arg(directory.path())
        .args(["--megabytes", "1", "--only", "node", "redis", "json"])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("apt-get install redis-server"), "{stderr}");
    assert_eq!(names(directory.path()), ["json"]);
    let failed = &manifest(directory.path())["failed"];
    assert_eq!(
        (failed[0]["name"].as_str(), failed[1]["name"].as_str()),
        (Some("node"), Some("redis")),
        "{failed}"
    );
    assert!(!directory.path().join("node.pages").exists());
}

#[test]
fn wrong_arguments_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    for wrong in [&["--megabytes", "0"][..], &["--only", "nothing"], &["--seed", "-1"]] {
        assert_eq!(corpus(directory.path(), wrong).status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, []).unwrap();
    let output = corpus(&file, &["--megabytes", "1", "--only", "json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains(file.to_str().unwrap()));
}

fn trace(arguments: &[&str], path: Option<&Path>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["corpus", "trace"]).args(arguments);
    if let Some(path) = path {
        command.env("PATH", path);
    }
    command.output().unwrap()
}

#[test]
fn a_trace_is_whole_and_described() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("redis.trace");
    let small = ["--seconds", "1", "--megabytes", "16", "--keys", "100", "--requests", "500"];
    let output = trace(&[&["--out", file.to_str().unwrap()], &small[..]].concat(), None);
    let stderr = String::from_utf8_lossy(&output.stderr);
    if stderr.contains("is not installed") {
        return eprintln!("SKIPPED: {stderr}");
    }
    assert!(output.status.success(), "{stderr}");
    let text = fs::read_to_string(directory.path().join("redis.trace.json")).unwrap();
    let described: Value = serde_json::from_str(&text).unwrap();
    let bytes = fs::read(&file).unwrap();
    assert!(bytes.len() <= 16 << 20, "{}", bytes.len());
    assert_eq!(described["records"], (bytes.len() - 24) / 4112, "{described}");
    assert_eq!(described["xxh3_128"], format!("{:032x}", xxhash_rust::xxh3::xxh3_128(&bytes)));
    assert_eq!(described["arguments"]["keys"], 100, "{described}");
    assert!(described["ran_us"].as_u64().unwrap() > 0, "{described}");
}

#[test]
fn a_trace_that_cannot_be_made_says_why_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("redis.trace");
    let out = ["--out", file.to_str().unwrap()];
    // No programs are in this path.
    let output = trace(&out, Some(directory.path()));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("apt-get install redis-server"), "{stderr}");
    for wrong in [&["--seconds", "0"][..], &["--interval-ms", "0"], &["--only", "redis"]] {
        assert_eq!(trace(&[&out, wrong].concat(), None).status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(trace(&[], None).status.code(), Some(2), "the file must be named");
    let nowhere = directory.path().join("none/redis.trace");
    let output = trace(&["--out", nowhere.to_str().unwrap()], None);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}
