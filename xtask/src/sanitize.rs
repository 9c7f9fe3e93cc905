//! `cargo xtask sanitize`: tests or torture under AddressSanitizer or ThreadSanitizer.
//!
//! `RUSTC_BOOTSTRAP` lets the stable compiler accept sanitizers. ThreadSanitizer takes the locks of an uninstrumented
//! standard library for races, so its runs also build std (`-Zbuild-std`, component `rust-src`). Without that
//! component only torture runs: `--cfg pagefold_tsan` selects the locks of `pagefold_sys::sync` and threads of the C
//! library.

use std::process::{Command, ExitCode, Stdio};

use clap::{Args, ValueEnum};

use crate::{
    error::XtaskError,
    workspace::{self, Workspace, cargo},
};

/// Tests, or the torture of every allocator, under a sanitizer.
#[derive(Debug, Args)]
pub(crate) struct SanitizeArgs {
    /// Which sanitizer
    #[arg(value_enum, default_value_t = Sanitizer::Address)]
    sanitizer: Sanitizer,
    /// Only these packages; by default all libraries with unsafe code or threads
    #[arg(long, short, value_name = "NAME")]
    package: Vec<String>,
    /// Instead of tests, `pagefold torture` with every allocator and fault
    #[arg(long, conflicts_with = "package")]
    torture: bool,
    /// How long the torture takes, all allocators together
    #[arg(long, value_name = "N", default_value_t = 300, requires = "torture", value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Passed to the test programs, or to `pagefold torture`
    #[arg(last = true, value_name = "ARGS")]
    test: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sanitizer {
    /// Memory that is used after it was freed, or beyond its end; leaks
    Address,
    /// Data races
    Thread,
}

const FAULTS: &str = "frame=0.001,isolate=0.05,evict=0.3,evict-panic=0.02";

/// The layers up to the pool.
const PACKAGES: &[&str] = &["pagefold-sys", "pagefold-frame", "pagefold-codec", "pagefold-pool"];

pub(crate) fn run(arguments: &SanitizeArgs) -> Result<ExitCode, XtaskError> {
    let workspace = Workspace::load()?;
    let names: Vec<&str> = workspace.packages.iter().map(|package| package.name.as_str()).collect();
    let packages = match arguments.package.as_slice() {
        [] => names.into_iter().filter(|name| PACKAGES.contains(name)).collect(),
        chosen => workspace::choose("package", &names, chosen)?,
    };
    let (name, flags) = match arguments.sanitizer {
        Sanitizer::Address => ("address", "-Zsanitizer=address"),
        Sanitizer::Thread => ("thread", "-Zsanitizer=thread"),
    };
    let mut command = cargo();
    command.arg(if arguments.torture { "build" } else { "test" });
    let mut flags = flags.to_owned();
    if arguments.sanitizer == Sanitizer::Thread {
        flags.push_str(" --cfg pagefold_tsan");
        if standard_library_source()? {
            command.arg("-Zbuild-std");
        } else {
            eprintln!(
                "the source of the standard library is missing (rustup component add rust-src): \
                 in tests, its own channels and locks will be reported as races"
            );
            flags.push_str(" -Cunsafe-allow-abi-mismatch=sanitizer");
        }
    }
    // A named target keeps the sanitizer out of build scripts and procedural macros.
    let (host, target) = (host()?, workspace.target.join(format!("sanitize-{name}")));
    command.args(["--target", &host]);
    if arguments.torture {
        command.args(["--release", "--package", "pagefold-cli"]);
    } else {
        command.args(["--lib", "--bins", "--tests"]);
        for package in packages {
            command.args(["--package", package]);
        }
        if !arguments.test.is_empty() {
            command.arg("--").args(&arguments.test);
        }
    }
    if arguments.sanitizer == Sanitizer::Address {
        command.env("CFLAGS", workspace::flags("CFLAGS", workspace::ASAN_C_FLAGS));
    }
    command
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", workspace::flags("RUSTFLAGS", &flags))
        .env("CARGO_TARGET_DIR", &target);
    workspace::run(command)?;
    if arguments.torture {
        let mut torture = Command::new(target.join(host).join("release/pagefold"));
        torture.args(["torture", "--seconds", &arguments.seconds.to_string()]);
        torture.args(["--faults", FAULTS]).args(&arguments.test);
        // A report of the sanitizer fails the run.
        torture.env(format!("{}SAN_OPTIONS", &name[..1].to_uppercase()), "exitcode=66");
        workspace::run(torture)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn host() -> Result<String, XtaskError> {
    let text = rustc(&["--version", "--verbose"])?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or(XtaskError::Nothing { what: "line `host:` in what rustc says of itself" })
}

/// Tries to add it first.
fn standard_library_source() -> Result<bool, XtaskError> {
    let sysroot = rustc(&["--print", "sysroot"])?;
    let library =
        std::path::Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/Cargo.toml");
    if !library.is_file() {
        let mut add = Command::new("rustup");
        add.args(["component", "add", "rust-src"]);
        // Without rustup or a network, the caller continues without the source.
        if let Err(error) = workspace::run(add) {
            eprintln!("{error}");
        }
    }
    Ok(library.is_file())
}

fn rustc(arguments: &[&str]) -> Result<String, XtaskError> {
    let mut command = Command::new("rustc");
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::inherit());
    workspace::output(command)
}
