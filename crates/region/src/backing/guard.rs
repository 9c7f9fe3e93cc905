//! A file in memory and guard pages: no userfaultfd.
//!
//! Every page begins behind a guard. A fault writes the content to the file and then takes the guard away, so no other thread
//! sees half a page. A chosen page is a guard over a page that is still in the file.

use std::{io, ops::Range, ptr::NonNull};

use pagefold_store::{PAGE_BYTES, Page};
use pagefold_sys::{
    faults::{Access, FaultSignal},
    memory::{self, Reservation},
    pages::{self, MemoryFile},
    userfault::Userfault,
};

use super::{Backing, Found, runs, spans};
use crate::table::PageIndex;

/// Pages between the first and the last that one call guards: each takes an entry.
const SPAN_MAX: usize = 512;

#[derive(Debug)]
pub(crate) struct Guard {
    /// `Some` until dropped.
    memory: Option<Reservation>,
    file: MemoryFile,
    base: NonNull<u8>,
    pages: usize,
}

// SAFETY: addresses and a descriptor; all access is by system calls.
unsafe impl Send for Guard {}
// SAFETY: as above.
unsafe impl Sync for Guard {}

impl Guard {
    pub(crate) fn new(pages: usize) -> io::Result<Self> {
        let bytes = pages * PAGE_BYTES;
        let file = MemoryFile::new("pagefold-region", bytes as u64)?;
        let memory = pages::map_shared(&file, bytes)?;
        let base = memory.base();
        let guard = Self { memory: Some(memory), file, base, pages };
        let range = guard.range(&(0..pages));
        // A child would share the file, and write into the parent's pages.
        // SAFETY: this backing's own mapping.
        unsafe { pages::keep_from_children(&range) }?;
        // SAFETY: this backing's own mapping; the region serves its faults.
        unsafe { pages::install_guards(&range) }?;
        Ok(guard)
    }

    fn offset(page: PageIndex) -> u64 {
        (page.0 * PAGE_BYTES) as u64
    }

    fn unguard(&self, first: PageIndex, count: usize) -> io::Result<()> {
        let range = self.range(&(first.0..first.0 + count));
        // SAFETY: pages of this backing that the caller has claimed; what lies behind the guards is complete.
        unsafe { pages::remove_guards(&range) }.map_err(|error| match error.kind() {
            // Taking guards away needs no memory: a part of the range is not mapped.
            io::ErrorKind::OutOfMemory => io::ErrorKind::AddrNotAvailable.into(),
            _ => error,
        })
    }
}

impl Backing for Guard {
    fn base(&self) -> NonNull<u8> {
        self.base
    }

    fn pages(&self) -> usize {
        self.pages
    }

    fn sees_writes(&self) -> bool {
        false
    }

    fn unmaps_chosen(&self) -> bool {
        true
    }

    fn place(&self, page: PageIndex, content: &Page, _clean: bool) -> io::Result<()> {
        self.file.write(Self::offset(page), content)?;
        self.unguard(page, 1)
    }

    fn place_run(&self, first: PageIndex, content: &[Page], _clean: bool) -> io::Result<usize> {
        self.file.write(Self::offset(first), content.as_flattened())?;
        self.unguard(first, content.len())?;
        Ok(content.len())
    }

    fn place_zeros(&self, page: PageIndex) -> io::Result<()> {
        self.unguard(page, 1)
    }

    fn refresh(&self, page: PageIndex, _access: Access) -> io::Result<Found> {
        // Content that a call from outside dropped from the mapping is still in the file.
        self.unguard(page, 1).map(|()| Found::There)
    }

    fn rescue(&self, page: PageIndex, _access: Access) -> io::Result<Found> {
        self.unguard(page, 1).map(|()| Found::There)
    }

    fn choose(&self, pages: &[PageIndex], is_pinned: &dyn Fn(PageIndex) -> bool) -> io::Result<()> {
        spans(pages, is_pinned, SPAN_MAX, |span| {
            let range = self.range(&span);
            // SAFETY: pages of this backing; the region serves faults of those that the caller has not claimed too.
            unsafe { pages::install_guards(&range) }
        })
    }

    fn read(&self, pages: &[PageIndex], into: &mut [Page]) -> io::Result<usize> {
        runs(pages, |before, run| {
            let into = into[before..before + run.len()].as_flattened_mut();
            self.file.read(Self::offset(PageIndex(run.start)), into)
        })?;
        Ok(pages.len())
    }

    fn forget(&self, pages: &[PageIndex]) -> Result<(), (usize, io::Error)> {
        runs(pages, |before, run| {
            let bytes = (run.len() * PAGE_BYTES) as u64;
            let punched = self.file.punch(Self::offset(PageIndex(run.start)), bytes);
            punched.map_err(|error| (before, error))
        })
    }

    fn discard(&self, pages: &[PageIndex]) -> Result<(), (usize, io::Error)> {
        self.choose(pages, &|_| false).map_err(|error| (0, error))?;
        self.forget(pages)
    }

    fn open(&self, pages: &Range<usize>) -> io::Result<()> {
        self.unguard(PageIndex(pages.start), pages.len())
    }

    fn signal(&self) -> Option<FaultSignal> {
        Some(FaultSignal::Segv)
    }

    fn events(&self) -> Option<&Userfault> {
        None
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            // SAFETY: a mapping of this backing's own, unmapped once; the region has ended.
            unsafe { memory::release(memory) };
        }
    }
}
