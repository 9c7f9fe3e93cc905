//! Which objects of a space go next, by the policy.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
};

use super::{
    gather::NoRoom,
    spilling::{Gathering, Turn},
};
use crate::{
    counters::Count,
    eviction::{EvictionOrder as _, Pages},
    index::{Aged, Look},
    policy::SpillPolicy,
    state::{SpaceState, StoreState},
    word::Entry,
};

/// Keys that an order may name in vain, one after another.
const FRUITLESS: u32 = 64;
/// Rounds of the hand: the first one may only take marks.
const ROUNDS: u32 = 2;
/// Keys that are looked at in one operation: a fork waits for so many.
const TOGETHER: usize = 16;

impl StoreState {
    /// Adds objects of a space to the batch, as far as it has room.
    pub(super) fn gather(
        &self,
        policy: SpillPolicy,
        space: &Arc<SpaceState>,
        turn: &mut Turn,
        before: Option<&Gathering>,
    ) -> Result<(), NoRoom> {
        let mut seen = HashSet::new();
        let idle_only = policy.is_idle_only();
        // What is written just now has its old words. The hand of the order meets it only after it went round.
        let mut before = before.map(|before| (before.went_round, before.keys_of(space.number)));
        let is_by_leaves = idle_only || policy.is_incompressible_first();
        if let Some((_, keys)) = before.take_if(|(went_round, _)| *went_round || is_by_leaves) {
            seen.extend(keys);
        }
        let before = before.map(|(_, keys)| keys);
        if policy.is_incompressible_first()
            && space.counters.sum(Count::Raw) + space.counters.sum(Count::Values) > 0
        {
            self.gather_leaves(space, turn, &mut seen, |leaf, slot| {
                let entry = leaf.words[slot].entry();
                let is_raw = matches!(entry, Entry::Raw(_) | Entry::Value { codec: None, .. });
                let may_go = if idle_only { leaf.was_idle } else { !leaf.read };
                is_raw && may_go >> slot & 1 == 1
            })?;
        }
        if idle_only {
            self.gather_leaves(space, turn, &mut seen, |leaf, slot| leaf.was_idle >> slot & 1 == 1)
        } else {
            self.gather_coldest(space, turn, &mut seen, before)
        }
    }

    fn gather_coldest(
        &self,
        space: &Arc<SpaceState>,
        turn: &mut Turn,
        seen: &mut HashSet<u64>,
        before: Option<impl Iterator<Item = u64>>,
    ) -> Result<(), NoRoom> {
        let mut before = before;
        let (mut fruitless, mut first, mut last) = (0, None, None);
        let (mut went_round, mut rounds) = (false, 0);
        while fruitless < FRUITLESS {
            let Ok(_operation) = self.enter() else { return Err(NoRoom) };
            for _ in 0..TOGETHER {
                let Some(key) = space.fallback.next(&Pages::new(&space.index)) else {
                    return Ok(());
                };
                // The hand goes to higher keys, and begins again: no key comes twice in a round.
                if last.is_some_and(|last| key <= last) {
                    (went_round, turn.gathered.went_round) = (true, true);
                    before.take().into_iter().for_each(|keys| seen.extend(keys));
                }
                last = Some(key);
                let first = *first.get_or_insert(key);
                if went_round && key >= first {
                    rounds += 1;
                    if rounds == ROUNDS {
                        return Ok(());
                    }
                    // In the first round all may have been marked.
                    went_round = false;
                    seen.extend(turn.gathered.keys_of(space.number));
                }
                let is_new = seen.is_empty() || !seen.contains(&key);
                let gathered = is_new && self.gather_object(space, key, turn, seen)?;
                fruitless = if gathered { 0 } else { fruitless + 1 };
            }
        }
        Ok(())
    }

    /// Adds the objects that `goes` names, from where the last call ended, once around.
    fn gather_leaves(
        &self,
        space: &Arc<SpaceState>,
        turn: &mut Turn,
        seen: &mut HashSet<u64>,
        goes: impl Fn(&Aged, usize) -> bool,
    ) -> Result<(), NoRoom> {
        // ORDERING: Relaxed, here and below; one thread has the turn.
        let start = space.spill_hand.load(Ordering::Relaxed);
        let (mut from, mut turned) = (start, false);
        loop {
            let Ok(_operation) = self.enter() else { return Err(NoRoom) };
            let Some(leaf) = space.index.age(from, Look::Only) else {
                if turned {
                    return Ok(());
                }
                (turned, from) = (true, 0);
                continue;
            };
            if turned && leaf.first >= start {
                return Ok(());
            }
            for slot in 0..leaf.words.len() {
                let key = leaf.first + slot as u64;
                if goes(&leaf, slot) && !seen.contains(&key) {
                    self.gather_object(space, key, turn, seen)
                        .inspect_err(|_| space.spill_hand.store(leaf.first, Ordering::Relaxed))?;
                    // The next look of this turn may meet it again.
                    seen.insert(key);
                }
            }
            match leaf.first.checked_add(Aged::KEYS) {
                Some(next) => from = next,
                None if turned => return Ok(()),
                None => (turned, from) = (true, 0),
            }
        }
    }
}
