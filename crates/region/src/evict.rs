//! Takes pages out of memory, in batches.
//!
//! ```text
//!  choose        64 pages by the hand: claimed, protected or unmapped by one call, released as Limbo
//!    |           clean ones leave at once
//!  limbo         a queue: a write (or any touch, where they are unmapped) takes a page back
//!    |
//!  compress      copied out together; each is claimed, put, released as Limbo with a copy
//!    |
//!  forget        those that are still there: claimed, dropped by one call, released as Compressed; credits given
//! ```
//! A page that comes back and is chosen again has another tick, so an old batch does not touch it.

use std::collections::VecDeque;

use pagefold_store::{PAGE_BYTES, Page, PutError};
use pagefold_sys::sync::Ordering;

use crate::{
    core::{BATCH, Core},
    counters::Count,
    table::{Claim, PageIndex},
    word::{State, Word},
};

/// Words that one look at the hand passes, at most, in rounds over all.
const ROUNDS_MAX: usize = 4;

type Chosen = Vec<(PageIndex, Word)>;

/// What an evicting thread has.
#[derive(Debug)]
pub(crate) struct Evictor {
    content: Box<[Page]>,
    copy: Box<Page>,
    limbo: VecDeque<Chosen>,
    in_limbo: usize,
    spare: Vec<Chosen>,
    claims: Vec<Claim>,
    clean: Vec<Claim>,
    pages: Vec<PageIndex>,
}

/// The store has no room for a page.
#[derive(Debug)]
pub(crate) struct Full;

impl Evictor {
    pub(crate) fn new() -> Self {
        Self {
            content: vec![[0; PAGE_BYTES]; BATCH].into(),
            copy: Box::new([0; PAGE_BYTES]),
            limbo: VecDeque::new(),
            in_limbo: 0,
            spare: Vec::new(),
            claims: Vec::with_capacity(BATCH),
            clean: Vec::with_capacity(BATCH),
            pages: Vec::with_capacity(BATCH),
        }
    }

    /// Chooses a batch, and compresses the oldest if limbo is full or threads wait. Whether anything left, or was chosen.
    pub(crate) fn step(&mut self, core: &Core) -> Result<bool, Full> {
        let chosen = self.choose(core);
        let mut done = chosen > 0;
        while !self.limbo.is_empty()
            && (self.in_limbo > core.settings.limbo_max || core.is_urgent() || chosen == 0)
        {
            done |= self.compress_oldest(core)? > 0;
        }
        Ok(done)
    }

    /// Compresses everything in limbo.
    pub(crate) fn drain(&mut self, core: &Core) -> Result<usize, Full> {
        let mut left = 0;
        while !self.limbo.is_empty() {
            left += self.compress_oldest(core)?;
        }
        Ok(left)
    }

    /// Pages in limbo stay in memory after all.
    pub(crate) fn release(&mut self, core: &Core) {
        let _entered = core.enter_to_help();
        for (page, word) in self.limbo.drain(..).flatten() {
            if let Some(claim) = core.table.claim(page, word) {
                let is_kept = word.is_stale() || word.is_copied();
                core.table
                    .release(claim, word.with_state(State::Resident).stale(is_kept).copied(false));
            }
        }
        self.in_limbo = 0;
    }

    fn choose(&mut self, core: &Core) -> usize {
        let _entered = core.enter_to_help();
        let mut hand = core.hand.lock();
        let count = core.table.len();
        let over_budget = core.kept() > core.settings.kept_max;
        for _ in 0..ROUNDS_MAX * count {
            if self.is_batch() {
                break;
            }
            if *hand >= count {
                *hand = 0;
                // One call protects pages in ascending order.
                if self.has_some() {
                    break;
                }
            }
            self.consider(core, PageIndex(*hand), over_budget);
            *hand += 1;
        }
        let chosen = self.isolate(core);
        drop(hand);
        chosen + self.drop_clean(core)
    }

    /// Chooses those of a range that can go now.
    pub(crate) fn choose_range(&mut self, core: &Core, pages: std::ops::Range<usize>) {
        let _entered = core.enter_to_help();
        for page in pages {
            // A thread that was woken by an event may be here before the one that placed the page has released it.
            core.table.wait(PageIndex(page));
            let hand = core.hand.lock();
            self.consider_cold(core, PageIndex(page));
            if self.is_batch() {
                self.isolate(core);
                drop(hand);
                self.drop_clean(core);
            }
        }
        let hand = core.hand.lock();
        self.isolate(core);
        drop(hand);
        self.drop_clean(core);
    }

    fn is_batch(&self) -> bool {
        self.claims.len() >= BATCH || self.clean.len() >= BATCH
    }

    fn has_some(&self) -> bool {
        !(self.claims.is_empty() && self.clean.is_empty())
    }

    fn consider(&mut self, core: &Core, page: PageIndex, over_budget: bool) {
        let word = core.table.load(page);
        let in_memory = matches!(word.state(), State::Resident | State::Clean);
        if !in_memory || word.pins() > 0 {
            return;
        }
        if word.hot() > 0 {
            core.table.amend(page, word, word.with_hot(word.hot() - 1));
            if over_budget {
                drop_copy(core, page);
            }
            return;
        }
        self.take(core, page, word);
    }

    fn consider_cold(&mut self, core: &Core, page: PageIndex) {
        let word = core.table.load(page);
        if matches!(word.state(), State::Resident | State::Clean) && word.pins() == 0 {
            self.take(core, page, word);
        }
    }

    fn take(&mut self, core: &Core, page: PageIndex, word: Word) {
        if let Some(claim) = core.table.claim(page, word) {
            let list =
                if word.state() == State::Clean { &mut self.clean } else { &mut self.claims };
            list.push(claim);
        }
    }

    /// The claimed pages become limbo; with `hand` locked, so that a thread that pins can wait for it.
    fn isolate(&mut self, core: &Core) -> usize {
        if self.claims.is_empty() {
            return 0;
        }
        self.pages.clear();
        self.pages.extend(self.claims.iter().map(|claim| claim.page));
        let is_pinned = |page: PageIndex| core.table.load(page).pins() > 0;
        let isolated = core.backing.choose(&self.pages, &is_pinned);
        if isolated.is_err() {
            // Memory that a call from outside unmapped or locked. Nothing is lost: the pages stay.
            core.counters.add(Count::Refused, self.claims.len());
            for claim in self.claims.drain(..) {
                let word = claim.word.with_hot(1);
                core.table.release(claim, word);
            }
            return 0;
        }
        // ORDERING: Relaxed; only its being another number matters.
        let tick = core.isolations.fetch_add(1, Ordering::Relaxed);
        let mut batch = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(BATCH));
        for claim in self.claims.drain(..) {
            let word = claim.word.with_state(State::Limbo).copied(false).with_tick(tick);
            batch.push((claim.page, word));
            core.table.release(claim, word);
        }
        let count = batch.len();
        self.in_limbo += count;
        self.limbo.push_back(batch);
        core.counters.add(Count::Chosen, count);
        count
    }

    /// Clean pages leave: the store has them.
    fn drop_clean(&mut self, core: &Core) -> usize {
        std::mem::swap(&mut self.claims, &mut self.clean);
        let left = self.forget(core);
        core.counters.add(Count::DroppedClean, left);
        left
    }

    /// Takes the claimed pages, which the store has, out of memory.
    fn forget(&mut self, core: &Core) -> usize {
        self.pages.clear();
        self.pages.extend(self.claims.iter().map(|claim| claim.page));
        let mut left = 0;
        while left < self.pages.len() {
            let gone = match core.backing.forget(&self.pages[left..]) {
                Ok(()) => self.pages.len() - left,
                Err((gone, _)) => gone,
            };
            let tick = core.note_dropped(gone);
            for claim in self.claims.drain(..gone) {
                let word = claim.word.with_state(State::Compressed).stale(false).copied(false);
                core.unkeep();
                core.table.release(claim, word.with_tick(tick));
            }
            left += gone;
            core.credits.give(gone);
            if left < self.pages.len() {
                // It is locked. Its next write is seen, if it is protected.
                let claim = self.claims.remove(0);
                core.counters.add(Count::Refused, 1);
                let word = claim.word.with_state(State::Resident).stale(true).copied(false);
                // It may have been protected; an access then finds it there.
                core.table.release(claim, word.with_hot(crate::word::HOT_MAX));
                self.pages.remove(left);
            }
        }
        core.counters.add(Count::Dropped, left);
        left
    }

    /// The number of pages that left.
    fn compress_oldest(&mut self, core: &Core) -> Result<usize, Full> {
        let Some(mut batch) = self.limbo.pop_front() else { return Ok(0) };
        let _entered = core.enter_to_help();
        let before = batch.len();
        batch.retain(|(page, word)| core.table.load(*page) == *word);
        let outcome = self.compress(core, &mut batch);
        for (page, word) in batch.iter().filter(|(_, word)| word.is_copied()) {
            self.claims.extend(core.table.claim(*page, *word));
        }
        let left = self.forget(core);
        batch.retain(|(_, word)| !word.is_copied());
        if outcome.is_err() {
            self.in_limbo -= before - batch.len();
            self.limbo.push_front(batch);
            return Err(Full);
        }
        self.in_limbo -= before;
        batch.clear();
        self.spare.push(batch);
        Ok(left)
    }

    /// Marks those pages in the batch that the store has then.
    fn compress(&mut self, core: &Core, batch: &mut Chosen) -> Result<(), Full> {
        self.pages.clear();
        self.pages.extend(batch.iter().map(|(page, _)| *page));
        let mut read = 0;
        // A bit for each page of the batch.
        let mut missing = 0_u64;
        while read < self.pages.len() {
            // Without memory for the call: later.
            read += core
                .backing
                .read(&self.pages[read..], &mut self.content[read..])
                .map_err(|_| Full)?;
            if read < self.pages.len() {
                // Gone by a call from outside, or taken back meanwhile: zeros, as the next touch finds.
                self.content[read].fill(0);
                missing |= 1 << read;
                read += 1;
            }
        }
        for (at, ((page, chosen), content)) in batch.iter_mut().zip(&self.content).enumerate() {
            let (page, word) = (*page, *chosen);
            if word.is_copied() {
                continue;
            }
            // Changed since it was read: it was taken back.
            let Some(claim) = core.table.claim(page, word) else { continue };
            core.counters.add(Count::Refused, usize::from(missing >> at & 1 != 0));
            if word.is_stale() && is_copy(core, page, content, &mut self.copy) {
                let copied = word.copied(true).stale(false);
                *chosen = copied;
                core.table.release(claim, copied);
                core.counters.add(Count::Unchanged, 1);
                continue;
            }
            match core.space.put(page.key(), content) {
                Ok(()) => {
                    core.table.note_copy(page, content);
                    if !word.is_stale() {
                        core.keep();
                    }
                    let copied = word.copied(true).stale(false);
                    *chosen = copied;
                    core.table.release(claim, copied);
                    core.counters.add(Count::Compressed, 1);
                }
                Err(PutError::Full { .. }) => {
                    core.table.release(claim, word);
                    core.counters.add(Count::StoreFull, 1);
                    return Err(Full);
                }
                Err(error) => {
                    core.table.release(claim, word);
                    unreachable!("a page of a persistent space with this key: {error}");
                }
            }
        }
        Ok(())
    }
}

/// Whether the store has just this of a claimed page: found by its hash, confirmed by a comparison.
fn is_copy(core: &Core, page: PageIndex, content: &Page, copy: &mut Page) -> bool {
    core.table.may_be_copy(page, content)
        && core.space.try_get(page.key(), copy).is_ok()
        && copy == content
}

/// The store's old content of a page in memory goes, or the copy of a clean one.
pub(crate) fn drop_copy(core: &Core, page: PageIndex) {
    let word = core.table.load(page);
    let has_copy =
        word.state() == State::Clean || word.state() == State::Resident && word.is_stale();
    if !has_copy {
        return;
    }
    if let Some(claim) = core.table.claim(page, word) {
        // The space and the key exist.
        let _ = core.space.remove(page.key());
        core.unkeep();
        core.table.release(claim, word.with_state(State::Resident).stale(false));
    }
}

/// Drops copies of pages in memory, until `enough`.
pub(crate) fn drop_copies(core: &Core, enough: impl Fn() -> bool) {
    for page in 0..core.table.len() {
        if core.kept() == 0 || enough() {
            break;
        }
        let _entered = core.enter_to_help();
        drop_copy(core, PageIndex(page));
    }
}
