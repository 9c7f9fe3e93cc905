//! An unlinked file: it has no name, and its space goes with the last process that has it open.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use pagefold_sys::file::{punch_hole, read_cached, start_writing_back};
use thiserror::Error;

use crate::Backing;

/// The file could not be made.
#[derive(Debug, Error)]
#[error("no file for spilled pages can be made in {}: {source}", .directory.display())]
pub struct FileError {
    directory: PathBuf,
    source: io::Error,
}

/// Extents in an unlinked file, one after another in the order of their slots.
#[derive(Debug)]
pub struct FileBacking {
    file: File,
    extent_bytes: u64,
}

impl FileBacking {
    /// A file without a name in `directory`, for extents of at most `extent_bytes`.
    ///
    /// # Errors
    /// [`FileError`], if the directory is missing or cannot be written.
    pub fn new(directory: &Path, extent_bytes: usize) -> Result<Self, FileError> {
        let file = tempfile::tempfile_in(directory)
            .map_err(|source| FileError { directory: directory.to_owned(), source })?;
        Ok(Self { file, extent_bytes: extent_bytes as u64 })
    }

    fn at(&self, slot: u32, offset: u32) -> u64 {
        u64::from(slot) * self.extent_bytes + u64::from(offset)
    }
}

impl Backing for FileBacking {
    fn write(&self, slot: u32, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() as u64 > self.extent_bytes {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.file.write_all_at(bytes, self.at(slot, 0))
    }

    fn read(&self, slot: u32, offset: u32, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, self.at(slot, offset))
    }

    fn try_read(&self, slot: u32, offset: u32, into: &mut [u8]) -> io::Result<()> {
        read_cached(&self.file, self.at(slot, offset), into)
    }

    fn starts_flushes(&self) -> bool {
        true
    }

    /// Otherwise the disk begins when the page cache is full of what no program reads soon.
    fn start_flush(&self, slot: u32, bytes: usize) {
        start_writing_back(&self.file, self.at(slot, 0), bytes as u64);
    }

    fn discard(&self, slot: u32) -> io::Result<()> {
        match punch_hole(&self.file, self.at(slot, 0), self.extent_bytes) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
            punched => punched,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn extents_do_not_touch_each_other() {
        let directory = tempfile::tempdir().expect("a directory");
        let backing = FileBacking::new(directory.path(), 4096).expect("a file");
        for (slot, byte) in [(2, 2), (0, 7), (1, 1), (0, 0)] {
            backing.write(slot, &[byte; 4096]).expect("room");
        }
        for slot in 0..3 {
            let mut back = [9; 100];
            backing.read(slot, 3996, &mut back).expect("there");
            assert_eq!(back, [u8::try_from(slot).expect("small"); 100]);
        }
        backing.discard(1).expect("done, or not supported");
        backing.read(2, 0, &mut [0; 4096]).expect("there");
        assert_eq!(std::fs::read_dir(directory.path()).expect("there").count(), 0, "no name");
    }

    #[test]
    fn what_was_not_written_is_an_error() {
        let directory = tempfile::tempdir().expect("a directory");
        let backing = FileBacking::new(directory.path(), 4096).expect("a file");
        backing.write(0, &[1; 100]).expect("room");
        let kind = backing.read(0, 90, &mut [0; 11]).expect_err("short").kind();
        assert_eq!(kind, io::ErrorKind::UnexpectedEof);
        assert!(backing.write(0, &[1; 4097]).is_err());
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = FileBacking::new(Path::new("/nowhere/at/all"), 4096).expect_err("missing");
        assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
    }
}
