//! Generates a torture cycle's steps from a seed and the pool's state.

use crate::faulty::Chance;
use pagefold_pool::Pool;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::player::{Feed, State};
use crate::{
    corpus::{Lengths, PAGE_BYTES},
    torture::{Operation, Plan, Support},
    trace::{STEPS_MAX, Step},
};

const CHURN_STEPS: u64 = 20_000;
/// Consecutive refusals that mean "full".
const FULL_AFTER: u32 = 8;
const COMPACTIONS_MAX: u64 = 2_000;
/// A longer round ends with its cycle; one four times as long, at once.
const ROUND_STEPS: usize = 300_000;
const DEPTH_MAX: usize = 3;
const RANGES_MAX: usize = 4;
const RANGE_PART: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Fill { refused: u32 },
    Churn { left: u64 },
    FreeMost { left: usize },
    Compact { left: u64 },
    BelowTheLimit { limits: u32, left: u64 },
    Restore,
    Check,
}

pub(super) struct Generator {
    plan: Plan,
    rng: ChaCha8Rng,
    support: Support,
    limit: usize,
    max_len: usize,
    left: u64,
    single: bool,
    lengths: Option<Lengths>,
    phase: Phase,
    cycle: usize,
    next_object: u32,
    next_range: u32,
    /// Objects being read, and their steps left.
    inside: Vec<(u32, u32)>,
}

impl Generator {
    pub(super) fn new(
        plan: Plan,
        rng: ChaCha8Rng,
        support: Support,
        pool: &dyn Pool,
        limit: usize,
        left: u64,
        single: bool,
    ) -> Self {
        let lengths = Some(Lengths::Compressed);
        let phase = Phase::Fill { refused: 0 };
        Self {
            plan,
            rng,
            support,
            limit,
            max_len: pool.max_len(),
            left,
            single,
            lengths,
            phase,
            cycle: 0,
            next_object: 0,
            next_range: 0,
            inside: Vec::new(),
        }
    }

    fn has(&self, operation: Operation) -> bool {
        self.plan.mix.has(operation) && self.support.has(operation)
    }

    /// `None` when the phase is over.
    fn of_phase(&mut self, state: &State) -> Option<Step> {
        match &mut self.phase {
            Phase::Fill { refused } => {
                *refused = if state.refused { *refused + 1 } else { 0 };
                let refused = *refused;
                let full = refused >= FULL_AFTER || self.is_over(state);
                if full {
                    return None;
                }
                if self.rng.random_ratio(1, 8) {
                    return Some(self.any(state));
                }
                if refused > 0 && self.has(Operation::Reclaim) && self.rng.random_ratio(1, 8) {
                    return Some(self.reclaim());
                }
                Some(self.store())
            }
            Phase::Churn { left } | Phase::BelowTheLimit { left, .. } if *left > 0 => {
                *left -= 1;
                Some(self.any(state))
            }
            Phase::BelowTheLimit { limits, left } if *limits > 0 => {
                *limits -= 1;
                *left = CHURN_STEPS / 20;
                Some(self.lower_limit())
            }
            Phase::FreeMost { left } if *left > 0 => {
                *left -= 1;
                Some(match self.pick(&state.live) {
                    Some(object) if self.rng.random_ratio(1, 16) => Step::Read { object },
                    Some(object) => Step::Free { object },
                    None => Step::Stats,
                })
            }
            Phase::Compact { left } if *left > 0 => {
                *left -= 1;
                let first = *left + 1 == COMPACTIONS_MAX * 5;
                // One in five compacts.
                if !left.is_multiple_of(5) {
                    return Some(self.any(state));
                }
                (first || state.more).then(|| self.compact())
            }
            Phase::Restore => Some(Step::Limit { bytes: self.limit as u64 }),
            Phase::Check => Some(Step::Check),
            _ => None,
        }
    }

    fn advance(&mut self, state: &State) {
        let when = |wanted: bool, amount: u64| if wanted { amount } else { 0 };
        self.phase = match self.phase {
            Phase::Fill { .. } => Phase::Churn { left: CHURN_STEPS },
            Phase::Churn { .. } => {
                let most = if self.has(Operation::Free) { state.live.len() / 5 * 4 } else { 0 };
                Phase::FreeMost { left: most }
            }
            Phase::FreeMost { .. } => {
                Phase::Compact { left: when(self.has(Operation::Compact), COMPACTIONS_MAX * 5) }
            }
            Phase::Compact { .. } => {
                let limits = if self.has(Operation::Limit) { 4 } else { 0 };
                Phase::BelowTheLimit { limits, left: 0 }
            }
            Phase::BelowTheLimit { .. } => Phase::Restore,
            Phase::Restore => Phase::Check,
            Phase::Check => {
                self.cycle += 1;
                let turns =
                    [Some(Lengths::Compressed), Some(Lengths::Wide), Some(Lengths::Borders), None];
                self.lengths = turns[self.cycle % turns.len()];
                Phase::Fill { refused: 0 }
            }
        };
    }

    fn is_over(&self, state: &State) -> bool {
        let most = if self.single { STEPS_MAX } else { ROUND_STEPS * 4 };
        state.steps >= most
    }

    fn any(&mut self, state: &State) -> Step {
        let ticket = self.rng.random_range(0..self.plan.mix.sum());
        let operation = self.plan.mix.pick(ticket);
        let object = match self.inside.last() {
            // Prefers the object being read.
            Some((held, _)) if self.rng.random() => Some(*held),
            _ => self.pick(&state.live),
        };
        match (operation, object) {
            (Operation::Compact, _) => self.compact(),
            (Operation::Trim, _) => Step::Trim,
            (Operation::Stats, _) => Step::Stats,
            (Operation::Limit, _) if self.rng.random() => self.lower_limit(),
            (Operation::Limit, _) => Step::Limit { bytes: self.limit as u64 },
            (Operation::AllocContiguous, _) if self.support.contiguous => {
                self.alloc_contiguous(state)
            }
            (Operation::Reclaim, _) if self.support.reclaim => self.reclaim(),
            (Operation::Stale, _) => match self.pick(&state.dead) {
                Some(object) => Step::Stale { object },
                None => Step::Stats,
            },
            (Operation::Alloc, _) | (_, None) => self.store(),
            (Operation::Free, Some(object)) => Step::Free { object },
            (Operation::Write, Some(object)) => Step::Write { object, version: self.rng.random() },
            (Operation::Migrate, Some(object)) if self.support.migrate => Step::Migrate { object },
            (_, Some(object)) => {
                let steps = self.rng.random_range(1..=8);
                if self.inside.len() < DEPTH_MAX && self.rng.random_ratio(1, 16) {
                    self.inside.push((object, steps));
                    Step::Hold { object, steps }
                } else {
                    Step::Read { object }
                }
            }
        }
    }

    fn pick(&mut self, objects: &[u32]) -> Option<u32> {
        if objects.is_empty() {
            return None;
        }
        Some(objects[self.rng.random_range(0..objects.len())])
    }

    fn store(&mut self) -> Step {
        let lengths = self
            .lengths
            .unwrap_or_else(|| Lengths::ALL[self.rng.random_range(0..Lengths::ALL.len())]);
        let len = lengths.sample(&mut self.rng, self.max_len);
        let (object, len) = (self.next_object, u32::try_from(len).unwrap_or(1));
        self.next_object += 1;
        if self.rng.random_ratio(1, 16) {
            Step::Alloc { object, len }
        } else {
            Step::Store { object, len }
        }
    }

    fn compact(&mut self) -> Step {
        Step::Compact { bytes: 1 << self.rng.random_range(0..20) }
    }

    fn lower_limit(&mut self) -> Step {
        Step::Limit { bytes: self.rng.random_range(self.limit / 4..=self.limit) as u64 }
    }

    fn reclaim(&mut self) -> Step {
        let retries = self.rng.random_range(1..=4);
        let faults = self.plan.faults;
        let mut bits = |chance: Chance| {
            (0..64).fold(0, |bits, at| bits | u64::from(chance.happens(self.rng.random())) << at)
        };
        Step::Reclaim { retries, refused: bits(faults.evict), panics: bits(faults.evict_panic) }
    }

    fn alloc_contiguous(&mut self, state: &State) -> Step {
        let full = state.ranges.len() >= RANGES_MAX;
        if full || (!state.ranges.is_empty() && self.rng.random()) {
            return Step::FreeContiguous {
                range: state.ranges[self.rng.random_range(0..state.ranges.len())],
            };
        }
        let part = if self.rng.random_ratio(1, 16) { RANGE_PART / 4 } else { RANGE_PART };
        let most = (self.limit / PAGE_BYTES / part).max(1);
        let frames = u32::try_from(self.rng.random_range(1..=most)).unwrap_or(1);
        let range = self.next_range;
        self.next_range += 1;
        Step::AllocContiguous { range, frames, align: 1 << self.rng.random_range(0..=9) }
    }
}

impl Feed for Generator {
    fn next(&mut self, state: &State) -> Option<Step> {
        self.left = self.left.checked_sub(1)?;
        while self.inside.last().is_some_and(|(_, steps)| *steps == 0) {
            self.inside.pop();
        }
        if let Some((_, steps)) = self.inside.last_mut() {
            *steps -= 1;
            return Some(self.any(state));
        }
        loop {
            if self.phase == (Phase::Fill { refused: 0 })
                && self.cycle > 0
                && !self.single
                && state.steps >= ROUND_STEPS
            {
                return None;
            }
            let step = self.of_phase(state);
            let is_single = matches!(self.phase, Phase::Restore | Phase::Check);
            if step.is_none() || is_single {
                self.advance(state);
            }
            if self.is_over(state) {
                return None;
            }
            if step.is_some() {
                return step;
            }
        }
    }
}
