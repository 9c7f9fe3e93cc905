//! Which processes are measured, which are refused and why, and what is known of each one beside its pages.

use std::{io, path::PathBuf};

use pagefold_sys::procfs::{Process, ProcessStatus, ProcfsError, processes, status};
use thiserror::Error;

use super::{
    address_space::Live,
    discover::{Discovery, Skipped, Source},
    interval::{Interval, Tally},
    mapping::MappingKind,
};
use crate::exit::Failure;

/// A process that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) process_id: u32,
    pub(super) name: String,
    /// Whether the user named it, and will want to know what became of it.
    pub(super) named: bool,
    /// Its resident anonymous memory, roughly.
    pub(super) expected_bytes: u64,
}

impl Candidate {
    /// What it is called in lists.
    pub(super) fn label(&self) -> String {
        label(self.process_id, &self.name)
    }
}

/// A process, or what a core file has of one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ProcessSummary {
    /// The process's number; a core file may not say.
    pub process_id: Option<u32>,
    /// What it calls itself.
    pub name: String,
    /// The core file, if it is one.
    pub core: Option<PathBuf>,
    /// Its private pages: the resident ones of a process, the dumped ones of a core file.
    pub pages: u64,
    pub bytes: u64,
    /// Pages that were private when the page map was read, and gone or no longer private when they had been read.
    pub vanished_pages: u64,
    /// Whether it was read to its end.
    pub complete: bool,
    /// What is not in the figures.
    pub beside: Beside,
    /// What of it was kept and measured, for each run.
    pub shares: Vec<Share>,
    /// The mappings that have private pages, by address; only where they were asked for.
    pub mappings: Vec<MappingSummary>,
    /// The group of its pages; those of its mappings follow where they were asked for.
    pub group: u32,
}

/// A process's memory that is left out, in bytes; `None` where nobody knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Beside {
    /// RssAnon as the kernel counts it, to hold the pages against.
    pub rss_anon: Option<u64>,
    /// Resident anonymous pages that other processes map too: after a fork, or merged.
    pub shared_anonymous: Option<u64>,
    /// The part of these that the kernel merged with equal pages.
    pub merged: Option<u64>,
    /// Pages of files.
    pub file: Option<u64>,
    /// Pages of shared memory.
    pub shared_memory: Option<u64>,
    /// Huge pages from the system's reserve.
    pub reserved_huge: Option<u64>,
    /// Anonymous memory that is swapped out.
    pub swap: Option<u64>,
    /// A core file's segments that cannot be written to and belong to no file.
    pub read_only: Option<u64>,
    /// A core file's pages of which the file has only a hole.
    pub holes: Option<u64>,
    /// Not left out: about how much of what a core file has of a process are pages of zeros.
    pub zeros: Option<u64>,
}

/// An address range with private pages.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MappingSummary {
    pub start: u64,
    pub end: u64,
    pub kind: MappingKind,
    /// The file, or the name that the program or the kernel gave it.
    pub name: Option<String>,
    pub pages: u64,
    pub bytes: u64,
    pub shares: Vec<Share>,
    pub group: u32,
}

/// What a part of the input came to in the fill of one run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Share {
    pub codec: String,
    pub allocator: String,
    pub tally: Tally,
    /// Its share of the pool's frames and metadata.
    pub memory_bytes: f64,
    pub effective_ratio: Option<f64>,
    pub effective_ratio_95: Option<Interval>,
}

impl ProcessSummary {
    /// A process of this name, of which nothing was read yet.
    pub(crate) fn new(name: String) -> Self {
        Self {
            process_id: None,
            name,
            core: None,
            pages: 0,
            bytes: 0,
            vanished_pages: 0,
            complete: false,
            beside: Beside::default(),
            shares: Vec::new(),
            mappings: Vec::new(),
            group: 0,
        }
    }

    /// Who it is, for a person: `1234 python3`, or the core file.
    pub(crate) fn title(&self) -> String {
        let number = self.process_id.map(|number| format!("{number} ")).unwrap_or_default();
        format!("{number}{}", self.name)
    }
}

/// Why a process is not measured.
#[derive(Debug, Error)]
pub(super) enum Refusal {
    #[error("{0} is a kernel thread, which has no memory of its own")]
    KernelThread(String),
    #[error("it has ended, and only waits for its parent to take note")]
    Ended,
    #[error("it is this very command, whose memory is the measurement")]
    Itself,
    #[error("no process has this number, or it has just ended")]
    Missing,
    #[error(transparent)]
    Procfs(ProcfsError),
}

impl From<ProcfsError> for Refusal {
    fn from(error: ProcfsError) -> Self {
        match error {
            ProcfsError::NoSuchProcess { .. } => Self::Missing,
            other => Self::Procfs(other),
        }
    }
}

/// Why reading a process or a core file ended early.
#[derive(Debug)]
pub(super) enum Stopped {
    /// It cannot be read (any further), for this reason; others can.
    Source(String),
    /// The whole measurement cannot go on.
    All(Failure),
}

impl From<ProcfsError> for Stopped {
    fn from(error: ProcfsError) -> Self {
        Self::Source(match error {
            ProcfsError::NoSuchProcess { .. } => {
                "it ended, or executed another program, while it was being read".to_owned()
            }
            other => other.to_string(),
        })
    }
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Source(match error.kind() {
            io::ErrorKind::UnexpectedEof => "it became shorter while it was being read".to_owned(),
            _ => error.to_string(),
        })
    }
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::All(failure)
    }
}

/// What a process is called in lists.
fn label(process_id: u32, name: &str) -> String {
    if name.is_empty() {
        format!("process {process_id}")
    } else {
        format!("process {process_id} ({name})")
    }
}

impl Discovery {
    /// Adds one process that the user named.
    pub(super) fn add_process(&mut self, process_id: u32) {
        match look(process_id) {
            // A thread's number stands for its process, and each counts once.
            Ok(status) if self.has_process(status.process_id) => {}
            Ok(status) => self.add_candidate(status, true),
            Err((name, refusal)) => self.refuse(label(process_id, &name), &refusal, true),
        }
    }

    /// Adds every process that may be read; the others are listed.
    pub(super) fn add_every_process(&mut self) {
        let all = match processes() {
            Ok(all) => all,
            Err(error) => return self.refuse("processes".to_owned(), &error.into(), true),
        };
        let mut kernel_threads = Vec::new();
        for process_id in all {
            match look(process_id) {
                Ok(status) => self.add_candidate(status, false),
                Err(refused @ (_, Refusal::KernelThread(_))) => {
                    kernel_threads.push((process_id, refused));
                }
                Err((name, refusal)) => self.refuse(label(process_id, &name), &refusal, false),
            }
        }
        // The last to be listed: there are many, and nobody misses them.
        for (process_id, (name, refusal)) in kernel_threads {
            self.refuse(label(process_id, &name), &refusal, false);
        }
        if !self.has_mappings() {
            // Not to be allowed any process at all is what the user will want to know.
            self.skipped.iter_mut().for_each(|skipped| skipped.failed = true);
        }
    }

    fn add_candidate(&mut self, status: ProcessStatus, named: bool) {
        let expected_bytes = status.rss_anon.unwrap_or(0);
        self.known_bytes = self.known_bytes.saturating_add(expected_bytes);
        self.sources.push(Source::Process(Candidate {
            process_id: status.process_id,
            name: status.name,
            named,
            expected_bytes,
        }));
    }

    fn has_process(&self, process_id: u32) -> bool {
        self.sources.iter().any(|source| {
            matches!(source, Source::Process(candidate) if candidate.process_id == process_id)
        })
    }

    fn refuse(&mut self, what: String, refusal: &Refusal, failed: bool) {
        self.skipped.push(Skipped { what, why: refusal.to_string(), failed });
    }
}

/// Describes a process that can be read; else says why not, with its name where that is known.
fn look(process_id: u32) -> Result<ProcessStatus, (String, Refusal)> {
    let status =
        status(Process::Id(process_id)).map_err(|error| (String::new(), Refusal::from(error)))?;
    let refusal = if status.kernel_thread {
        Refusal::KernelThread(status.name.clone())
    } else if status.has_ended() {
        Refusal::Ended
    } else if status.process_id == std::process::id() {
        Refusal::Itself
    } else {
        // Opened again when its turn comes: with many processes the files would be too many.
        match Live::open(status.process_id) {
            Ok(_) => return Ok(status),
            Err(error) => error.into(),
        }
    };
    // The text says it already.
    let name =
        if matches!(refusal, Refusal::KernelThread(_)) { String::new() } else { status.name };
    Err((name, refusal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_command_is_refused_and_so_is_what_does_not_exist() {
        let mut discovery = Discovery::default();
        discovery.add_process(std::process::id());
        discovery.add_process(1 << 22);
        assert!(discovery.sources.is_empty(), "{:?}", discovery.sources);
        let whys: Vec<_> = discovery.skipped.iter().map(|skipped| skipped.why.as_str()).collect();
        assert!(
            whys[0].contains("this very command") && whys[1].contains("no process"),
            "{whys:?}"
        );
        assert!(discovery.skipped.iter().all(|skipped| skipped.failed));
        assert_eq!(discovery.skipped[1].what, "process 4194304");
    }
}
