//! A source that fails on demand: grants of memory that are refused, descriptors that seem to be isolated by others.
//!
//! A plan is shared with the test that steers it. It refuses the grants of a range of numbers, or each question with a
//! probability that follows from a seed and the question's number: one thread meets the same refusals in every run.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use pagefold_sys::memory::Reservation;

use crate::{FrameSource, SourceError};

/// A probability, in steps of 2^-63.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chance(u64);

impl Chance {
    /// It never happens.
    pub const NEVER: Self = Self(0);
    const ALWAYS: u64 = 1 << 63;

    /// From 0 (never) to 1 (always); `None` for any other number.
    pub fn new(probability: f64) -> Option<Self> {
        if !(0.0..=1.0).contains(&probability) {
            return None;
        }
        // Exact for 0 and 1, and to 53 bits in between.
        #[expect(clippy::cast_possible_truncation, reason = "at most 2^63")]
        Some(Self((probability * Self::ALWAYS as f64) as u64))
    }

    /// The probability as a number.
    pub fn probability(self) -> f64 {
        self.0 as f64 / Self::ALWAYS as f64
    }

    /// Whether it happens, by a lot of 64 even bits.
    pub fn strikes(self, lot: u64) -> bool {
        lot >> 1 < self.0
    }
}

/// What a [`FaultySource`] refuses. Shared with the test that steers it.
#[derive(Debug, Default)]
pub struct FaultPlan {
    seed: AtomicU64,
    asked: AtomicU64,
    from: AtomicU64,
    until: AtomicU64,
    grant_chance: AtomicU64,
    refused: AtomicU64,
    isolations: AtomicU64,
    isolate_until: AtomicU64,
    isolate_chance: AtomicU64,
    isolations_refused: AtomicU64,
    paused: AtomicBool,
}

impl FaultPlan {
    /// A plan that refuses nothing yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    // ORDERING (this type): Relaxed; the counters are the test's own and guard nothing.

    /// Refuses the `k`-th grant from now (0 is the next) and the `count - 1` after it.
    pub fn fail(&self, k: u64, count: u64) {
        let next = self.asked.load(Ordering::Relaxed).saturating_add(k);
        self.from.store(next, Ordering::Relaxed);
        self.until.store(next.saturating_add(count), Ordering::Relaxed);
    }

    /// Finds the next `count` descriptors isolated.
    pub fn fail_isolations(&self, count: u64) {
        let next = self.isolations.load(Ordering::Relaxed);
        self.isolate_until.store(next.saturating_add(count), Ordering::Relaxed);
    }

    /// Refuses grants, and finds descriptors isolated, with these probabilities from now on.
    pub fn fail_by_chance(&self, seed: u64, grant: Chance, isolate: Chance) {
        self.seed.store(seed, Ordering::Relaxed);
        self.grant_chance.store(grant.0, Ordering::Relaxed);
        self.isolate_chance.store(isolate.0, Ordering::Relaxed);
    }

    /// Refuses nothing any more.
    pub fn heal(&self) {
        self.until.store(0, Ordering::Relaxed);
        self.isolate_until.store(0, Ordering::Relaxed);
        self.grant_chance.store(0, Ordering::Relaxed);
        self.isolate_chance.store(0, Ordering::Relaxed);
    }

    /// While paused, nothing is refused or counted.
    pub fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    /// How many grants were asked for so far.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// How many grants were refused so far.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How many descriptors were said to be isolated so far.
    pub fn isolations_refused(&self) -> u64 {
        self.isolations_refused.load(Ordering::Relaxed)
    }

    fn ask(&self) -> Result<(), SourceError> {
        if self.paused.load(Ordering::Relaxed) {
            return Ok(());
        }
        let now = self.asked.fetch_add(1, Ordering::Relaxed);
        let planned =
            now >= self.from.load(Ordering::Relaxed) && now < self.until.load(Ordering::Relaxed);
        if planned || self.strikes(&self.grant_chance, now) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(SourceError::Injected);
        }
        Ok(())
    }

    fn may_isolate(&self) -> bool {
        if self.paused.load(Ordering::Relaxed) {
            return true;
        }
        let now = self.isolations.fetch_add(1, Ordering::Relaxed);
        let planned = now < self.isolate_until.load(Ordering::Relaxed);
        let refused = planned || self.strikes(&self.isolate_chance, !now);
        self.isolations_refused.fetch_add(u64::from(refused), Ordering::Relaxed);
        !refused
    }

    fn strikes(&self, chance: &AtomicU64, number: u64) -> bool {
        let chance = Chance(chance.load(Ordering::Relaxed));
        chance != Chance::NEVER
            && chance.strikes(scatter(self.seed.load(Ordering::Relaxed) ^ scatter(number)))
    }
}

/// The finaliser of splitmix64: every input bit changes about half of the output bits.
fn scatter(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A source that fails on demand.
#[derive(Debug)]
pub struct FaultySource {
    inner: Box<dyn FrameSource>,
    plan: Arc<FaultPlan>,
}

impl FaultySource {
    /// Wraps `inner`; `plan` says what fails.
    pub fn new(inner: Box<dyn FrameSource>, plan: Arc<FaultPlan>) -> Self {
        Self { inner, plan }
    }
}

// SAFETY: memory comes from `inner` unchanged; refusing a grant hands out less, never more.
unsafe impl FrameSource for FaultySource {
    fn reserve(&self, bytes: usize, align: usize) -> Result<Reservation, SourceError> {
        self.inner.reserve(bytes, align)
    }

    fn commit(&self, reservation: &Reservation, range: Range<usize>) -> Result<(), SourceError> {
        self.inner.commit(reservation, range)
    }

    unsafe fn decommit(
        &self,
        reservation: &Reservation,
        ranges: &[Range<usize>],
    ) -> Result<(), SourceError> {
        // SAFETY: by this function's contract.
        unsafe { self.inner.decommit(reservation, ranges) }
    }

    unsafe fn release(&self, reservation: Reservation) {
        // SAFETY: by this function's contract.
        unsafe { self.inner.release(reservation) };
    }

    fn grant(&self) -> Result<(), SourceError> {
        self.plan.ask()?;
        self.inner.grant()
    }

    fn may_isolate(&self) -> bool {
        self.plan.may_isolate() && self.inner.may_isolate()
    }

    fn address_space(&self, limit_bytes: usize) -> usize {
        self.inner.address_space(limit_bytes)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_chance_is_what_it_says() {
        for wrong in [-0.1, 1.000_001, f64::NAN, f64::INFINITY] {
            assert_eq!(Chance::new(wrong), None, "{wrong}");
        }
        for probability in [0.0, 0.001, 0.5, 1.0] {
            let chance = Chance::new(probability).expect("0 to 1");
            let struck = (0..100_000).filter(|number| chance.strikes(scatter(*number))).count();
            let expected = probability * 100_000.0;
            assert!(
                (struck as f64 - expected).abs() <= expected.sqrt() * 4.0,
                "{probability}: {struck}"
            );
            assert!((chance.probability() - probability).abs() < 1e-12);
        }
        assert!(Chance::new(1.0).is_some_and(|always| always.strikes(u64::MAX)));
    }

    #[test]
    fn what_is_refused_follows_from_the_seed_and_pauses() {
        let half = Chance::new(0.5).expect("0 to 1");
        let answers = |seed| {
            let plan = FaultPlan::new();
            plan.fail_by_chance(seed, half, half);
            let answers: Vec<_> =
                (0..64).map(|_| (plan.ask().is_ok(), plan.may_isolate())).collect();
            let refused = answers.iter().filter(|(granted, _)| !granted).count();
            assert_eq!(plan.refused(), refused as u64);
            plan.pause(true);
            assert!((0..64).all(|_| plan.ask().is_ok() && plan.may_isolate()));
            assert_eq!((plan.asked(), plan.refused()), (64, refused as u64));
            plan.pause(false);
            plan.heal();
            assert!((0..64).all(|_| plan.ask().is_ok() && plan.may_isolate()));
            answers
        };
        assert_eq!(answers(1), answers(1));
        assert_ne!(answers(1), answers(2));
    }

    #[test]
    fn planned_isolations_are_refused_first() {
        let plan = FaultPlan::new();
        plan.fail_isolations(2);
        assert_eq!([(); 4].map(|()| plan.may_isolate()), [false, false, true, true]);
        assert_eq!(plan.isolations_refused(), 2);
    }
}
