//! What the child of a fork has of a region.
//!
//! ```text
//!  prepare   every gate is closed and empty: signals wait; children get the range
//!  parent    children no longer get it; signals come
//!  child     descriptor, registration, words, credits, threads; signals come; gates open
//! ```
//! See `docs/REGION.md`, section *Fork*.

use std::{cell::Cell, io, mem::ManuallyDrop, sync::Arc};

#[cfg(not(loom))]
use pagefold_sys::quiesce::{ForkHooks, set_fork_hooks};
use pagefold_sys::{quiesce::fork_generation, signals::Blocked, sync::Ordering};

use crate::{
    core::Core,
    registry,
    resolve::written,
    server,
    table::PageIndex,
    word::{State, Word},
};

/// Clean pages that are protected by one call of the backing.
const PROTECT_MAX: usize = 512;

/// What the child of a fork has of a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ForkPolicy {
    /// Nothing: the addresses are not mapped, and a touch is `SIGSEGV`, never zeros. Dropping the region there does nothing.
    #[default]
    Hide,
    /// All of it, as it was at the fork: from then on parent and child each see their own writes, cold pages included. Each has
    /// the limits and the threads; the pages and the store are copied where one of them writes.
    ///
    /// Not with [`FaultMode::Guard`](crate::FaultMode::Guard), and not with a store that has a backing. A fork waits until no thread changes
    /// a page; if that takes longer than 5 s ([`set_fork_wait`](pagefold_sys::quiesce::set_fork_wait)), or the child gets no
    /// userfaultfd or no threads, this child has the region as with `Hide`. So has one that was made by `clone` or `_Fork`, which run no handlers of
    /// `pthread_atfork`. Such handlers must not touch the region if they were registered before it was built.
    Snapshot,
}

thread_local! {
    /// Of the thread that forks, which is one thread in parent and child.
    static BLOCKED: Cell<Option<ManuallyDrop<Blocked>>> = const { Cell::new(None) };
}

/// Forks pass through here from now on.
#[cfg(not(loom))]
pub(crate) fn install() {
    // False: they are set already, by an earlier region.
    let _ = set_fork_hooks(ForkHooks { prepare, parent, child });
}

/// A model forks by itself.
#[cfg(loom)]
pub(crate) fn install() {
    let _hooks: (fn(), fn(), fn(bool)) = (prepare, parent, child);
}

fn prepare() {
    BLOCKED.set(Some(ManuallyDrop::new(Blocked::new())));
    show_to_children(true);
}

fn parent() {
    show_to_children(false);
    unblock();
}

fn unblock() {
    drop(BLOCKED.take().map(ManuallyDrop::into_inner));
}

/// Regions of which this process has the pages, with snapshots.
fn each_of(generation: u64, mut f: impl FnMut(&Arc<Core>)) {
    // SAFETY: while a fork is under way every gate is closed.
    unsafe {
        registry::each(|core| {
            if core.settings.snapshots && core.generation() == generation {
                f(core);
            }
        });
    }
}

fn show_to_children(shown: bool) {
    each_of(fork_generation(), |core| {
        if let Some(forked) = core.backing.forked() {
            // A part that a call from outside unmapped is an error; the rest is shown. What is not shown is not there in the child.
            let _ = forked.show_to_children(shown);
        }
    });
}

fn child(is_snapshot: bool) {
    registry::forget_handlers();
    if is_snapshot {
        let generation = fork_generation();
        each_of(generation - 1, |core| {
            let renewed = renew(core, generation);
            if let (Err(_), Some(forked)) = (renewed, core.backing.forked()) {
                forked.hide();
            }
        });
    }
    unblock();
}

/// The copy is this process's region from now on.
fn renew(core: &Arc<Core>, generation: u64) -> io::Result<()> {
    core.backing.forked().ok_or(io::ErrorKind::Unsupported)?.renew()?;
    correct(core);
    server::start_in_child(core)?;
    // ORDERING: Relaxed; its readers are this thread and those that it starts.
    core.generation.store(generation, Ordering::Relaxed);
    Ok(())
}

/// What is true of a page in the child: its copy has no protection, and a claim that was posted has no owner.
pub(crate) fn in_child(word: Word) -> Word {
    let word = word.waited(false);
    match word.state() {
        State::Limbo => written(word),
        State::Busy => word.with_state(State::Compressed),
        _ => word,
    }
}

/// Words, credits and counts of a region whose other threads do not exist. No gate is open.
fn correct(core: &Core) {
    let (mut there, mut kept) = (0, 0);
    let mut clean = Vec::with_capacity(PROTECT_MAX);
    for page in (0..core.table.len()).map(PageIndex) {
        let seen = core.table.load(page);
        let word = in_child(seen);
        if word != seen {
            core.table.set(page, word);
        }
        match word.state() {
            State::Resident => {
                there += 1;
                kept += usize::from(word.is_stale());
            }
            State::Clean => {
                there += 1;
                kept += 1;
                clean.push(page);
                if clean.len() == PROTECT_MAX {
                    protect(core, &mut clean);
                }
            }
            _ => {}
        }
    }
    protect(core, &mut clean);
    core.mailbox.clear();
    core.credits.reset(there);
    // ORDERING: Relaxed; the process has one thread.
    core.kept.store(kept, Ordering::Relaxed);
    core.evictor.reset();
    core.server.reset();
}

/// Writes to clean pages are faults again.
fn protect(core: &Core, clean: &mut Vec<PageIndex>) {
    let is_pinned = |page: PageIndex| core.table.load(page).pins() > 0;
    if core.backing.choose(clean, &is_pinned).is_err() {
        // A part that a call from outside unmapped. They are as if they had been written.
        clean.iter().for_each(|page| core.table.set(*page, written(core.table.load(*page))));
    }
    clean.clear();
}
