//! Serves a fault: in the signal handler of the thread that faulted, or in a thread of the region.
//!
//! Async-signal-safe: allocates nothing; waits only for a claim, a credit, a buffer, and the region's own threads.

use std::{io, time::Instant};

use pagefold_store::Page;
use pagefold_sys::{
    faults::Access,
    quiesce::Entered,
    sync::{self, SlotGuard},
};

use crate::{
    backing::Found,
    core::Core,
    counters::{Count, ServedFrom},
    table::{Claim, PageIndex},
    word::{State, Word},
};

/// How a fault ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resolved {
    /// The access can be repeated.
    Served(ServedFrom),
    /// The memory is no longer the region's: a call from outside unmapped it.
    Gone,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    Resolved(Resolved),
    /// Its credit is used.
    Placed(ServedFrom),
    /// The region's thread has claim and credit.
    Posted,
    Again,
}

/// Serves a fault on a page, in the thread that faulted or wants the page.
pub(crate) fn resolve(core: &Core, page: PageIndex, access: Access) -> Resolved {
    resolve_in(core, page, access, Core::enter)
}

/// Serves a fault of another thread.
pub(crate) fn resolve_for_others(core: &Core, page: PageIndex, access: Access) -> Resolved {
    resolve_in(core, page, access, Core::enter_to_help)
}

fn resolve_in(
    core: &Core,
    page: PageIndex,
    access: Access,
    enter: for<'a> fn(&'a Core) -> Option<Entered<'a>>,
) -> Resolved {
    let began = Instant::now();
    let mut has_credit = false;
    let resolved = loop {
        let word = core.table.load(page);
        let state = word.state();
        if state == State::Busy {
            core.table.wait(page);
            continue;
        }
        let needs_credit = matches!(state, State::Untouched | State::Compressed);
        if needs_credit && !has_credit {
            // Without a claim: see `Core`.
            take_credit(core);
            has_credit = true;
            continue;
        }
        // Waits for words and credits are outside of the gate.
        let entered = enter(core);
        let Some(claim) = core.table.claim(page, word) else { continue };
        let outcome = serve(core, claim, access);
        drop(entered);
        match outcome {
            Outcome::Resolved(resolved) => break resolved,
            Outcome::Placed(from) => {
                has_credit = false;
                break Resolved::Served(from);
            }
            Outcome::Posted => {
                has_credit = false;
                while core.table.load(page).state() == State::Busy {
                    core.table.wait(page);
                }
                break Resolved::Served(ServedFrom::Spill);
            }
            Outcome::Again => sync::yield_now(),
        }
    };
    if has_credit {
        core.credits.give(1);
    }
    core.wake_if_low();
    if let Resolved::Served(from) = resolved {
        core.counters.served(from, began.elapsed());
    }
    resolved
}

fn take_credit(core: &Core) {
    if !core.credits.try_take() {
        core.counters.add(Count::CreditWaits, 1);
        core.credits.take(|| core.evictor.wake());
    }
}

fn serve(core: &Core, claim: Claim, access: Access) -> Outcome {
    let (page, word) = (claim.page, claim.word);
    match word.state() {
        State::Untouched => match core.backing.place_zeros(page) {
            Ok(()) => {
                core.table.release(claim, word.with_state(State::Resident));
                Outcome::Placed(ServedFrom::Nothing)
            }
            Err(error) => refused(core, claim, &error),
        },
        State::Compressed => fetch(core, claim, access),
        State::Resident | State::Clean => match core.backing.refresh(page, access) {
            Ok(found) => {
                let changed = found == Found::Gone || access == Access::Write;
                core.table.release(claim, if changed { written(word) } else { word });
                Outcome::Resolved(Resolved::Served(ServedFrom::There))
            }
            Err(error) => refused(core, claim, &error),
        },
        State::Limbo => match core.backing.rescue(page, access) {
            Ok(found) => {
                let stays = found == Found::There
                    && access == Access::Read
                    && !core.backing.unmaps_chosen();
                let back = written(word).with_hot(word.hot() + 1);
                core.table.release(claim, if stays { word } else { back });
                Outcome::Resolved(Resolved::Served(ServedFrom::Limbo))
            }
            Err(error) => refused(core, claim, &error),
        },
        State::Busy => unreachable!("a claim keeps the state before it"),
    }
}

/// The word of a page that may have been written: what the store has of it is old.
pub(crate) fn written(word: Word) -> Word {
    let is_kept = word.is_stale() || word.is_copied() || word.state() == State::Clean;
    word.with_state(State::Resident).stale(is_kept).copied(false)
}

/// The system would not place a page.
fn refused(core: &Core, claim: Claim, error: &io::Error) -> Outcome {
    let word = claim.word;
    if error.kind() == io::ErrorKind::AlreadyExists {
        // From outside, or it was there. It is in memory, so the credit is used.
        let needs_credit = matches!(word.state(), State::Untouched | State::Compressed);
        let now = if word.state() == State::Compressed {
            core.keep();
            word.with_state(State::Resident).stale(true)
        } else {
            word.with_state(State::Resident)
        };
        core.table.release(claim, now);
        return if needs_credit {
            Outcome::Placed(ServedFrom::There)
        } else {
            Outcome::Resolved(Resolved::Served(ServedFrom::There))
        };
    }
    core.table.release(claim, word);
    match error.kind() {
        io::ErrorKind::OutOfMemory | io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => {
            Outcome::Again
        }
        _ => Outcome::Resolved(Resolved::Gone),
    }
}

/// Brings a page from the store, and its neighbours where faults follow each other.
fn fetch(core: &Core, claim: Claim, access: Access) -> Outcome {
    let page = claim.page;
    let from = if core.is_dense(page) { ServedFrom::Dense } else { ServedFrom::Memory };
    let mut slot = core.buffers.acquire();
    if !slot.with(|buffer| core.try_get(page, &mut buffer[0])) {
        drop(slot);
        return post(core, claim, access);
    }
    let hint = claim.word.hint();
    let placed = slot.with(|buffer| place(core, claim, &buffer[0], access));
    if let Err(outcome) = placed {
        return outcome;
    }
    let count = core.streams.neighbours(page, hint, core.settings.neighbours_max);
    if count > 0 {
        bring_neighbours(core, (page, access), count, &mut slot);
    }
    Outcome::Placed(from)
}

/// Leaves it to the region's thread, which may wait.
fn post(core: &Core, claim: Claim, access: Access) -> Outcome {
    if core.mailbox.post(claim.page, access) {
        core.server.wake();
        return Outcome::Posted;
    }
    let word = claim.word;
    core.table.release(claim, word);
    Outcome::Again
}

/// Places what was read for a claimed page, and releases it.
pub(crate) fn place(
    core: &Core,
    claim: Claim,
    content: &Page,
    access: Access,
) -> Result<(), Outcome> {
    let word = claim.word;
    let clean = core.backing.sees_writes() && access == Access::Read;
    match core.backing.place(claim.page, content, clean) {
        Ok(()) => {
            core.keep();
            let hot = core.heat(word.tick());
            core.table.release(claim, brought(word, clean).with_hot(hot));
            Ok(())
        }
        Err(error) => Err(refused(core, claim, &error)),
    }
}

/// A page that is in memory again; the store has it too.
fn brought(word: Word, clean: bool) -> Word {
    let state = if clean { State::Clean } else { State::Resident };
    word.with_state(state).stale(!clean).copied(false)
}

/// Brings compressed pages after `page`, as many as have credits and can be read at once.
fn bring_neighbours(
    core: &Core,
    (page, access): (PageIndex, Access),
    count: usize,
    slot: &mut SlotGuard<'_, Box<[Page]>>,
) {
    let first = PageIndex(page.0 + 1);
    let end = core.table.len().min(first.0 + count);
    let mut words = [Word::default(); crate::core::NEIGHBOURS_MAX];
    let mut claimed = 0;
    for page in (first.0..end).map(PageIndex) {
        let seen = core.table.load(page);
        if seen.state() != State::Compressed || core.is_low() || !core.credits.try_take() {
            break;
        }
        let Some(claim) = core.table.claim(page, seen) else {
            core.credits.give(1);
            break;
        };
        if slot.with(|buffer| core.space.try_get(page.key(), &mut buffer[claimed])).is_err() {
            core.table.release(claim, seen);
            core.credits.give(1);
            break;
        }
        words[claimed] = seen;
        claimed += 1;
    }
    if claimed == 0 {
        return;
    }
    // What writes in order will write them too: without a fault for each.
    let clean = core.backing.sees_writes() && access == Access::Read;
    let placed = slot.with(|buffer| core.backing.place_run(first, &buffer[..claimed], clean));
    let placed = placed.unwrap_or(0);
    for (at, &word) in words[..claimed].iter().enumerate() {
        // The claims of the loop above.
        let claim = Claim { page: PageIndex(first.0 + at), word };
        if at < placed {
            core.keep();
            core.table.release(claim, brought(word, clean).with_hot(0));
        } else {
            core.table.release(claim, word);
        }
    }
    core.credits.give(claimed - placed);
    core.counters.add(Count::Neighbours, placed);
    core.streams.note(PageIndex(first.0 + placed));
}
