//! The gates of the process, and how a fork closes and opens them.
//!
//! The list only grows; a new gate reuses a dropped one's node. Changes lock `LIST`. A fork locks it from all gates
//! quiet to its end, so no child finds the list half changed. `LIST` is a word: one function locks, another unlocks.
//!
//! ```text
//!  prepare   FORKER = me; close every gate; lock LIST; until all quiet or out of time: unlock LIST, wait, lock LIST; hook if quiet
//!  parent    hook if quiet; open; FORKER = 0; unlock LIST
//!  child     generation + 1; only this thread's operations, or abandon; hook; open; FORKER = 0; unlock LIST
//! ```

use std::{
    io,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{
    ForkHooks, all,
    deadline::Deadline,
    node::{LEFT, Node},
    thread,
};
use crate::sync::{epoch, wait, wake_all};

struct Link {
    node: Node,
    used: AtomicBool,
    next: OnceLock<&'static Link>,
}

static HEAD: OnceLock<&'static Link> = OnceLock::new();
static LIST: AtomicU32 = AtomicU32::new(0);
/// A token, or 0.
static FORKER: AtomicUsize = AtomicUsize::new(0);
/// The fork runs beside other threads' operations.
static GAVE_UP: AtomicBool = AtomicBool::new(false);
static REGISTERED: AtomicBool = AtomicBool::new(false);
static GENERATION: AtomicU64 = AtomicU64::new(0);
static FORK_WAIT_MS: AtomicU64 = AtomicU64::new(5000);
static HOOKS: OnceLock<ForkHooks> = OnceLock::new();

pub(super) fn set_hooks(hooks: ForkHooks) -> bool {
    HOOKS.set(hooks).is_ok()
}

pub(super) fn claim() -> io::Result<&'static Node> {
    register()?;
    Ok(with_list(claim_listed))
}

fn claim_listed() -> &'static Node {
    let mut place = &HEAD;
    let link = loop {
        // ORDERING: Relaxed; under `LIST`.
        match place.get() {
            Some(link) if link.used.load(Ordering::Relaxed) => place = &link.next,
            Some(link) => break *link,
            None => {
                let used = AtomicBool::new(false);
                let link = Link { node: Node::new(), used, next: OnceLock::new() };
                break place.get_or_init(|| Box::leak(Box::new(link)));
            }
        }
    };
    // ORDERING: Relaxed; FORKER is set under `LIST`.
    link.node.renew(FORKER.load(Ordering::Relaxed));
    link.used.store(true, Ordering::Relaxed);
    &link.node
}

pub(super) fn give_back(node: &'static Node) {
    with_list(|| {
        if let Some(link) = links().find(|link| std::ptr::eq(&link.node, node)) {
            // ORDERING: Relaxed; under `LIST`.
            link.used.store(false, Ordering::Relaxed);
        }
    });
}

/// Waits for another thread's fork. False after the deadline, or if that fork waits for this thread.
pub(super) fn stand_back(me: usize, deadline: &Deadline) -> bool {
    loop {
        let epoch = epoch(forker_key());
        // ORDERING: Relaxed; only keeps closers from delaying the fork.
        let forker = FORKER.load(Ordering::Relaxed);
        if forker == 0 || forker == me {
            return true;
        }
        if thread::is_nested() || !deadline.wait(forker_key(), epoch) {
            return false;
        }
    }
}

pub(super) fn generation() -> u64 {
    // ORDERING: Relaxed; changes while the process has one thread.
    GENERATION.load(Ordering::Relaxed)
}

pub(super) fn set_fork_wait(wait: Duration) {
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    // ORDERING: Relaxed; a number.
    FORK_WAIT_MS.store(wait_ms, Ordering::Relaxed);
}

fn links() -> impl Iterator<Item = &'static Link> {
    std::iter::successors(HEAD.get().copied(), |link| link.next.get().copied())
}

#[cfg(test)]
pub(super) fn len() -> usize {
    links().count()
}

fn nodes() -> impl Iterator<Item = &'static Node> {
    // ORDERING: Relaxed; a gate new to this list is closed; no thread enters a dropped one.
    links().filter(|link| link.used.load(Ordering::Relaxed)).map(|link| &link.node)
}

/// Abandoned nodes keep their operations for ever.
fn living() -> impl Iterator<Item = &'static Node> {
    nodes().filter(|node| !node.is_abandoned())
}

fn list_key() -> usize {
    std::ptr::from_ref(&LIST).addr()
}

fn forker_key() -> usize {
    std::ptr::from_ref(&FORKER).addr()
}

/// A fork has `LIST` locked; other code's fork handlers may make or drop a gate.
fn with_list<R>(f: impl FnOnce() -> R) -> R {
    if is_forking() {
        return f();
    }
    lock();
    let result = f();
    unlock();
    result
}

fn lock() {
    loop {
        let epoch = epoch(list_key());
        // ORDERING: Acquire; pairs with the Release in `unlock`.
        if LIST.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok() {
            return;
        }
        wait(list_key(), epoch);
    }
}

fn unlock() {
    // ORDERING: Release; pairs with the Acquire in `lock`.
    LIST.store(0, Ordering::Release);
    wake_all(list_key());
}

/// Two threads may both register, since a fork could make waiting eternal. `is_forking` makes each handler run once.
fn register() -> io::Result<()> {
    // ORDERING: Relaxed; saves a repetition.
    if REGISTERED.load(Ordering::Relaxed) {
        return Ok(());
    }
    #[cfg(unix)]
    {
        // SAFETY: the handlers are static C functions without arguments, and do not unwind: a panic in `extern "C"`
        // aborts.
        let refused = unsafe {
            libc::pthread_atfork(Some(before_fork), Some(after_in_parent), Some(after_in_child))
        };
        if refused != 0 {
            return Err(io::Error::from_raw_os_error(refused));
        }
    }
    REGISTERED.store(true, Ordering::Relaxed);
    Ok(())
}

/// A handler registered twice finds its work done.
fn is_forking() -> bool {
    // ORDERING: Relaxed; this thread alone stores its token.
    FORKER.load(Ordering::Relaxed) == thread::token()
}

extern "C" fn before_fork() {
    if is_forking() {
        return;
    }
    let me = thread::token();
    become_forker(me);
    // ORDERING: Relaxed; a number.
    let wait = Duration::from_millis(FORK_WAIT_MS.load(Ordering::Relaxed));
    let empty = wait_for_operations(me, &Deadline::after(wait));
    // ORDERING: Relaxed; for this thread.
    GAVE_UP.store(!empty, Ordering::Relaxed);
    match HOOKS.get() {
        Some(hooks) if empty => (hooks.prepare)(),
        _ => {}
    }
}

extern "C" fn after_in_parent() {
    if is_forking() {
        // ORDERING: Relaxed; of this thread.
        match HOOKS.get() {
            Some(hooks) if !GAVE_UP.load(Ordering::Relaxed) => (hooks.parent)(),
            _ => {}
        }
        all::reopen(nodes);
        end_fork();
    }
}

extern "C" fn after_in_child() {
    if !is_forking() {
        return;
    }
    // ORDERING: Relaxed, here and below; the process has one thread.
    GENERATION.fetch_add(1, Ordering::Relaxed);
    let gave_up = GAVE_UP.load(Ordering::Relaxed);
    if gave_up {
        living().for_each(Node::abandon);
    } else {
        living().for_each(Node::forget_other_threads);
    }
    if let Some(hooks) = HOOKS.get() {
        (hooks.child)(!gave_up);
    }
    if !gave_up {
        all::reopen(nodes);
    }
    end_fork();
}

fn become_forker(me: usize) {
    loop {
        let epoch = epoch(forker_key());
        lock();
        // ORDERING: Relaxed; under `LIST`: each gate is in the list walked, or starts closed.
        let free = FORKER.compare_exchange(0, me, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        unlock();
        if free {
            return;
        }
        wait(forker_key(), epoch);
    }
}

/// Returns with `LIST` locked; false after the deadline.
fn wait_for_operations(me: usize, deadline: &Deadline) -> bool {
    let closed = all::close(living, me, deadline);
    loop {
        let epoch = epoch(LEFT);
        lock();
        if closed && all::try_quiesce(living, own_in_living()) {
            return true;
        }
        if !closed {
            return false;
        }
        unlock();
        if !deadline.wait(LEFT, epoch) {
            lock();
            return false;
        }
    }
}

fn own_in_living() -> usize {
    let abandoned = nodes().filter(|node| node.is_abandoned());
    thread::depth() - abandoned.map(|node| thread::entries(node.key())).sum::<usize>()
}

fn end_fork() {
    // ORDERING: Relaxed; the unlock of `LIST` releases it.
    FORKER.store(0, Ordering::Relaxed);
    unlock();
    wake_all(forker_key());
}
