//! `manifest.json`: a corpus directory's contents and their origin.

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};

use super::page_file::{Finished, PAGE_BYTES};

pub(crate) const FILE_NAME: &str = "manifest.json";

/// Entries are sorted by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) version: u32,
    pub(crate) page_bytes: usize,
    pub(crate) files: Vec<Entry>,
    /// Requested classes that the last run failed to make.
    pub(crate) failed: Vec<Failure>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// Relative to the manifest.
    pub(crate) file: String,
    pub(crate) source: String,
    /// Fixes the bytes of generated classes only.
    pub(crate) seed: u64,
    pub(crate) wanted_pages: u64,
    /// Pages to choose from.
    pub(crate) candidate_pages: u64,
    pub(crate) pages: u64,
    /// Pages of one repeated 64-bit word, with zero pages.
    pub(crate) same_filled_pages: u64,
    /// 0 to 1.
    pub(crate) same_filled_share: f64,
    pub(crate) zero_pages: u64,
    /// In hexadecimal.
    pub(crate) xxh3_128: String,
}

impl Entry {
    pub(crate) fn new(name: &str, origin: Origin, finished: Finished) -> Self {
        let counts = finished.counts;
        Self {
            name: name.to_owned(),
            file: format!("{name}.pages"),
            source: origin.source,
            seed: origin.seed,
            wanted_pages: origin.wanted_pages,
            candidate_pages: origin.candidate_pages,
            pages: counts.pages,
            same_filled_pages: counts.same_filled,
            same_filled_share: if counts.pages == 0 {
                0.0
            } else {
                counts.same_filled as f64 / counts.pages as f64
            },
            zero_pages: counts.zero,
            xxh3_128: finished.hash,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) source: String,
    pub(crate) seed: u64,
    pub(crate) wanted_pages: u64,
    pub(crate) candidate_pages: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) name: String,
    pub(crate) reason: String,
}

impl Manifest {
    pub(crate) fn empty() -> Self {
        Self { version: 1, page_bytes: PAGE_BYTES, files: Vec::new(), failed: Vec::new() }
    }

    /// Without missing files; empty if unreadable.
    pub(crate) fn of_directory(directory: &Path) -> Self {
        let text = fs::read_to_string(directory.join(FILE_NAME)).unwrap_or_default();
        let mut manifest: Self = serde_json::from_str(&text).unwrap_or_else(|_| Self::empty());
        manifest.files.retain(|entry| directory.join(&entry.file).is_file());
        manifest
    }

    pub(crate) fn insert(&mut self, entry: Entry) {
        self.files.retain(|old| old.name != entry.name);
        self.files.push(entry);
        self.files.sort_by(|a, b| a.name.cmp(&b.name));
    }

    pub(crate) fn write(&self, directory: &Path) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(directory.join(FILE_NAME), text)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::page_file::PageCounts, *};

    fn entry(name: &str, pages: u64) -> Entry {
        let origin =
            Origin { source: "a test".into(), seed: 7, wanted_pages: 8, candidate_pages: 9 };
        let counts = PageCounts { pages, same_filled: 1, zero: 0 };
        Entry::new(name, origin, Finished { counts, hash: "00".into() })
    }

    #[test]
    fn a_manifest_survives_the_file_system() {
        let directory = tempfile::tempdir().unwrap();
        let mut manifest = Manifest::empty();
        manifest.insert(entry("text", 4));
        manifest.insert(entry("json", 2));
        manifest.insert(entry("text", 8));
        manifest.failed.push(Failure { name: "node".into(), reason: "missing".into() });
        assert_eq!(
            manifest.files.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(),
            ["json", "text"]
        );
        assert_eq!(manifest.files[1].same_filled_share, 0.125);

        manifest.write(directory.path()).unwrap();
        for name in ["json.pages", "text.pages"] {
            fs::write(directory.path().join(name), []).unwrap();
        }
        assert_eq!(Manifest::of_directory(directory.path()), manifest);
        fs::remove_file(directory.path().join("text.pages")).unwrap();
        assert_eq!(
            Manifest::of_directory(directory.path()).files.len(),
            1,
            "a file that is gone is forgotten"
        );
    }

    #[test]
    fn a_broken_manifest_counts_as_none() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Manifest::of_directory(directory.path()), Manifest::empty());
        fs::write(directory.path().join(FILE_NAME), "{\"version\":").unwrap();
        assert_eq!(Manifest::of_directory(directory.path()), Manifest::empty());
    }

    #[test]
    fn no_pages_have_no_share() {
        let origin = Origin { source: String::new(), seed: 0, wanted_pages: 0, candidate_pages: 0 };
        let finished = Finished { counts: PageCounts::default(), hash: String::new() };
        assert_eq!(Entry::new("x", origin, finished).same_filled_share, 0.0);
    }
}
