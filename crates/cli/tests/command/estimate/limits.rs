//! A cgroup or `ulimit` bounds the sample; a lack of memory is an exit code with advice.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::common::{Outcome, estimate, noise, number, runs, text, write};

const MIB: usize = 1 << 20;

/// From a shell that ran `first`; `$1` is `argument`.
fn estimate_after(first: &str, argument: &str, args: &[&str]) -> Outcome {
    let script = format!("{first} && shift && exec \"$0\" estimate \"$@\"");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script, env!("CARGO_BIN_EXE_pagefold"), argument]).args(args);
    shell.output().expect("there is a shell").into()
}

#[test]
fn little_address_space_is_a_smaller_sample_or_an_exit_code_with_advice() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("text");
    write(&path, &text(64 * MIB));
    let path = path.display().to_string();
    // Without a bound the command measures everything.
    let free = estimate(["--json", "--codec", "lz4", &path]).json(0);
    assert_eq!(number(&free["input"], "bytes"), 64 * MIB as u64);
    let mut measured = 0;
    for kibibytes in [40_000, 80_000, 150_000, 250_000, 350_000, 420_000, 500_000, 800_000] {
        for more in [&[][..], &["--threads", "3"], &["--sample", "0.9"]] {
            let args = [&["--json", "--codec", "lz4", "--codec", "zstd:1", &path], more].concat();
            let outcome = estimate_after("ulimit -v $1", &kibibytes.to_string(), &args);
            if outcome.code == Some(0) {
                let document = outcome.json(0);
                let verified = |run: &serde_json::Value| run["verified"] == true;
                assert!(runs(&document).iter().all(verified), "{kibibytes}: {document}");
                measured += 1;
            } else {
                // Neither a signal nor a panic.
                outcome.fails(1, &["pagefold: "]);
                let advice = ["ulimit -v", "--sample"];
                assert!(advice.iter().any(|word| outcome.stderr.contains(word)), "{outcome:?}");
            }
        }
    }
    assert!(measured >= 3, "800 MB are enough");
}

#[test]
fn want_of_data_memory_is_an_exit_code_with_advice() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("noise");
    write(&path, &noise(64 * MIB));
    let path = path.display().to_string();
    for kibibytes in [10_000, 20_000, 50_000, 100_000, 300_000] {
        let args = ["--json", "--codec", "lz4", &path];
        let outcome = estimate_after("ulimit -d $1", &kibibytes.to_string(), &args);
        if outcome.code == Some(0) {
            assert_eq!(runs(&outcome.json(0))[0]["limit_reached"], false, "{outcome:?}");
        } else {
            outcome.fails(1, &["ulimit -d"]);
        }
    }
}

/// A cgroup below this process's, with bounded memory; removed at the end.
struct Bounded(PathBuf);

impl Bounded {
    fn new(bytes: usize) -> Result<Self, String> {
        let membership = fs::read_to_string("/proc/self/cgroup").map_err(|e| e.to_string())?;
        let found = membership.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            match (fields.next()?, fields.next()?) {
                ("memory", path) => Some(("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes")),
                ("", path) if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() => {
                    Some(("/sys/fs/cgroup", path, "memory.max"))
                }
                _ => None,
            }
        });
        let (root, path, bound) = found.ok_or("no cgroup that bounds memory")?;
        let own = Path::new(root).join(path.trim_start_matches('/'));
        let name = format!("pagefold-test-{}", std::process::id());
        // A container may hide the path; the mounted root is then its own.
        let parent = if own.is_dir() { own } else { root.into() };
        let group = Self(parent.join(name));
        fs::create_dir(&group.0).map_err(|error| format!("{}: {error}", group.0.display()))?;
        let file = group.0.join(bound);
        fs::write(&file, bytes.to_string())
            .map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(group)
    }
}

impl Drop for Bounded {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_container_is_given_a_sample_that_fits_into_it() {
    const BOUND: usize = 64 * MIB;
    let group = match Bounded::new(BOUND) {
        Ok(group) => group,
        Err(why) => {
            eprintln!("SKIPPED: no cgroup can be made here: {why}");
            return;
        }
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("noise");
    // Twice the bound, and incompressible.
    write(&path, &noise(2 * BOUND));
    let path = path.display().to_string();
    let enter = "echo $$ > \"$1/cgroup.procs\"";
    let inside = |args: &[&str]| estimate_after(enter, &group.0.display().to_string(), args);

    let document = inside(&["--json", "--codec", "lz4", "--codec", "zstd:1", &path]).json(0);
    let bytes = number(&document["input"], "bytes");
    assert!((4 << 20..BOUND as u64 / 2).contains(&bytes), "{bytes}");
    assert_eq!(document["input"]["sampled"], true);
    let shown = inside(&["--codec", "lz4", &path]).stdout.replace('\n', " ");
    let name = group.0.file_name().expect("it has one").to_string_lossy();
    assert!(shown.contains(&*name) && shown.contains(" leaves room."), "{shown}");

    let refused = inside(&["--sample", "0.9", "--codec", "lz4", &path]);
    refused.fails_without_report(1, &["115.2 MiB", &name, "--sample 0."]);
    let advised = refused.stderr.split("--sample ").nth(1).and_then(|rest| rest.split(' ').next());
    let advised = advised.expect("a fraction is named");
    inside(&["--json", "--sample", advised, "--codec", "lz4", &path]).json(0);

    // A stream has no length to plan by.
    let piped = estimate_after(
        "echo $$ > \"$1/cgroup.procs\" && exec < \"$2\" && shift",
        &group.0.display().to_string(),
        &[&path, "--json", "--codec", "lz4", "-"],
    );
    assert_eq!(number(&piped.json(0)["input"], "total_bytes"), 2 * BOUND as u64);
}
