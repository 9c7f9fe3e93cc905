//! `pagefold spill`: the program beside the command or in PATH gets the arguments as they are, and its code is the command's.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use crate::common::Outcome;

/// A folder with a copy of the command.
fn copy_of_command() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let command = folder.path().join("pagefold");
    // A hard link cannot be made to another file system.
    if fs::hard_link(env!("CARGO_BIN_EXE_pagefold"), &command).is_err() {
        fs::copy(env!("CARGO_BIN_EXE_pagefold"), &command).expect("room");
    }
    (folder, command)
}

fn write_program(folder: &Path, script: &str) {
    let program = folder.join("pagefold-spill");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
}

fn spill(command: &Path, path: &Path, args: &[&str]) -> Outcome {
    let mut call = Command::new(command);
    call.arg("spill").args(args).env("PATH", format!("{}:/usr/bin:/bin", path.display()));
    call.output().expect("the binary runs").into()
}

#[test]
fn a_missing_program_is_one_line_that_says_what_to_install() {
    let (folder, command) = copy_of_command();
    let outcome = spill(&command, folder.path(), &["gc", "redis://localhost"]);
    let words = ["pagefold-spill", "cargo install pagefold-spill-opendal --features command"];
    outcome.fails_without_report(1, &words);
    spill(&command, folder.path(), &[]).fails_without_report(2, &["--help"]);
}

#[test]
fn arguments_and_code_pass_through() {
    let (folder, command) = copy_of_command();
    let other = tempfile::tempdir().expect("a folder");
    write_program(other.path(), "printf 'in PATH:'; printf ' <%s>' \"$@\"; exit 3");
    let args = ["gc", "--help", "--dry-run", "a b", "", "--", "-x"];
    let outcome = spill(&command, other.path(), &args);
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    let expected = "in PATH: <gc> <--help> <--dry-run> <a b> <> <--> <-x>";
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), (expected, ""));

    // The one beside the command goes first.
    write_program(folder.path(), "echo beside");
    assert_eq!(spill(&command, other.path(), &args).stdout, "beside\n");
    write_program(folder.path(), "kill -TERM $$");
    let killed = Command::new(&command).args(["spill", "gc"]).status().expect("the binary runs");
    assert_eq!(killed.signal(), Some(15), "{killed:?}");
    fs::set_permissions(folder.path().join("pagefold-spill"), fs::Permissions::from_mode(0o644))
        .expect("it is ours");
    spill(&command, other.path(), &["gc"])
        .fails_without_report(1, &["pagefold-spill cannot be run"]);
}

#[test]
fn help_of_the_command_needs_no_program() {
    let (folder, command) = copy_of_command();
    let outcome = spill(&command, folder.path(), &["--help"]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.stdout.contains("cargo install pagefold-spill-opendal"), "{}", outcome.stdout);
}
