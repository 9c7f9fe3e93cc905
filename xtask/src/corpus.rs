//! `cargo xtask corpus`: page files for measurements.
//!
//! | class | pages |
//! |---|---|
//! | `python`, `node`, `java` | a program's resident private anonymous memory ([`programs`]) |
//! | `redis` | the same of a Redis server ([`redis`]) |
//! | `libraries`, `text` | whole pages of files ([`files`]) |
//! | `json` | generated documents ([`json`]) |
//! | `incompressible` | random bytes, for media and encrypted data |
//!
//! Heaps are sampled evenly by address, with zero pages. A complete page file is renamed over the old one. A seed
//! fixes the generated classes, but not the heaps, which contain addresses.
//!
//! `cargo xtask corpus trace` records pages over time instead ([`trace`]), `cargo xtask corpus clones` a template and its
//! clones ([`clones`]).

mod clones;
mod error;
mod files;
mod json;
mod live;
mod manifest;
mod page_file;
mod programs;
mod redis;
mod trace;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use clap::{Args, Subcommand, ValueEnum};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use self::{
    error::ClassError,
    json::Documents,
    live::LiveProcess,
    manifest::{Entry, Failure, Manifest, Origin},
    page_file::{PAGE_BYTES, Page, PageFile},
    programs::Runtime,
};
use crate::{error::XtaskError, workspace};

const INCOMPLETE: u8 = 3;

/// Page files from live heaps, libraries, text, JSON and random bytes.
///
/// Exit codes: 0 all classes were made; 1 nothing could be written; 2 wrong arguments; 3 some class could not be made
/// (the reasons are printed and in manifest.json).
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct CorpusArgs {
    #[command(subcommand)]
    pub(crate) what: Option<Other>,
    /// Where to write; by default `corpus` in the root of the workspace
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// MiB of pages for each class
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=65536))]
    pub(crate) megabytes: u64,
    /// The seed of everything that is random
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Only these classes; the others in the directory stay as they are
    #[arg(long, value_name = "NAME", num_args = 1.., value_enum)]
    pub(crate) only: Vec<Class>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Other {
    Trace(trace::TraceArgs),
    Clones(clones::ClonesArgs),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Class {
    Python,
    Node,
    Java,
    Redis,
    Libraries,
    Text,
    Json,
    Incompressible,
}

impl Class {
    pub(crate) const ALL: &[Self] = &[
        Self::Python,
        Self::Node,
        Self::Java,
        Self::Redis,
        Self::Libraries,
        Self::Text,
        Self::Json,
        Self::Incompressible,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
            Self::Java => "java",
            Self::Redis => "redis",
            Self::Libraries => "libraries",
            Self::Text => "text",
            Self::Json => "json",
            Self::Incompressible => "incompressible",
        }
    }
}

pub(crate) fn page_files(directory: &Path) -> Vec<(Class, PathBuf)> {
    let file = |&class: &Class| (class, directory.join(format!("{}.pages", class.name())));
    Class::ALL.iter().map(file).filter(|(_, path)| path.is_file()).collect()
}

pub(crate) fn run(arguments: &CorpusArgs) -> Result<ExitCode, XtaskError> {
    match &arguments.what {
        Some(Other::Trace(arguments)) => return trace::run(arguments),
        Some(Other::Clones(arguments)) => return clones::run(arguments),
        None => {}
    }
    let directory = match &arguments.out {
        Some(directory) => directory.clone(),
        None => workspace::corpus_directory()?,
    };
    let failed = |source| XtaskError::Io { path: directory.clone(), source };
    fs::create_dir_all(&directory).map_err(failed)?;
    let mut manifest = Manifest::of_directory(&directory);
    manifest.failed.clear();
    let classes = if arguments.only.is_empty() { Class::ALL } else { &arguments.only };
    for &class in classes {
        let name = class.name();
        let begin = Instant::now();
        match make(class, arguments, &directory) {
            Ok(entry) => {
                report(&entry, begin);
                manifest.insert(entry);
            }
            Err(error) => {
                eprintln!("{name:15} skipped: {error}");
                manifest.failed.push(Failure { name: name.to_owned(), reason: error.to_string() });
            }
        }
        // After each class, in case the run is interrupted.
        manifest.write(&directory).map_err(failed)?;
    }
    Ok(if manifest.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(INCOMPLETE) })
}

fn report(entry: &Entry, begin: Instant) {
    let short = if entry.pages < entry.wanted_pages {
        format!(" of {} wanted", entry.wanted_pages)
    } else {
        String::new()
    };
    eprintln!(
        "{:15} {} pages{short}, {:.1} % same-filled ({} zero), from {} candidates, {:.1} s",
        entry.name,
        entry.pages,
        entry.same_filled_share * 100.0,
        entry.zero_pages,
        entry.candidate_pages,
        begin.elapsed().as_secs_f64(),
    );
}

fn make(class: Class, arguments: &CorpusArgs, directory: &Path) -> Result<Entry, ClassError> {
    let failed = |source| ClassError::Io { path: directory.to_path_buf(), source };
    let wanted = arguments.megabytes * (1 << 20) / PAGE_BYTES as u64;
    let mut out = PageFile::begin(directory).map_err(failed)?;
    let origin = fill(class, wanted, arguments.seed, &mut out)?;
    if out.counts().pages == 0 {
        return Err(ClassError::Nothing { place: origin.source });
    }
    let finished =
        out.finish(&directory.join(format!("{}.pages", class.name()))).map_err(failed)?;
    Ok(Entry::new(class.name(), origin, finished))
}

fn fill(class: Class, wanted: u64, seed: u64, out: &mut PageFile) -> Result<Origin, ClassError> {
    let runtime = |runtime: Runtime, out: &mut PageFile| {
        let version = runtime.version()?.version;
        from_heap(&version, wanted, seed, out, |heap_bytes| runtime.start(heap_bytes, seed))
    };
    match class {
        Class::Python => runtime(Runtime::Python, out),
        Class::Node => runtime(Runtime::Node, out),
        Class::Java => runtime(Runtime::Java, out),
        Class::Redis => from_heap(&redis::version()?, wanted, seed, out, |heap_bytes| {
            redis::start(heap_bytes, seed)
        }),
        Class::Libraries => from_files("shared libraries", &files::libraries(), wanted, seed, out),
        Class::Text => {
            from_files("documentation and source text", &files::text(), wanted, seed, out)
        }
        Class::Json => json_pages(wanted, seed, out),
        Class::Incompressible => random_pages(wanted, seed, out),
    }
}

/// The heap is somewhat larger than the sample.
fn from_heap(
    version: &str,
    wanted: u64,
    seed: u64,
    out: &mut PageFile,
    start: impl FnOnce(u64) -> Result<LiveProcess, ClassError>,
) -> Result<Origin, ClassError> {
    let heap_bytes = wanted * PAGE_BYTES as u64 * 13 / 10;
    let snapshot = start(heap_bytes)?.snapshot(wanted, out)?;
    let unreadable = match snapshot.unreadable {
        0 => String::new(),
        count => format!("; {count} chosen pages could not be read"),
    };
    let source =
        format!("resident private anonymous pages of a live process, {version}{unreadable}");
    Ok(Origin { source, seed, wanted_pages: wanted, candidate_pages: snapshot.candidates })
}

fn from_files(
    what: &str,
    sources: &[files::Source],
    wanted: u64,
    seed: u64,
    out: &mut PageFile,
) -> Result<Origin, ClassError> {
    let taken = files::take(sources, wanted, out)?;
    let roots: Vec<_> = taken.roots.iter().map(|root| root.display().to_string()).collect();
    let unreadable = match taken.unreadable {
        0 => String::new(),
        count => format!("; {count} chosen pages could not be read"),
    };
    let source = format!("whole pages of {what} under {}{unreadable}", roots.join(", "));
    Ok(Origin { source, seed, wanted_pages: wanted, candidate_pages: taken.candidates })
}

fn json_pages(wanted: u64, seed: u64, out: &mut PageFile) -> Result<Origin, ClassError> {
    let mut documents = Documents::new(seed);
    let mut text = Vec::new();
    while out.counts().pages < wanted {
        while text.len() < PAGE_BYTES {
            text.extend_from_slice(documents.next_document().as_bytes());
            text.push(b'\n');
        }
        let page: &Page = text.first_chunk().expect("at least a page was gathered");
        push(page, out)?;
        text.drain(..PAGE_BYTES);
    }
    let source = "generated JSON documents, one on a line".to_owned();
    Ok(Origin { source, seed, wanted_pages: wanted, candidate_pages: wanted })
}

fn random_pages(wanted: u64, seed: u64, out: &mut PageFile) -> Result<Origin, ClassError> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut page: Page = [0; PAGE_BYTES];
    for _ in 0..wanted {
        rng.fill_bytes(&mut page);
        push(&page, out)?;
    }
    let source = "random bytes of a ChaCha generator".to_owned();
    Ok(Origin { source, seed, wanted_pages: wanted, candidate_pages: wanted })
}

fn push(page: &Page, out: &mut PageFile) -> Result<(), ClassError> {
    out.push(page).map_err(|source| ClassError::Io { path: "the page file".into(), source })
}
