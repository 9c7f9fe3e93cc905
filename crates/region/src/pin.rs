//! Ranges that stay in memory.

use std::{
    ops::{Deref, DerefMut, Range},
    slice,
};

use pagefold_store::PAGE_BYTES;
use pagefold_sys::{
    faults::Access,
    sync::{Ordering, yield_now},
};

use crate::{
    core::{BATCH, Core},
    error::RangeError,
    resolve::{Resolved, resolve},
    table::PageIndex,
    word::{PINS_MAX, State},
};

/// Pages that are pinned until this is dropped.
#[derive(Debug)]
pub(crate) struct Pins<'a> {
    core: &'a Core,
    pages: Range<usize>,
}

/// Pages that can be pinned at a time: what is left moves.
pub(crate) fn pins_max(core: &Core) -> usize {
    core.credits.limit().saturating_sub(2 * BATCH)
}

pub(crate) fn pin(core: &Core, pages: Range<usize>) -> Result<Pins<'_>, RangeError> {
    let most = pins_max(core);
    let more = |pinned: usize| (pinned + pages.len() <= most).then_some(pinned + pages.len());
    // ORDERING: Relaxed; a count.
    if core.pinned.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
        let wanted = pages.len() * PAGE_BYTES;
        return Err(RangeError::Pins { wanted, most: most * PAGE_BYTES });
    }
    let mut pins = Pins { core, pages: pages.start..pages.start };
    for page in pages.clone() {
        if !pin_page(core, PageIndex(page)) {
            let rest = pages.end - page;
            core.pinned.fetch_sub(rest, Ordering::Relaxed);
            return Err(RangeError::Unmapped);
        }
        pins.pages.end = page + 1;
    }
    // An evictor that chooses pages now either has seen the pins, or has ended when this lock is free. It may have protected pages
    // between those that it chose.
    {
        let _entered = core.enter();
        drop(core.hand.lock());
    }
    core.backing.open(&pages).map_err(|_| RangeError::Unmapped)?;
    Ok(pins)
}

fn pin_page(core: &Core, page: PageIndex) -> bool {
    loop {
        let word = core.table.load(page);
        match word.state() {
            State::Busy => core.table.wait(page),
            State::Resident if word.pins() < PINS_MAX => {
                if core.table.amend(page, word, word.with_pins(word.pins() + 1)) {
                    return true;
                }
            }
            State::Resident => yield_now(),
            _ => {
                if resolve(core, page, Access::Write) == Resolved::Gone {
                    return false;
                }
            }
        }
    }
}

fn unpin_page(core: &Core, page: PageIndex) {
    loop {
        let word = core.table.load(page);
        if word.state() == State::Busy {
            core.table.wait(page);
        } else if core.table.amend(page, word, word.with_pins(word.pins().saturating_sub(1))) {
            return;
        }
    }
}

impl Drop for Pins<'_> {
    fn drop(&mut self) {
        self.pages.clone().for_each(|page| unpin_page(self.core, PageIndex(page)));
        // ORDERING: Relaxed; a count.
        self.core.pinned.fetch_sub(self.pages.len(), Ordering::Relaxed);
    }
}

/// A range of a region that is in memory, and stays there until this is dropped. System calls may read it.
#[derive(Debug)]
#[must_use = "the range may leave memory when this is dropped"]
pub struct Pinned<'a> {
    pub(crate) _pins: Pins<'a>,
    pub(crate) bytes: &'a [u8],
}

impl Deref for Pinned<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes
    }
}

/// As [`Pinned`], and system calls and devices may write it.
#[derive(Debug)]
#[must_use = "the range may leave memory when this is dropped"]
pub struct PinnedMut<'a> {
    pub(crate) _pins: Pins<'a>,
    pub(crate) start: *mut u8,
    pub(crate) len: usize,
}

// SAFETY: as a mutable slice of bytes, which it borrows exclusively.
unsafe impl Send for PinnedMut<'_> {}
// SAFETY: as above.
unsafe impl Sync for PinnedMut<'_> {}

impl Deref for PinnedMut<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: made from an exclusive borrow of the region for `'a`, which these bytes are a part of; always initialised.
        unsafe { slice::from_raw_parts(self.start, self.len) }
    }
}

impl DerefMut for PinnedMut<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and exclusive by `&mut self`.
        unsafe { slice::from_raw_parts_mut(self.start, self.len) }
    }
}
