//! Which region an address belongs to. Handlers look here; the array never moves.
//!
//! A region is entered and removed by its owner. A handler counts itself inside before it uses a region, and the owner waits for that
//! count after the removal.

use std::{
    ptr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicPtr, AtomicUsize, Ordering},
    },
};

use pagefold_store::PAGE_BYTES;
use pagefold_sys::{
    faults::{self, Fault, FaultSignal},
    quiesce,
    sync::yield_now,
};

use crate::{
    core::Core,
    resolve::{Resolved, resolve},
    table::PageIndex,
};

/// Regions of a process at one time.
pub(crate) const REGIONS_MAX: usize = 64;

struct Entry {
    core: AtomicPtr<Core>,
    start: AtomicUsize,
    end: AtomicUsize,
    inside: AtomicUsize,
}

static ENTRIES: [Entry; REGIONS_MAX] = [const {
    Entry {
        core: AtomicPtr::new(ptr::null_mut()),
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        inside: AtomicUsize::new(0),
    }
}; REGIONS_MAX];

/// Of owners, and of installing handlers.
static OWNERS: Mutex<()> = Mutex::new(());

/// A region's place; removed when dropped.
#[derive(Debug)]
pub(crate) struct Registered {
    number: usize,
}

/// Enters a region; `None` if there are too many. The core stays where it is until the result is dropped.
pub(crate) fn register(core: &Core) -> Option<Registered> {
    let _owners = OWNERS.lock().unwrap_or_else(PoisonError::into_inner);
    // ORDERING: SeqCst, all of this file: a handler's count and look, and the owner's removal and look, are in one order.
    let is_free = |entry: &Entry| entry.core.load(Ordering::SeqCst).is_null();
    let number = ENTRIES.iter().position(is_free)?;
    let start = core.backing.base().addr().get();
    ENTRIES[number].start.store(start, Ordering::SeqCst);
    ENTRIES[number].end.store(start + core.backing.pages() * PAGE_BYTES, Ordering::SeqCst);
    ENTRIES[number].core.store(ptr::from_ref(core).cast_mut(), Ordering::SeqCst);
    Some(Registered { number })
}

impl Drop for Registered {
    fn drop(&mut self) {
        let _owners = OWNERS.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = &ENTRIES[self.number];
        entry.end.store(0, Ordering::SeqCst);
        entry.core.store(ptr::null_mut(), Ordering::SeqCst);
        while entry.inside.load(Ordering::SeqCst) > 0 {
            yield_now();
        }
    }
}

/// Faults reach the regions from now on.
pub(crate) fn install(signal: FaultSignal) -> std::io::Result<()> {
    let _owners = OWNERS.lock().unwrap_or_else(PoisonError::into_inner);
    faults::install(signal, serve)
}

/// In a handler.
fn serve(fault: &Fault) -> bool {
    ENTRIES.iter().any(|entry| {
        let is_inside = || {
            (entry.start.load(Ordering::SeqCst)..entry.end.load(Ordering::SeqCst))
                .contains(&fault.address)
        };
        if !is_inside() {
            return false;
        }
        entry.inside.fetch_add(1, Ordering::SeqCst);
        let core = entry.core.load(Ordering::SeqCst);
        // SAFETY: not removed, and its owner waits for `inside` before it drops the core.
        let served =
            is_inside() && unsafe { core.as_ref() }.is_some_and(|core| serve_in(core, fault));
        entry.inside.fetch_sub(1, Ordering::SeqCst);
        served
    })
}

fn serve_in(core: &Core, fault: &Fault) -> bool {
    // In a fork's child the pages are not there, and what served them neither.
    if core.generation != quiesce::fork_generation() || core.backing.signal() != Some(fault.signal)
    {
        return false;
    }
    let page = (fault.address - core.backing.base().addr().get()) / PAGE_BYTES;
    matches!(resolve(core, PageIndex(page), fault.access), Resolved::Served(_))
}
