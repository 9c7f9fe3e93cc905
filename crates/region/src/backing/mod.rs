//! What holds the pages of a region, and makes a touch of a missing one a fault.
//!
//! | backing | memory | a missing page is | chosen pages (limbo) |
//! |---|---|---|---|
//! | `inline` | anonymous, userfaultfd | `SIGBUS` in the thread | stay mapped, write-protected |
//! | `inline`, by events | anonymous, userfaultfd | an event for the region's own thread | the same |
//! | `guard` | a file in memory | `SIGSEGV` in the thread, a guard page | unmapped, in the file |
//!
//! All methods need the claims of the pages that they are called for. They allocate nothing; those for faults are async-signal-safe.

pub(crate) mod guard;
pub(crate) mod inline;

use std::{fmt::Debug, io, ops::Range, ptr::NonNull};

use pagefold_store::{PAGE_BYTES, Page};
use pagefold_sys::{
    faults::{Access, FaultSignal},
    userfault::Userfault,
};

use crate::table::PageIndex;

/// What a page that should be there was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// There: another thread had served it, or it was protected.
    There,
    /// Gone, by a call from outside of the region; it is zeros now.
    Gone,
}

pub(crate) trait Backing: Send + Sync + Debug {
    fn base(&self) -> NonNull<u8>;

    /// In pages.
    fn pages(&self) -> usize;

    /// Whether a write to a clean page is a fault, so that clean pages are known.
    fn sees_writes(&self) -> bool;

    /// Whether a page that was chosen to go is unmapped: each touch is then a fault.
    fn unmaps_chosen(&self) -> bool;

    /// Places one page; `clean`: its first write is a fault.
    fn place(&self, page: PageIndex, content: &Page, clean: bool) -> io::Result<()>;

    /// Places pages beside each other; how many.
    fn place_run(&self, first: PageIndex, content: &[Page], clean: bool) -> io::Result<usize>;

    /// Places a page of zeros.
    fn place_zeros(&self, page: PageIndex) -> io::Result<()>;

    /// After a fault on a page that should be there: it can be touched so afterwards.
    fn refresh(&self, page: PageIndex, access: Access) -> io::Result<Found>;

    /// Brings a chosen page back, for any access.
    fn rescue(&self, page: PageIndex, access: Access) -> io::Result<Found>;

    /// Pages are chosen to go: nothing can change their content from now on without a fault. Sorted; `is_pinned` pages keep their
    /// protection. Pages between them may become protected or unmapped too.
    fn choose(&self, pages: &[PageIndex], is_pinned: &dyn Fn(PageIndex) -> bool) -> io::Result<()>;

    /// Copies chosen pages out; how many, before one that is gone.
    fn read(&self, pages: &[PageIndex], into: &mut [Page]) -> io::Result<usize>;

    /// Takes pages out of memory. Sorted.
    ///
    /// # Errors
    /// How many were, before the one that could not be.
    fn forget(&self, pages: &[PageIndex]) -> Result<(), (usize, io::Error)>;

    /// Takes pages out of memory that may be touched meanwhile; afterwards a touch is a fault. Sorted.
    ///
    /// # Errors
    /// As [`forget`](Self::forget).
    fn discard(&self, pages: &[PageIndex]) -> Result<(), (usize, io::Error)>;

    /// Pinned pages can be touched and written by the kernel too.
    fn open(&self, pages: &Range<usize>) -> io::Result<()>;

    /// As which signal faults come; `None` if they are events.
    fn signal(&self) -> Option<FaultSignal>;

    /// `None` unless faults are events.
    fn events(&self) -> Option<&Userfault>;

    /// `None` if a child would share the pages.
    fn forked(&self) -> Option<&dyn Forked> {
        None
    }

    fn address(&self, page: PageIndex) -> usize {
        self.base().addr().get() + page.0 * PAGE_BYTES
    }

    fn range(&self, pages: &Range<usize>) -> Range<usize> {
        self.address(PageIndex(pages.start))..self.address(PageIndex(pages.end))
    }
}

/// What a backing does around a fork whose child gets a copy of the pages.
pub(crate) trait Forked {
    /// Whether children of later forks get the range. At first they do not.
    fn show_to_children(&self, shown: bool) -> io::Result<()>;

    /// In the child: touches of missing pages are faults of this process. No page is protected. Later children do not get the range.
    fn renew(&self) -> io::Result<()>;

    /// In the child: a touch ends it, for ever.
    fn hide(&self);
}

/// Calls `f` for each run of neighbours, with the number of pages before it.
pub(crate) fn runs<E>(
    pages: &[PageIndex],
    mut f: impl FnMut(usize, Range<usize>) -> Result<(), E>,
) -> Result<(), E> {
    let mut done = 0;
    for run in pages.chunk_by(|one, next| one.0 + 1 == next.0) {
        f(done, run[0].0..run[0].0 + run.len())?;
        done += run.len();
    }
    Ok(())
}

/// Calls `f` for the spans that cover all pages and no pinned one.
pub(crate) fn spans<E>(
    pages: &[PageIndex],
    is_pinned: &dyn Fn(PageIndex) -> bool,
    span_max: usize,
    mut f: impl FnMut(Range<usize>) -> Result<(), E>,
) -> Result<(), E> {
    let mut rest = pages;
    while let Some(first) = rest.first() {
        let mut count = 1;
        while let Some(next) = rest.get(count) {
            let between = rest[count - 1].0 + 1..next.0;
            let is_near = next.0 - first.0 < span_max;
            if !is_near || between.into_iter().any(|page| is_pinned(PageIndex(page))) {
                break;
            }
            count += 1;
        }
        f(first.0..rest[count - 1].0 + 1)?;
        rest = &rest[count..];
    }
    Ok(())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn runs_and_spans_cover_each_page_once() {
        let pages = [1, 2, 3, 7, 8, 20, 300].map(PageIndex);
        let mut seen = Vec::new();
        let Ok(()) = runs(&pages, |before, run| {
            seen.push((before, run));
            Ok::<(), Infallible>(())
        });
        assert_eq!(seen, [(0, 1..4), (3, 7..9), (5, 20..21), (6, 300..301)]);

        let mut seen = Vec::new();
        let pinned = |page: PageIndex| page.0 == 10;
        let Ok(()) = spans(&pages, &pinned, 256, |span| {
            seen.push(span);
            Ok::<(), Infallible>(())
        });
        assert_eq!(seen, [1..9, 20..21, 300..301]);
    }
}
