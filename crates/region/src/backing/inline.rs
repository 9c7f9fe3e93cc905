//! Anonymous memory and userfaultfd.
//!
//! Chosen pages stay where they are, write-protected: reads of them are no faults, and their content is copied out by a call that
//! does not fault either. They leave memory by one call for many. See decision 0070.

use std::{io, ops::Range, ptr::NonNull};

use pagefold_store::{PAGE_BYTES, Page};
use pagefold_sys::{
    faults::{self, Access, FaultSignal},
    memory::{self, CoreDump, Reservation},
    pages,
    userfault::{Delivery, FEATURE_WP, Protection, Userfault},
};

use super::{Backing, Forked, Found, runs, spans};
use crate::table::PageIndex;

/// Pages between the first and the last that one call protects: it looks at each.
const SPAN_MAX: usize = 512;

/// # Invariants
/// The memory is registered with the descriptor, and unmapped before the descriptor is closed: with the last one closed, missing
/// pages would be zeros.
#[derive(Debug)]
pub(crate) struct Inline {
    /// `Some` until dropped.
    memory: Option<Reservation>,
    userfault: Userfault,
    delivery: Delivery,
    base: NonNull<u8>,
    pages: usize,
}

// SAFETY: addresses and a descriptor; all access is by system calls.
unsafe impl Send for Inline {}
// SAFETY: as above.
unsafe impl Sync for Inline {}

impl Inline {
    pub(crate) fn new(pages: usize, delivery: Delivery) -> io::Result<Self> {
        let userfault = Userfault::open(delivery, FEATURE_WP)?;
        let bytes = pages * PAGE_BYTES;
        let other = |error| io::Error::other(error);
        let memory = memory::reserve(bytes, PAGE_BYTES, CoreDump::Include).map_err(other)?;
        let base = memory.base();
        let inline = Self { memory: Some(memory), userfault, delivery, base, pages };
        if let Some(memory) = &inline.memory {
            memory::commit(memory, 0..bytes).map_err(other)?;
        }
        let range = inline.range(&(0..pages));
        // A child would read missing pages as zeros, without any signal.
        // SAFETY: this backing's own mapping.
        unsafe { pages::keep_from_children(&range) }?;
        // SAFETY: this backing's own mapping, anonymous and private; the region serves its faults.
        unsafe { inline.userfault.register(range.start, range.len()) }?;
        Ok(inline)
    }

    fn protect(&self, pages: &Range<usize>, protection: Protection) -> io::Result<()> {
        let range = self.range(pages);
        // SAFETY: registered memory of this backing.
        unsafe { self.userfault.protect(range.start, range.len(), protection) }
    }
}

fn protection(clean: bool) -> Protection {
    if clean { Protection::Protected } else { Protection::Writable }
}

impl Backing for Inline {
    fn base(&self) -> NonNull<u8> {
        self.base
    }

    fn pages(&self) -> usize {
        self.pages
    }

    fn sees_writes(&self) -> bool {
        true
    }

    fn unmaps_chosen(&self) -> bool {
        false
    }

    fn place(&self, page: PageIndex, content: &Page, clean: bool) -> io::Result<()> {
        // SAFETY: the caller has the claim of the page.
        unsafe { self.userfault.copy(self.address(page), content, protection(clean)) }.map(drop)
    }

    fn place_run(&self, first: PageIndex, content: &[Page], clean: bool) -> io::Result<usize> {
        let (bytes, start) = (content.as_flattened(), self.address(first));
        // SAFETY: the caller has the claims of the pages.
        let copied = unsafe { self.userfault.copy(start, bytes, protection(clean)) }?;
        Ok(copied / PAGE_BYTES)
    }

    fn place_zeros(&self, page: PageIndex) -> io::Result<()> {
        // SAFETY: the caller has the claim of the page.
        unsafe { self.userfault.zero(self.address(page), PAGE_BYTES) }
    }

    fn refresh(&self, page: PageIndex, access: Access) -> io::Result<Found> {
        let found = match self.place_zeros(page) {
            Ok(()) => Found::Gone,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Found::There,
            Err(error) => return Err(error),
        };
        if access == Access::Write && found == Found::There {
            self.protect(&(page.0..page.0 + 1), Protection::Writable)?;
        }
        if self.delivery == Delivery::Event {
            self.userfault.wake(self.address(page), PAGE_BYTES);
        }
        Ok(found)
    }

    fn rescue(&self, page: PageIndex, access: Access) -> io::Result<Found> {
        self.refresh(page, access)
    }

    fn choose(&self, pages: &[PageIndex], is_pinned: &dyn Fn(PageIndex) -> bool) -> io::Result<()> {
        spans(pages, is_pinned, SPAN_MAX, |span| self.protect(&span, Protection::Protected))
    }

    fn read(&self, pages: &[PageIndex], into: &mut [Page]) -> io::Result<usize> {
        let mut done = 0;
        for pages in pages.chunks(pages::RANGES_MAX) {
            let mut from = [0; pages::RANGES_MAX];
            for (from, page) in from.iter_mut().zip(pages) {
                *from = self.address(*page);
            }
            let into = into[done..done + pages.len()].as_flattened_mut();
            // SAFETY: chosen pages, to which no thread writes without a claim.
            let read = unsafe { pages::read_self(&from[..pages.len()], PAGE_BYTES, into) }?;
            done += read / PAGE_BYTES;
            if read < pages.len() * PAGE_BYTES {
                break;
            }
        }
        Ok(done)
    }

    fn forget(&self, pages: &[PageIndex]) -> Result<(), (usize, io::Error)> {
        let mut batch: [Range<usize>; pages::RANGES_MAX] = std::array::from_fn(|_| 0..0);
        let mut count = 0;
        let drop_all = |ranges: &[Range<usize>]| {
            // SAFETY: pages of this backing that the caller has claimed, and has elsewhere.
            unsafe { pages::drop_all(ranges) }
        };
        let together = runs(pages, |_, run| {
            batch[count] = self.range(&run);
            count += 1;
            if count == batch.len() {
                count = 0;
                return drop_all(&batch);
            }
            Ok(())
        });
        if together.and_then(|()| drop_all(&batch[..count])).is_ok() {
            return Ok(());
        }
        // A call that fails may have dropped a part of a run: one by one, those that are gone once more.
        for (at, page) in pages.iter().enumerate() {
            drop_all(&[self.range(&(page.0..page.0 + 1))]).map_err(|error| (at, error))?;
        }
        Ok(())
    }

    fn discard(&self, pages: &[PageIndex]) -> Result<(), (usize, io::Error)> {
        self.forget(pages)
    }

    fn open(&self, pages: &Range<usize>) -> io::Result<()> {
        self.protect(pages, Protection::Writable)
    }

    fn signal(&self) -> Option<FaultSignal> {
        (self.delivery == Delivery::Signal).then_some(FaultSignal::Bus)
    }

    fn events(&self) -> Option<&Userfault> {
        (self.delivery == Delivery::Event).then_some(&self.userfault)
    }

    fn forked(&self) -> Option<&dyn Forked> {
        Some(self)
    }
}

impl Forked for Inline {
    fn show_to_children(&self, shown: bool) -> io::Result<()> {
        let range = self.range(&(0..self.pages));
        if shown {
            // SAFETY: this backing's own mapping; `renew` sees to the copy.
            unsafe { pages::show_to_children(&range) }
        } else {
            // SAFETY: as above.
            unsafe { pages::keep_from_children(&range) }
        }
    }

    fn renew(&self) -> io::Result<()> {
        self.userfault.replace_in_child(self.delivery)?;
        let range = self.range(&(0..self.pages));
        // SAFETY: as in `new`.
        unsafe { self.userfault.register(range.start, range.len()) }?;
        // A part that a call from outside unmapped is an error; the rest is kept.
        let _ = self.show_to_children(false);
        Ok(())
    }

    fn hide(&self) {
        // SAFETY: this backing's own mapping, which ends with it; a region that is not here has no user but touches that must end.
        // It fails without memory for a mapping: then the child ends now.
        if unsafe { pages::hide(&self.range(&(0..self.pages))) }.is_err() {
            faults::die("pagefold-region: pages of a snapshot that fails: ", self.pages, "ENOMEM");
        }
    }
}

impl Drop for Inline {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            // SAFETY: from `reserve`, once; the region has ended, and before the descriptor is closed.
            unsafe { memory::release(memory) };
        }
    }
}
