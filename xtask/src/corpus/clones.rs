//! `cargo xtask corpus clones`: a template and its clones, for measuring bases.
//!
//! | set | template | clones |
//! |---|---|---|
//! | `forked` | a Python server that loaded its data and forked | its workers, each after its own requests: the pages that are theirs alone |
//! | `snapshots` | a Python server that loaded its data | the same server later, at each of some stops: all of its pages |
//!
//! Pages are resident private anonymous memory. Each image is a page file and, beside it, `NAME.addresses`: the address of each
//! page, 8 bytes, little-endian, ascending. A page of a clone is to be compared with the template's of the same address.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    thread,
    time::Duration,
};

use clap::Args;
use pagefold_procfs::{Process, ProcessMemory};
use serde::Serialize;

use super::{
    error::ClassError,
    live::{LiveProcess, private_pages},
    page_file::{PAGE_BYTES, Page, PageFile},
    programs::Runtime,
};
use crate::error::XtaskError;

const PROGRAM: &str = "python3";

/// A template and its clones: forked workers of a Python server, and snapshots of one.
#[derive(Debug, Args, Serialize)]
pub(crate) struct ClonesArgs {
    /// The directory to write to
    #[arg(long, value_name = "DIR")]
    #[serde(skip)]
    out: PathBuf,
    /// MiB of data that the server loads
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u64).range(16..=4096))]
    megabytes: u64,
    /// Workers, and snapshots
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=64))]
    clones: u64,
    /// How long the server runs from snapshot to snapshot
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    interval_ms: u64,
    /// The seed of the data and the requests
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Serialize)]
struct Made<'a> {
    source: String,
    arguments: &'a ClonesArgs,
    images: Vec<Image>,
}

#[derive(Debug, Serialize)]
struct Image {
    name: String,
    pages: u64,
    zero_pages: u64,
    unreadable_pages: u64,
    xxh3: String,
}

pub(super) fn run(arguments: &ClonesArgs) -> Result<ExitCode, XtaskError> {
    let failed = |source: ClassError| XtaskError::Trace { source: source.into() };
    for (set, make) in [("forked", forked as Make), ("snapshots", snapshots)] {
        let directory = arguments.out.join(set);
        fs::create_dir_all(&directory).map_err(XtaskError::file(&directory))?;
        let images = make(arguments, &directory).map_err(failed)?;
        for image in &images {
            eprintln!("{set}/{}: {} pages, {} of zeros", image.name, image.pages, image.zero_pages);
        }
        let version = Runtime::Python.version().map_err(failed)?.version;
        let made = Made { source: version, arguments, images };
        let text = serde_json::to_string_pretty(&made)
            .map_err(|source| XtaskError::Trace { source: source.into() })?;
        let path = directory.join("manifest.json");
        fs::write(&path, text + "\n").map_err(XtaskError::file(&path))?;
    }
    Ok(ExitCode::SUCCESS)
}

type Make = fn(&ClonesArgs, &Path) -> Result<Vec<Image>, ClassError>;

fn start(arguments: &ClonesArgs, workers: u64) -> Result<LiveProcess, ClassError> {
    Runtime::Python.version()?;
    let unplaced = |source| ClassError::Start { program: PROGRAM, source };
    let directory = tempfile::tempdir().map_err(unplaced)?;
    let program = directory.path().join("prefork.py");
    fs::write(&program, include_str!("programs/prefork.py")).map_err(unplaced)?;
    let mut command = Command::new(PROGRAM);
    command
        .arg(&program)
        .arg((arguments.megabytes << 20).to_string())
        .arg((arguments.seed & 0x7fff_ffff).to_string())
        .arg(workers.to_string())
        .current_dir(directory.path());
    LiveProcess::start(PROGRAM, command, directory)?.wait_ready()
}

/// The template is the server that forked, which waits; its workers are left alone.
fn forked(arguments: &ClonesArgs, directory: &Path) -> Result<Vec<Image>, ClassError> {
    let server = start(arguments, arguments.clones)?;
    let path = server.own_file("workers");
    let text = fs::read_to_string(&path).map_err(|source| ClassError::Io { path, source })?;
    let pids = text.split(' ').map(str::parse).collect::<Result<Vec<u32>, _>>();
    let pids = pids.map_err(|_| ClassError::Protocol {
        program: PROGRAM,
        answer: text.clone(),
        expected: "numbers of processes",
    })?;
    let mut images = vec![image(server.process(), Pages::All, directory, "template")?];
    for (number, pid) in (1..).zip(pids) {
        let name = format!("clone-{number}");
        images.push(image(Process::Id(pid), Pages::Exclusive, directory, &name)?);
    }
    Ok(images)
}

fn snapshots(arguments: &ClonesArgs, directory: &Path) -> Result<Vec<Image>, ClassError> {
    let server = start(arguments, 0)?;
    server.stop()?;
    let mut images = vec![image(server.process(), Pages::All, directory, "template")?];
    for number in 1..=arguments.clones {
        server.resume()?;
        thread::sleep(Duration::from_millis(arguments.interval_ms));
        server.stop()?;
        let name = format!("clone-{number}");
        images.push(image(server.process(), Pages::All, directory, &name)?);
    }
    Ok(images)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pages {
    All,
    /// That no other process maps.
    Exclusive,
}

fn image(
    process: Process,
    which: Pages,
    directory: &Path,
    name: &str,
) -> Result<Image, ClassError> {
    let failed = |source| ClassError::Io { path: directory.to_path_buf(), source };
    let addresses = private_pages(process, which == Pages::Exclusive)?;
    let memory = ProcessMemory::open(process)?;
    let mut out = PageFile::begin(directory).map_err(failed)?;
    let (mut read, mut unreadable) = (Vec::new(), 0);
    let mut page: Page = [0; PAGE_BYTES];
    for address in addresses {
        match memory.read_at(address, &mut page) {
            Ok(PAGE_BYTES) => {
                out.push(&page).map_err(failed)?;
                read.extend_from_slice(&address.to_le_bytes());
            }
            Ok(_) | Err(pagefold_procfs::ProcfsError::Io { .. }) => unreadable += 1,
            Err(error) => return Err(error.into()),
        }
    }
    let finished = out.finish(&directory.join(format!("{name}.pages"))).map_err(failed)?;
    fs::write(directory.join(format!("{name}.addresses")), read).map_err(failed)?;
    Ok(Image {
        name: name.to_owned(),
        pages: finished.counts.pages,
        zero_pages: finished.counts.zero,
        unreadable_pages: unreadable,
        xxh3: finished.hash,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        arguments: ClonesArgs,
    }

    #[test]
    fn clones_share_most_addresses_with_their_template() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().to_str().unwrap();
        let words =
            ["x", "--out", out, "--megabytes", "24", "--clones", "2", "--interval-ms", "50"];
        let arguments = Command::parse_from(words).arguments;
        for (name, make) in [("forked", forked as Make), ("snapshots", snapshots)] {
            let images = match make(&arguments, directory.path()) {
                Err(ClassError::Missing { program, .. }) => {
                    return eprintln!("SKIPPED: {program} is not installed");
                }
                other => other.unwrap(),
            };
            assert_eq!(images.len(), 3);
            let addresses = |name: &str| -> Vec<u64> {
                let bytes = fs::read(directory.path().join(format!("{name}.addresses"))).unwrap();
                let words = bytes.as_chunks::<8>().0.iter();
                words.map(|word| u64::from_le_bytes(*word)).collect()
            };
            let template = addresses("template");
            assert!(template.is_sorted() && template.len() > 1000);
            for image in &images {
                let own = addresses(&image.name);
                assert_eq!(own.len() as u64, image.pages);
                let file = fs::metadata(directory.path().join(format!("{}.pages", image.name)));
                assert_eq!(file.unwrap().len(), image.pages * PAGE_BYTES as u64);
                let common = own.iter().filter(|at| template.binary_search(at).is_ok()).count();
                assert!(common * 2 > own.len(), "{name}: {common} of {}", own.len());
            }
        }
    }
}
