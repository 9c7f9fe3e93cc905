//! Lists the files under the given paths, each once, and those skipped with the reason.
//!
//! A named symbolic link is followed; links inside a directory are not. `/proc` and `/sys` are not entered. Directories
//! are read in the order of names, so the same tree gives the same sample.

use std::{
    fs::{self, File, FileType, Metadata},
    io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{FsWord, PROC_SUPER_MAGIC, statfs};
use walkdir::{DirEntry, WalkDir};

use crate::estimate::{
    config::{Input, PAGE, Walk},
    read::{
        core_error::CoreError,
        core_file::CoreFile,
        extents::Extents,
        identity::{Identity, Seen, place_of},
        process::Candidate,
    },
    result::skipped::Skipped,
};

const REPEATED: &str = "a repeated file, reached before by another path";

#[derive(Debug, Default)]
pub(crate) struct Discovery {
    pub(crate) sources: Vec<InputSource>,
    pub(crate) skipped: Vec<Skipped>,
    /// Data, roughly, without streams.
    pub(crate) known_bytes: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum InputSource {
    /// With about this much data.
    File { path: PathBuf, data_bytes: u64 },
    /// A named file that claims to be empty, as those of `/proc` do.
    Stream { path: PathBuf },
    /// Standard input.
    Stdin,
    /// A running process.
    Process(Candidate),
    /// A named core file.
    Core(CoreFile),
}

impl Discovery {
    pub(crate) fn walk(inputs: &[Input], walk: &Walk) -> Self {
        let mut discovery = Self::default();
        let mut seen = Seen::new(inputs.len());
        for input in inputs {
            match input {
                Input::Stdin => discovery.sources.push(InputSource::Stdin),
                Input::Path(path) => discovery.add_named(path, walk, &mut seen),
                // `expand` has replaced lists.
                Input::List(list) => discovery.skip(list, "a list of inputs".to_owned(), true),
                Input::Process(process_id) => discovery.add_process(*process_id),
                Input::ProcessName(name) => discovery.add_processes_named(name),
                Input::Cgroup(path) => discovery.add_cgroup(path),
                Input::EveryProcess => discovery.add_every_process(),
            }
        }
        discovery.expect_shared_memory_once();
        discovery
    }

    fn add_named(&mut self, path: &Path, walk: &Walk, seen: &mut Seen) {
        match fs::metadata(path) {
            Err(error) => self.fail(path, &error),
            Ok(metadata) if metadata.is_dir() => self.add_tree(path, &metadata, walk, seen),
            Ok(metadata) if metadata.is_file() => self.add_named_file(path, &metadata, seen),
            Ok(metadata) => {
                let why = format!(
                    "{}; its content can be piped to `pagefold estimate -`",
                    special(metadata.file_type())
                );
                self.skip(path, why, true);
            }
        }
    }

    fn add_named_file(&mut self, path: &Path, metadata: &Metadata, seen: &mut Seen) {
        if !seen.is_new(Identity::from(metadata), || place_of(path)) {
            return self.skip(path, REPEATED.to_owned(), false);
        }
        match CoreFile::open(path) {
            Ok(Some(core)) => {
                self.known_bytes = self.known_bytes.saturating_add(core.data_bytes);
                if core.is_machine {
                    let why = "the memory of a whole machine, not of a process: all of it is in the figures".to_owned();
                    self.skip(path, why, false);
                } else if !core.files_known {
                    let why = "a core file without a list of mapped files (NT_FILE): its files are in the figures".to_owned();
                    self.skip(path, why, false);
                }
                self.sources.push(InputSource::Core(core));
            }
            Err(error @ CoreError::Truncated { .. }) => self.skip(path, error.to_string(), true),
            Err(
                error @ (CoreError::Foreign(_)
                | CoreError::Damaged(_)
                | CoreError::NoSegments
                | CoreError::NothingPrivate { .. }),
            ) => {
                let why = format!("{error}; to measure its bytes: `pagefold estimate - < FILE`");
                self.skip(path, why, true);
            }
            // `add_file` reports errors as for any file.
            Ok(None) | Err(CoreError::Io(_)) => self.add_file(path, metadata, true),
        }
    }

    fn add_tree(&mut self, root: &Path, named: &Metadata, walk: &Walk, seen: &mut Seen) {
        let mut entries = WalkDir::new(root).follow_links(false).sort_by_file_name().into_iter();
        let place = place_of(root);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    let path = error.path().unwrap_or(root).to_owned();
                    let unexplained = || io::Error::other("the directory could not be walked");
                    self.fail(&path, &error.into_io_error().unwrap_or_else(unexplained));
                    continue;
                }
            };
            // The root may be a link to a directory.
            if entry.depth() == 0 {
                continue;
            }
            let (path, kind) = (entry.path(), entry.file_type());
            let left_out = self.leave_out(&entry, root, named, walk);
            if left_out && kind.is_dir() {
                entries.skip_current_dir();
            }
            if left_out || kind.is_dir() {
                continue;
            }
            if !kind.is_file() {
                self.skip(path, special(kind).to_owned(), false);
                continue;
            }
            match entry.metadata() {
                Ok(metadata) => {
                    let below = path.strip_prefix(root).unwrap_or(path);
                    if seen.is_new(Identity::from(&metadata), || place.join(below)) {
                        self.add_file(path, &metadata, false);
                    } else {
                        self.skip(path, REPEATED.to_owned(), false);
                    }
                }
                Err(error) => self.fail(path, &error.into()),
            }
        }
    }

    fn leave_out(&mut self, entry: &DirEntry, root: &Path, named: &Metadata, walk: &Walk) -> bool {
        let (path, kind) = (entry.path(), entry.file_type());
        let elsewhere = || entry.metadata().is_ok_and(|found| found.dev() != named.dev());
        let why = if walk.exclude.matches(root, path) {
            "excluded by --exclude"
        } else if walk.one_file_system && !kind.is_symlink() && elsewhere() {
            "a mount point, on another file system"
        } else if kind.is_dir() && is_generated(path) {
            "a kernel file system, whose files are made up when they are read"
        } else {
            return false;
        };
        self.skip(path, why.to_owned(), false);
        true
    }

    fn add_file(&mut self, path: &Path, metadata: &Metadata, named: bool) {
        let data_bytes = match data_bytes(path, metadata) {
            Ok(data_bytes) => data_bytes,
            Err(error) => return self.fail(path, &error),
        };
        let path = path.to_owned();
        self.known_bytes = self.known_bytes.saturating_add(data_bytes);
        self.sources.push(if named && metadata.len() == 0 {
            InputSource::Stream { path }
        } else {
            InputSource::File { path, data_bytes }
        });
    }

    fn fail(&mut self, path: &Path, error: &io::Error) {
        self.skip(path, error.to_string(), true);
    }

    fn skip(&mut self, path: &Path, why: String, failed: bool) {
        self.skipped.push(Skipped { what: path.display().to_string(), why, failed });
    }

    pub(crate) fn has_stream(&self) -> bool {
        self.sources
            .iter()
            .any(|source| matches!(source, InputSource::Stream { .. } | InputSource::Stdin))
    }

    pub(crate) fn has_mappings(&self) -> bool {
        self.sources
            .iter()
            .any(|source| matches!(source, InputSource::Process(_) | InputSource::Core(_)))
    }

    pub(crate) fn processes(&self) -> Vec<Candidate> {
        let processes = self.sources.iter().filter_map(|source| match source {
            InputSource::Process(candidate) => Some(candidate.clone()),
            _ => None,
        });
        processes.collect()
    }

    pub(crate) fn known_pages(&self) -> u64 {
        let pages = |source: &InputSource| match source {
            InputSource::File { data_bytes, .. } => data_bytes.div_ceil(PAGE as u64),
            InputSource::Process(candidate) => candidate.expected_bytes.div_ceil(PAGE as u64),
            InputSource::Core(core) => core.data_bytes.div_ceil(PAGE as u64),
            InputSource::Stream { .. } | InputSource::Stdin => 0,
        };
        self.sources.iter().map(pages).sum()
    }
}

impl From<&Metadata> for Identity {
    fn from(file: &Metadata) -> Self {
        Self { device: file.dev(), inode: file.ino(), links: file.nlink() }
    }
}

/// Without holes, roughly. The file must open.
fn data_bytes(path: &Path, metadata: &Metadata) -> io::Result<u64> {
    /// Holes of shorter files do not matter to the plan.
    const SHORT: u64 = 64 << 10;
    let file = File::open(path)?;
    let len = metadata.len();
    // Preallocation raises the block count, and compression lowers it.
    if len <= SHORT { Ok(len) } else { Ok(Extents::new(&file)?.data_bytes(&file, 0..len)) }
}

/// Some files of `/proc` or `/sys` never end; one claims 128 TiB.
fn is_generated(directory: &Path) -> bool {
    const SYSFS_MAGIC: FsWord = 0x6265_6572;
    // A directory that does not answer reports its own error.
    statfs(directory)
        .is_ok_and(|file_system| [PROC_SUPER_MAGIC, SYSFS_MAGIC].contains(&file_system.f_type))
}

fn special(kind: FileType) -> &'static str {
    if kind.is_symlink() {
        "a symbolic link, not followed"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_block_device() {
        "a block device"
    } else if kind.is_char_device() {
        "a character device"
    } else {
        "not a regular file"
    }
}

#[cfg(test)]
#[path = "discover_tests.rs"]
mod tests;
