//! The region's own threads: they evict, bring pages that must be waited for, and serve events.

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use pagefold_store::{GetError, PAGE_BYTES};
use pagefold_sys::{faults, faults::Access, signals::Blocked};

use crate::{
    core::Core,
    evict::{self, Evictor},
    failure::FailurePolicy,
    resolve::{self, Outcome},
    table::{Claim, PageIndex},
    word::State,
};

/// How often a thread looks without being woken.
const NAP: Duration = Duration::from_millis(100);
/// Between two tries to make room.
const ROOM_NAP: Duration = Duration::from_millis(5);
/// Between two warnings.
const WARN_EVERY: Duration = Duration::from_secs(5);

/// Without the region's threads, faults would wait for ever.
struct EndsTheProcess;

impl Drop for EndsTheProcess {
    fn drop(&mut self) {
        if thread::panicking() {
            faults::die("pagefold-region: threads that panicked: ", 1, "faults cannot be served");
        }
    }
}

/// The region's threads end when this is dropped.
#[derive(Debug)]
pub(crate) struct Threads {
    core: Arc<Core>,
}

impl Threads {
    pub(crate) fn start(core: &Arc<Core>) -> io::Result<Self> {
        let threads = Self { core: Arc::clone(core) };
        start(core)?;
        Ok(threads)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.core.evictor.end();
        self.core.server.end();
        let threads = std::mem::take(&mut *self.core.threads.lock());
        for thread in threads {
            // One that panicked has ended the process.
            let _ = thread.join();
        }
    }
}

fn start(core: &Arc<Core>) -> io::Result<()> {
    // The threads inherit the mask: handlers of the program do not run on them.
    let _blocked = Blocked::new();
    for _ in 0..core.settings.evictors {
        add(core, "pagefold-evict", evict)?;
    }
    add(core, "pagefold-fetch", bring_posted)?;
    if core.backing.events().is_some() {
        add(core, "pagefold-fault", serve_events)?;
    }
    Ok(())
}

/// Each thread has a reference to the core until it ends.
fn add(core: &Arc<Core>, name: &str, run: fn(&Core)) -> io::Result<()> {
    let own = Arc::clone(core);
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        let _ends = EndsTheProcess;
        run(&own);
    })?;
    core.threads.lock().push(thread);
    Ok(())
}

/// In the child of a fork the parent's threads do not exist. The gates are closed.
pub(crate) fn start_in_child(core: &Arc<Core>) -> io::Result<()> {
    let before = std::mem::take(&mut *core.threads.lock());
    for thread in before {
        std::mem::forget(thread);
        // SAFETY: the reference that this thread had on its stack, one each, see `add`: a region that is registered has not ended its
        // threads. No code of this process can drop it.
        unsafe { Arc::decrement_strong_count(Arc::as_ptr(core)) };
    }
    let started = start(core);
    if started.is_err() {
        // Those that did start wait at a gate that this thread has closed: they end later, without being joined.
        core.evictor.end();
        core.server.end();
        core.threads.lock().drain(..).for_each(drop);
    }
    started
}

/// How long threads have waited for pages to leave memory, or for one to come.
#[derive(Default)]
struct Stuck {
    since: Option<Instant>,
    warned: Option<Instant>,
}

impl Stuck {
    /// Whether the process must end, by its [`FailurePolicy`].
    fn is_over(&mut self, core: &Core, cause: &str) -> bool {
        let since = *self.since.get_or_insert_with(Instant::now);
        if self.warned.is_none_or(|warned| warned.elapsed() >= WARN_EVERY) {
            self.warned = Some(Instant::now());
            tracing::warn!(cause, "threads wait");
        }
        match core.settings.failure {
            FailurePolicy::AbortAfter(time) => since.elapsed() >= time,
            FailurePolicy::Block => false,
        }
    }

    /// No page can leave memory.
    fn note(&mut self, core: &Core, cause: &str) {
        if self.is_over(core, cause) {
            faults::die(
                "pagefold-region: pages in memory that cannot leave it: ",
                core.credits.used(),
                cause,
            );
        }
    }

    fn end(&mut self) {
        *self = Self::default();
    }
}

fn evict(core: &Core) {
    let mut evictor = Evictor::new();
    let mut stuck = Stuck::default();
    while !core.evictor.has_ended() {
        core.evictor.sleep(|| core.is_low(), NAP);
        while core.is_low() || (core.credits.free() < core.high_credits() && stuck.since.is_none())
        {
            if core.evictor.has_ended() {
                return;
            }
            match evictor.step(core) {
                Ok(true) => stuck.end(),
                Ok(false) if core.credits.has_waiters() => {
                    stuck.note(core, "they are pinned, locked, or being changed");
                    thread::sleep(ROOM_NAP);
                }
                Ok(false) => break,
                Err(evict::Full) => {
                    if core.credits.has_waiters() {
                        stuck.note(core, "the store is full");
                    }
                    make_room(core);
                }
            }
        }
    }
}

/// The store is full: what it has twice goes first.
fn make_room(core: &Core) {
    let wanted = core.store.limit() / 16;
    let enough = || core.store.resident() + wanted < core.store.limit();
    evict::drop_copies(core, enough);
    if !enough() {
        // A closing gate of the store keeps no thread out that others wait for.
        let entered = core.enter_to_help();
        core.store.shrink(wanted);
        core.store.compact(wanted);
        drop(entered);
        core.evictor.sleep(|| false, ROOM_NAP);
    }
}

fn bring_posted(core: &Core) {
    let mut content = Box::new([0; PAGE_BYTES]);
    while !core.server.has_ended() {
        core.server.sleep(|| !core.mailbox.is_empty(), NAP);
        loop {
            let _entered = core.enter_to_help();
            let Some((page, access)) = core.mailbox.take() else { break };
            bring(core, page, access, &mut content);
        }
    }
}

/// Brings a page whose claim and credit a handler posted.
fn bring(core: &Core, page: PageIndex, access: Access, content: &mut pagefold_store::Page) {
    let mut stuck = Stuck::default();
    loop {
        match core.space.get(page.key(), content) {
            Ok(()) => break,
            Err(error @ (GetError::Io(_) | GetError::Timeout)) => {
                if stuck.is_over(core, "the store's backing does not give a page") {
                    core.die(page, &error);
                }
                thread::sleep(ROOM_NAP);
            }
            Err(error) => core.die(page, &error),
        }
    }
    let word = core.table.load(page).waited(false).with_state(State::Compressed);
    // INVARIANT: the handler that posted it had the claim.
    let claim = Claim { page, word };
    if let Err(outcome) = resolve::place(core, claim, content, access) {
        // Released. The thread that waits faults again, with a credit of its own.
        if !matches!(outcome, Outcome::Placed(_)) {
            core.credits.give(1);
        }
    }
}

fn serve_events(core: &Core) {
    let Some(userfault) = core.backing.events() else { return };
    let base = core.backing.base().addr().get();
    while !core.server.has_ended() {
        match userfault.next_event(50) {
            Ok(Some(event)) => {
                let page = PageIndex((event.address - base) / PAGE_BYTES);
                let access = if event.is_write { Access::Write } else { Access::Read };
                resolve::resolve_for_others(core, page, access);
                userfault.wake(core.backing.address(page), PAGE_BYTES);
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(%error, "faults of a region cannot be read");
                thread::sleep(NAP);
            }
        }
    }
}
