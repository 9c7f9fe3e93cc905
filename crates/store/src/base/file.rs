//! The pages of a file. It is read by position and never mapped, so a truncated file is an error.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use pagefold_sys::file::read_cached;

use super::{
    fault::BaseFault,
    pages::{AtHand, BasePages, Found},
};
use crate::page::{PAGE_BYTES, Page};

pub(crate) struct FilePages {
    file: File,
    /// When it was opened.
    bytes: u64,
}

impl FilePages {
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let bytes = file.metadata()?.len();
        Ok(Self { file, bytes })
    }

    pub(crate) fn pages(&self) -> u64 {
        self.bytes.div_ceil(PAGE_BYTES as u64)
    }

    /// Where a page lies, and the part of it that the file has; the rest is zeros.
    fn place<'p>(&self, page: u64, into: &'p mut Page) -> (u64, &'p mut [u8]) {
        let offset = page * PAGE_BYTES as u64;
        let there = usize::try_from(self.bytes - offset).unwrap_or(usize::MAX).min(PAGE_BYTES);
        let (there, rest) = into.split_at_mut(there);
        rest.fill(0);
        (offset, there)
    }
}

impl BasePages for FilePages {
    fn at_hand(&self, page: u64, into: &mut Page, how: AtHand) -> Found {
        if how == AtHand::Never {
            return Found::NotAtHand;
        }
        let (offset, there) = self.place(page, into);
        match read_cached(&self.file, offset, there) {
            Ok(()) => Found::Page,
            Err(_) => Found::NotAtHand,
        }
    }

    fn load(&self, page: u64, into: &mut Page) -> Result<(), BaseFault> {
        let (offset, there) = self.place(page, into);
        self.file.read_exact_at(there, offset).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => BaseFault::Truncated,
            kind => BaseFault::Io(kind),
        })
    }
}
