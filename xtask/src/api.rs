//! `cargo xtask api`: each published crate's public API as text in `docs/api/`.
//!
//! ```text
//!  cargo rustdoc --output-format json  ->  target/doc/CRATE.json  ->  docs/api/CRATE.txt   (`public-api` renders it)
//!                                                             \-->  names: every type of a signature, by its name
//! ```
//! `public-api` is pinned to the JSON format of the toolchain in `rust-toolchain.toml`: change both together.

mod names;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use self::names::Crates;
use crate::{
    error::XtaskError,
    workspace::{Workspace, cargo, run as run_command},
};

const FACADE: &str = "pagefold";

/// Write the public API of each published crate to docs/api, and check that the facade names every type in it
///
/// The exit code is 1 where the facade does not name a type that a public item needs, and, with --check, where a listing is
/// not what the code says.
#[derive(Debug, Args)]
pub(crate) struct ApiArgs {
    /// Write nothing; compare the listings with the code
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(arguments: &ApiArgs) -> Result<ExitCode, XtaskError> {
    let workspace = Workspace::load()?;
    let directory = workspace.root.join("docs/api");
    let (mut crates, mut is_right) = (Crates::default(), true);
    for package in workspace.published_libraries() {
        let json = rustdoc_json(&workspace, package)?;
        let text = fs::read_to_string(&json).map_err(XtaskError::file(&json))?;
        let parsed = serde_json::from_str(&text)
            .map_err(|source| XtaskError::Output { command: json.display().to_string(), source })?;
        crates.insert(&crate_name(package), parsed);
        let listing = directory.join(format!("{package}.txt"));
        is_right &= settle(&listing, &render(&json)?, arguments.check)?;
    }
    for unnamed in crates.unnamed_by(FACADE) {
        eprintln!("{FACADE} does not name {unnamed}");
        is_right = false;
    }
    Ok(if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn crate_name(package: &str) -> String {
    package.replace('-', "_")
}

fn rustdoc_json(workspace: &Workspace, package: &str) -> Result<PathBuf, XtaskError> {
    let mut command = cargo();
    command
        .env("RUSTC_BOOTSTRAP", "1")
        .args(["rustdoc", "--quiet", "--package", package, "--lib", "--"])
        .args(["-Z", "unstable-options", "--output-format", "json"]);
    run_command(command)?;
    Ok(workspace.target.join("doc").join(crate_name(package)).with_extension("json"))
}

fn render(json: &Path) -> Result<String, XtaskError> {
    let api = public_api::Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()
        .map_err(|source| XtaskError::Api { file: json.to_owned(), source: Box::new(source) })?;
    Ok(api.to_string())
}

fn settle(listing: &Path, api: &str, check: bool) -> Result<bool, XtaskError> {
    if !check {
        if let Some(directory) = listing.parent() {
            fs::create_dir_all(directory).map_err(XtaskError::file(directory))?;
        }
        fs::write(listing, api).map_err(XtaskError::file(listing))?;
        return Ok(true);
    }
    let written = fs::read_to_string(listing).unwrap_or_default();
    let differences = differences(&written, api);
    if differences.is_empty() {
        return Ok(true);
    }
    eprintln!("{} is not what the code says; run `cargo xtask api`:", listing.display());
    differences.iter().for_each(|line| eprintln!("  {line}"));
    Ok(false)
}

fn differences(written: &str, api: &str) -> Vec<String> {
    let only = |one: &str, other: &str, sign| {
        let lines = one.lines().filter(|line| !other.lines().any(|there| there == *line));
        lines.map(|line| format!("{sign} {line}")).collect::<Vec<_>>()
    };
    [only(written, api, '-'), only(api, written, '+')].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_one_listing_alone_is_a_difference() {
        assert_eq!(differences("a\nb\n", "b\nc\n"), ["- a", "+ c"]);
        assert!(differences("a\nb\n", "a\nb\n").is_empty());
    }
}
