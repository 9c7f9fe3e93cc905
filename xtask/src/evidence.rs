//! `cargo xtask evidence`: compares the pool's density on the corpus with its targets.
//!
//! Runs `pagefold estimate --lifecycle` on each class and on all ([`table`]). `--thp-always` turns on huge pages for
//! all processes ([`huge_pages`]), which would reveal memory returned in small pieces.

mod estimate;
mod huge_pages;
mod table;

use std::{
    ffi::OsString,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
};

use clap::Args;

use self::{huge_pages::HugePages, table::Line};
use crate::{
    corpus::{self, CorpusArgs},
    error::XtaskError,
    workspace::{self, Workspace, cargo},
};

/// The density of the pools on the corpus, judged; exit code 1 when something asked for was missed.
#[derive(Debug, Args)]
pub(crate) struct EvidenceArgs {
    /// The corpus; by default `corpus` in the root of the workspace. It is made when there are no page files in it
    #[arg(long, value_name = "DIR")]
    corpus: Option<PathBuf>,
    /// MiB for each class, if the corpus is made
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=65536))]
    megabytes: u64,
    /// Set transparent huge pages to `always` for the run and back after it; needs root
    #[arg(long)]
    thp_always: bool,
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

pub(crate) fn run(arguments: &EvidenceArgs) -> Result<ExitCode, XtaskError> {
    let workspace = Workspace::load()?;
    let directory = arguments.corpus.clone().unwrap_or_else(|| workspace.root.join("corpus"));
    let inputs = inputs(&directory, arguments.megabytes)?;
    let mut build = cargo();
    build.args(["build", "--release", "--package", "pagefold-cli"]);
    workspace::run(build)?;
    let program = workspace.target.join("release").join("pagefold");

    // ORDERING: Relaxed; the flag carries no data, and both sides read it repeatedly.
    let stop = || INTERRUPTED.store(true, Ordering::Relaxed);
    // Without a handler, Ctrl-C ends the run at once, so the run must then change nothing that needs restoring.
    let interruptible = ctrlc::set_handler(stop).is_ok();
    let _huge_pages =
        if arguments.thp_always && interruptible { huge_pages_always() } else { None };

    let mut lines = Vec::new();
    for (name, files) in inputs {
        let report = estimate::run(&program, &files, &INTERRUPTED)?;
        lines.extend(Line::of_report(&name, &report));
    }
    let mut out = io::stdout().lock();
    let written = write!(
        out,
        "Transparent huge pages: {}\n\n{}",
        huge_pages::setting(),
        table::markdown(&lines)
    );
    written.map_err(|source| XtaskError::Io { path: "standard output".into(), source })?;
    Ok(if lines.iter().all(Line::passes) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Makes a missing corpus.
fn inputs(directory: &Path, megabytes: u64) -> Result<Vec<(String, Vec<OsString>)>, XtaskError> {
    if corpus::page_files(directory).is_empty() {
        let arguments = CorpusArgs {
            what: None,
            out: Some(directory.to_path_buf()),
            megabytes,
            seed: 1,
            only: Vec::new(),
        };
        // Failed classes are reported and missing in the table.
        corpus::run(&arguments)?;
    }
    let files = corpus::page_files(directory);
    if files.is_empty() {
        return Err(XtaskError::Nothing { what: "page file" });
    }
    let one =
        |(class, path): &(corpus::Class, PathBuf)| (class.name().to_owned(), vec![path.into()]);
    let mut inputs: Vec<_> = files.iter().map(one).collect();
    inputs.push(("all".to_owned(), files.into_iter().map(|(_, path)| path.into()).collect()));
    Ok(inputs)
}

fn huge_pages_always() -> Option<HugePages> {
    match HugePages::always() {
        Ok(changed) => Some(changed),
        Err(error) => {
            eprintln!("transparent huge pages stay as they are: {error}");
            None
        }
    }
}
