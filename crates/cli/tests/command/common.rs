//! Drives the binary: known inputs, and a call's outcome.

use std::{
    ffi::OsStr,
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

pub(crate) const PAGE: usize = 4096;

/// With a clean environment for colours.
pub(crate) fn pagefold() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pagefold"));
    command.env_remove("NO_COLOR").env("TERM", "xterm").stdin(Stdio::null());
    command
}

#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the command writes text");
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

pub(crate) fn estimate<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Outcome {
    pagefold().arg("estimate").args(args).output().expect("the binary runs").into()
}

/// With `input` on standard input.
pub(crate) fn estimate_stdin(args: &[&str], input: &[u8]) -> Outcome {
    let mut command = pagefold();
    command.arg("estimate").args(args);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    // A command that refuses its arguments does not read.
    let _ = child.stdin.take().expect("it is a pipe").write_all(input);
    child.wait_with_output().expect("it ends").into()
}

/// The JSON of a call with this exit code.
pub(crate) fn estimate_json<S: AsRef<OsStr>>(
    args: impl IntoIterator<Item = S>,
    code: i32,
) -> Value {
    let mut command = pagefold();
    let outcome: Outcome =
        command.args(["estimate", "--json"]).args(args).output().expect("the binary runs").into();
    outcome.json(code)
}

impl Outcome {
    /// The JSON on stdout, after checking the exit code.
    pub(crate) fn json(&self, code: i32) -> Value {
        assert_eq!(self.code, Some(code), "{self:?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks the exit code, and one line on stderr that contains all `words`.
    pub(crate) fn fails(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.stderr.starts_with("pagefold: ") && self.stderr.ends_with('\n'), "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "one line: {self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` is missing: {self:?}");
        }
    }

    /// [`fails`](Self::fails), with an empty stdout.
    pub(crate) fn fails_without_report(&self, code: i32, words: &[&str]) {
        self.fails(code, words);
        assert_eq!(self.stdout, "", "{self:?}");
    }
}

/// Incompressible bytes.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    ChaCha8Rng::seed_from_u64(42).fill_bytes(&mut bytes);
    bytes
}

/// Prose: compresses at least to a half, and no two pages are equal.
pub(crate) fn text(len: usize) -> Vec<u8> {
    (0_u32..)
        .flat_map(|line| {
            format!("{line}: the quick brown fox jumps over the lazy dog\n").into_bytes()
        })
        .take(len)
        .collect()
}

pub(crate) fn write(path: impl AsRef<Path>, bytes: &[u8]) {
    std::fs::write(&path, bytes)
        .unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()));
}

/// Zeros (8 pages), noise (16 pages) and text (100 pages and one of 1000 bytes).
pub(crate) fn sample_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    write(dir.path().join("zeros"), &[0; 8 * PAGE]);
    write(dir.path().join("noise"), &noise(16 * PAGE));
    std::fs::create_dir(dir.path().join("sub")).expect("a directory");
    write(dir.path().join("sub/text"), &text(100 * PAGE + 1000));
    dir
}

pub(crate) fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("`{key}` is no number in {value}"))
}

pub(crate) fn ratio(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("`{key}` is no number in {value}"))
}

pub(crate) fn runs(document: &Value) -> &[Value] {
    document["runs"].as_array().expect("`runs` is an array")
}

/// A process of the test, killed on drop.
pub(crate) struct Sleeper(pub(crate) std::process::Child);

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
