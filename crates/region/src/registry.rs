//! Which region an address belongs to. Handlers look here; the array never moves.
//!
//! A region is entered and removed by its owner. A handler counts itself inside before it uses a region, and the owner waits for that
//! count after the removal.

use std::{
    mem::ManuallyDrop,
    ptr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicPtr, AtomicUsize, Ordering},
    },
};

use pagefold_store::PAGE_BYTES;
use pagefold_sys::{
    faults::{self, Fault, FaultSignal},
    quiesce::Gate,
    sync::yield_now,
};

use crate::{
    core::Core,
    resolve::{Resolved, resolve},
    table::PageIndex,
};

/// Regions of a process at one time.
pub(crate) const REGIONS_MAX: usize = 64;

/// Free while `start` is 0.
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

/// Of owners, and of installing handlers. Locked inside the gate of a region, so that a fork leaves it free.
static OWNERS: Mutex<()> = Mutex::new(());

/// A region's place; removed when dropped.
#[derive(Debug)]
pub(crate) struct Registered {
    number: usize,
}

/// Enters a region; `None` if there are too many, or in the child of a fork that did not wait. The core lives until the result is
/// dropped.
pub(crate) fn register(core: &Arc<Core>) -> Option<Registered> {
    let _entered = core.gate.enter().ok()?;
    let _owners = OWNERS.lock().unwrap_or_else(PoisonError::into_inner);
    // ORDERING: SeqCst, all of this file: a handler's count and look, and the owner's removal and look, are in one order.
    let is_free = |entry: &Entry| entry.start.load(Ordering::SeqCst) == 0;
    let number = ENTRIES.iter().position(is_free)?;
    let start = core.backing.base().addr().get();
    ENTRIES[number].start.store(start, Ordering::SeqCst);
    ENTRIES[number].end.store(start + core.backing.pages() * PAGE_BYTES, Ordering::SeqCst);
    ENTRIES[number].core.store(Arc::as_ptr(core).cast_mut(), Ordering::SeqCst);
    Some(Registered { number })
}

impl Drop for Registered {
    fn drop(&mut self) {
        let entry = &ENTRIES[self.number];
        {
            // SAFETY: by the contract of `register` the core lives.
            let core = unsafe { &*entry.core.load(Ordering::SeqCst) };
            // A fork finds the entry with a core that lives, or none. The owner has the pages, so the gate is not abandoned.
            let _entered = core.gate.enter();
            let _owners = OWNERS.lock().unwrap_or_else(PoisonError::into_inner);
            entry.end.store(0, Ordering::SeqCst);
            entry.core.store(ptr::null_mut(), Ordering::SeqCst);
        }
        // Outside of the gate, which those that are inside may have to enter.
        while entry.inside.load(Ordering::SeqCst) > 0 {
            yield_now();
        }
        entry.start.store(0, Ordering::SeqCst);
    }
}

/// Calls `f` for each region.
///
/// # Safety
/// This thread is forking, and no other is inside a gate: no owner removes its region.
pub(crate) unsafe fn each(mut f: impl FnMut(&Arc<Core>)) {
    for entry in &ENTRIES {
        let core = entry.core.load(Ordering::SeqCst);
        if !core.is_null() {
            // SAFETY: from `Arc::as_ptr`; its owner keeps it while it is in the entry. The count is not changed.
            let core = ManuallyDrop::new(unsafe { Arc::from_raw(core.cast_const()) });
            f(&core);
        }
    }
}

/// In the child of a fork: handlers of other threads are not there.
pub(crate) fn forget_handlers() {
    ENTRIES.iter().for_each(|entry| entry.inside.store(0, Ordering::SeqCst));
}

/// Faults reach the regions from now on.
pub(crate) fn install(signal: FaultSignal, gate: &Gate) -> std::io::Result<()> {
    let _entered = gate.enter().map_err(std::io::Error::other)?;
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
    // In a fork's child without a snapshot the pages are not there, and what served them neither.
    if !core.is_here() || core.backing.signal() != Some(fault.signal) {
        return false;
    }
    let page = (fault.address - core.backing.base().addr().get()) / PAGE_BYTES;
    matches!(resolve(core, PageIndex(page), fault.access), Resolved::Served(_))
}
