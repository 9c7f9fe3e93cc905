//! `cargo xtask sqlite-speed`: SQLite's own speed test, with its page cache in a region.
//!
//! ```text
//!  speedtest1.c (xtask/sqlite) + sqlite3.c (crate libsqlite3-sys)  --cc-->  a library of their own
//!                                         crates/region/tests/sqlite.rs loads it, lends it memory, calls its main
//! ```

use std::{
    fs,
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
};

use clap::Args;
use serde::Deserialize;

use crate::{
    error::XtaskError,
    workspace::{self, Workspace, cargo},
};

const CRATE: &str = "libsqlite3-sys";

/// SQLite's own speed test with its page cache in a region of which a quarter may be in memory.
///
/// It runs twice, with the page cache in plain memory and in a region, with SQLite's verification. The hashes of all answers
/// must be the same. Needs a C compiler, as `cc` or as CC says.
#[derive(Debug, Args)]
pub(crate) struct SqliteSpeedArgs {
    /// The size of the test, as `speedtest1 --size`; with less than 12 a quarter would be less than a region needs
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u32).range(12..=1000))]
    size: u32,
    /// How the region's faults are served
    #[arg(long, value_name = "MODE", default_value = "auto", value_parser = ["auto", "inline", "guard", "thread"])]
    mode: String,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
}

pub(crate) fn run(arguments: &SqliteSpeedArgs) -> Result<ExitCode, XtaskError> {
    let workspace = Workspace::load()?;
    let library = build(&workspace)?;
    let mut command = cargo();
    command.args(["test", "--release", "--package", "pagefold-region", "--test", "sqlite"]);
    command.args(["speed::speed_test_in_a_region", "--", "--exact", "--ignored", "--nocapture"]);
    command.env("PAGEFOLD_SPEEDTEST1", library);
    command.env("PAGEFOLD_SPEEDTEST1_SIZE", arguments.size.to_string());
    command.env("PAGEFOLD_SPEEDTEST1_MODE", &arguments.mode);
    workspace::run(command)?;
    Ok(ExitCode::SUCCESS)
}

/// The folder of the amalgamation.
fn amalgamation() -> Result<PathBuf, XtaskError> {
    let mut command = cargo();
    command.args(["metadata", "--format-version", "1", "--locked"]).stderr(Stdio::inherit());
    let shown = workspace::show(&command);
    let metadata: Metadata = serde_json::from_str(&workspace::output(command)?)
        .map_err(|source| XtaskError::Output { command: shown, source })?;
    let found = metadata.packages.into_iter().find(|package| package.name == CRATE);
    let manifest = found.ok_or(XtaskError::Nothing { what: "crate libsqlite3-sys" })?.manifest_path;
    Ok(manifest.with_file_name("sqlite3"))
}

/// The path of the library. Its names are for itself: the test program has an SQLite too.
fn build(workspace: &Workspace) -> Result<PathBuf, XtaskError> {
    let sqlite = amalgamation()?;
    let directory = workspace.target.join("sqlite-speed");
    fs::create_dir_all(&directory).map_err(XtaskError::file(&directory))?;
    let library = directory.join("libspeedtest1.so");
    let mut command = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
    command.args(["-O2", "-fPIC", "-shared", "-Wl,-Bsymbolic", "-DSQLITE_THREADSAFE=1"]);
    command.args([
        "-DSQLITE_OMIT_LOAD_EXTENSION",
        "-DSQLITE_ENABLE_RTREE",
        "-Dmain=speedtest1_main",
    ]);
    command.arg("-I").arg(&sqlite).arg("-o").arg(&library);
    command.arg(sqlite.join("sqlite3.c")).arg(workspace.root.join("xtask/sqlite/speedtest1.c"));
    command.args(["-lpthread", "-lm"]);
    workspace::run(command)?;
    Ok(library)
}
