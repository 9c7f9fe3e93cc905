//! What a program says about ranges.

use std::ops::Range;

use pagefold_sys::faults::Access;

use crate::{
    core::{BATCH, Core},
    evict::Evictor,
    resolve::resolve,
    table::{Claim, PageIndex},
    word::{Hint, State},
};

/// What comes next for a range of a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Advice {
    /// Nothing special.
    Normal,
    /// Not used soon: it is compressed now, in the calling thread, unless the store is full.
    Cold,
    /// Used soon: it is brought now, in the calling thread, as far as memory is free.
    WillNeed,
    /// Read in order: a fault brings its neighbours along.
    Sequential,
    /// Read in no order: a fault brings its page alone.
    Random,
}

pub(crate) fn advise(core: &Core, pages: Range<usize>, advice: Advice) {
    match advice {
        Advice::Normal => hint(core, pages, Hint::Normal),
        Advice::Sequential => hint(core, pages, Hint::Sequential),
        Advice::Random => hint(core, pages, Hint::Random),
        Advice::Cold => {
            let mut evictor = Evictor::new();
            let batches = pages.clone().step_by(BATCH);
            for first in batches {
                evictor.choose_range(core, first..pages.end.min(first + BATCH));
                if evictor.drain(core).is_err() {
                    // Those in limbo come back when they are touched, or are chosen again.
                    evictor.release(core);
                    break;
                }
            }
        }
        Advice::WillNeed => {
            for page in pages.map(PageIndex) {
                let state = core.table.load(page).state();
                if state == State::Compressed {
                    if core.is_low() {
                        break;
                    }
                    resolve(core, page, Access::Read);
                }
            }
        }
    }
}

fn hint(core: &Core, pages: Range<usize>, hint: Hint) {
    for page in pages.map(PageIndex) {
        loop {
            let word = core.table.load(page);
            if word.state() == State::Busy {
                core.table.wait(page);
            } else if word.hint() == hint || core.table.amend(page, word, word.with_hint(hint)) {
                break;
            }
        }
    }
}

/// The pages are zeros again, and take no memory. Pinned ones are zeroed by the caller.
pub(crate) fn discard(core: &Core, pages: Range<usize>) {
    let mut claims: Vec<Claim> = Vec::with_capacity(BATCH);
    for first in pages.clone().step_by(BATCH) {
        let _entered = core.enter();
        let batch = first..pages.end.min(first + BATCH);
        claims.extend(batch.filter_map(|page| claim(core, PageIndex(page))));
        discard_claimed(core, &mut claims);
    }
}

/// `None` for pages that are nothing already, or pinned.
fn claim(core: &Core, page: PageIndex) -> Option<Claim> {
    loop {
        let word = core.table.load(page);
        match word.state() {
            State::Busy => core.table.wait(page),
            State::Untouched => return None,
            _ if word.pins() > 0 => return None,
            _ => {
                if let Some(claim) = core.table.claim(page, word) {
                    return Some(claim);
                }
            }
        }
    }
}

fn discard_claimed(core: &Core, claims: &mut Vec<Claim>) {
    let in_memory = |claim: &Claim| claim.word.state() != State::Compressed;
    let there: Vec<PageIndex> =
        claims.iter().filter(|claim| in_memory(claim)).map(|claim| claim.page).collect();
    let mut failed = Vec::new();
    let mut done = 0;
    while done < there.len() {
        match core.backing.discard(&there[done..]) {
            Ok(()) => break,
            Err((gone, _)) => {
                done += gone;
                failed.push(there[done]);
                done += 1;
            }
        }
    }
    for claim in claims.drain(..) {
        let (word, was_there) = (claim.word, in_memory(&claim));
        if failed.contains(&claim.page) {
            // Locked by a call from outside: it stays.
            core.table.release(claim, word);
            continue;
        }
        let has_key = word.is_stale()
            || word.is_copied()
            || matches!(word.state(), State::Clean | State::Compressed);
        if has_key {
            // The space and the key exist.
            let _ = core.space.remove(claim.page.key());
            if was_there {
                core.unkeep();
            }
        }
        let nothing = word.with_state(State::Untouched).stale(false).copied(false).with_hot(0);
        core.table.release(claim, nothing);
        core.credits.give(usize::from(was_there));
    }
}
