//! Completions and the manual page, tested with the programs that read them; a missing program is skipped with a
//! message.

use std::{
    collections::BTreeSet,
    io::Write as _,
    process::{Command, Output, Stdio},
};

const SHELLS: [&str; 5] = ["bash", "zsh", "fish", "elvish", "powershell"];
const COMMANDS: [&str; 6] = ["estimate", "torture", "classes", "spill", "completions", "man"];

fn pagefold(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pagefold")).args(args).output().expect("the binary runs")
}

fn stdout(args: &[&str]) -> String {
    let output = pagefold(args);
    assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// A program's output for `input`; `None`, with a message, if it is missing.
fn piped(program: &str, args: &[&str], input: &str) -> Option<Output> {
    let mut child = match Command::new(program)
        .args(args)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    {
        Ok(child) => child,
        Err(error) => {
            eprintln!("SKIPPED: {program}: {error}");
            return None;
        }
    };
    let mut stdin = child.stdin.take().expect("it is a pipe");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    // A program may stop reading early.
    let _ = writer.join().expect("no panic");
    Some(output)
}

/// The long options at line starts, after an optional short one.
fn options(help: &str) -> BTreeSet<String> {
    help.lines()
        .filter_map(|line| line.trim_start().strip_prefix('-'))
        .filter_map(|line| {
            line.split_once("--").map_or_else(|| line.strip_prefix('-'), |(_, long)| Some(long))
        })
        .map(|line| {
            line.chars()
                .take_while(|letter| letter.is_ascii_lowercase() || *letter == '-')
                .collect()
        })
        .collect()
}

#[test]
fn every_shell_gets_a_script_that_knows_the_commands_and_options() {
    let mut options = options(&stdout(&["estimate", "--help"]));
    options.extend(self::options(&stdout(&["torture", "--help"])));
    assert!(
        options.contains("html") && options.contains("codec") && options.len() >= 10,
        "{options:?}"
    );
    for shell in SHELLS {
        let script = stdout(&["completions", shell]);
        for command in COMMANDS {
            assert!(script.contains(command), "{shell}: {command}");
        }
        for option in &options {
            assert!(script.contains(option), "{shell}: --{option}");
        }
    }
}

#[test]
fn scripts_are_what_their_shells_take() {
    for (shell, args) in [("bash", &["-n"][..]), ("zsh", &["-n"]), ("fish", &["--no-execute"])] {
        let script = stdout(&["completions", shell]);
        let Some(output) = piped(shell, args, &script) else { continue };
        assert!(output.status.success() && output.stderr.is_empty(), "{shell}: {output:?}");
    }
}

#[test]
fn bash_completes_commands_and_options() {
    let ask = "\nCOMP_WORDS=(pagefold estimate --ht); COMP_CWORD=2; _pagefold pagefold --ht estimate; echo \"${COMPREPLY[@]}\"
        COMP_WORDS=(pagefold es); COMP_CWORD=1; _pagefold pagefold es pagefold; echo \"${COMPREPLY[@]}\"\n";
    let script = stdout(&["completions", "bash"]) + ask;
    let Some(output) = piped("bash", &["--norc"], &script) else { return };
    assert_eq!(String::from_utf8_lossy(&output.stdout), "--html\nestimate\n", "{output:?}");
}

#[test]
fn an_unknown_shell_is_refused_with_the_known_ones() {
    let output = pagefold(&["completions", "tcsh"]);
    assert_eq!(output.status.code(), Some(2));
    let line = String::from_utf8_lossy(&output.stderr);
    assert!(line.lines().count() == 1 && line.contains("tcsh") && line.contains("fish"), "{line}");
    assert!(output.stdout.is_empty());
}

#[test]
fn the_manual_page_has_every_option_and_every_example_of_the_help() {
    let page = stdout(&["man"]);
    let Some(output) = piped("groff", &["-man", "-Tutf8", "-ww", "-P-cbou", "-rLL=100n"], &page)
    else {
        return;
    };
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // groff prints a bare hyphen as a hyphen, an escaped one as a minus.
    let text = text.replace(['\u{2010}', '\u{2212}'], "-");
    for command in COMMANDS {
        let help = stdout(&[command, "--help"]);
        for option in options(&help) {
            assert!(text.contains(&format!("--{option}")), "--{option}\n{text}");
        }
        for line in help.lines().filter(|line| line.starts_with("  pagefold ")) {
            assert!(text.contains(line.trim()), "{line}\n{text}");
        }
        assert!(text.contains(&format!("PAGEFOLD {}", command.to_uppercase())), "{text}");
    }
    for word in
        ["User Commands", "NAME", "SYNOPSIS", "EXIT CODES", "EXAMPLES", "  130  interrupted"]
    {
        assert!(text.contains(word), "{word}\n{text}");
    }
}

#[test]
fn man_shows_the_page_without_a_warning() {
    let page = stdout(&["man"]);
    let args = ["--warnings=w", "-E", "UTF-8", "-l", "-"];
    let Some(output) = piped("man", &args, &page) else { return };
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn help_has_examples() {
    for args in [
        &["help"][..],
        &["--help"],
        &["-h"],
        &["help", "estimate"],
        &["completions", "--help"],
        &["man", "--help"],
    ] {
        let help = stdout(args);
        assert!(help.contains("Examples:\n  ") && help.contains("pagefold "), "{args:?}: {help}");
    }
}

#[test]
fn a_reader_that_closes_the_pipe_is_no_error() {
    for args in [&["man"][..], &["completions", "bash"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_pagefold"))
            .args(args)
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .expect("the binary runs");
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
}
