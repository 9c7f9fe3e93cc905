//! A source that fails on demand: allocations fail, and descriptors look isolated. A seed and the allocation's number
//! decide: one thread always meets the same failures.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use pagefold_frame::{FrameSource, SourceError};
use pagefold_sys::memory::Reservation;

/// A probability, in steps of 2^-63.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chance(u64);

impl Chance {
    /// 0.
    pub const NEVER: Self = Self(0);
    const ALWAYS: u64 = 1 << 63;

    /// From 0 (never) to 1 (always); otherwise `None`.
    pub fn new(probability: f64) -> Option<Self> {
        if !(0.0..=1.0).contains(&probability) {
            return None;
        }
        // Exact for 0 and 1, and to 53 bits in between.
        #[expect(clippy::cast_possible_truncation, reason = "at most 2^63")]
        Some(Self((probability * Self::ALWAYS as f64) as u64))
    }

    /// The probability, from 0 to 1.
    pub fn probability(self) -> f64 {
        self.0 as f64 / Self::ALWAYS as f64
    }

    /// Decides by 64 even bits.
    pub fn happens(self, dice: u64) -> bool {
        dice >> 1 < self.0
    }
}

/// The failures of a [`FaultySource`].
#[derive(Debug, Default)]
pub struct FaultPlan {
    seed: AtomicU64,
    allocations: AtomicU64,
    from: AtomicU64,
    until: AtomicU64,
    failure_chance: AtomicU64,
    failures: AtomicU64,
    isolations: AtomicU64,
    isolation_until: AtomicU64,
    isolation_chance: AtomicU64,
    isolations_injected: AtomicU64,
    paused: AtomicBool,
}

impl FaultPlan {
    /// A plan that injects nothing yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    // ORDERING (this type): Relaxed; the counters are the test's own and guard nothing.

    /// Fails `count` allocations after the next `k`.
    pub fn fail(&self, k: u64, count: u64) {
        let next = self.allocations.load(Ordering::Relaxed).saturating_add(k);
        self.from.store(next, Ordering::Relaxed);
        self.until.store(next.saturating_add(count), Ordering::Relaxed);
    }

    /// Makes the next `count` descriptors look isolated.
    pub fn fail_isolations(&self, count: u64) {
        let next = self.isolations.load(Ordering::Relaxed);
        self.isolation_until.store(next.saturating_add(count), Ordering::Relaxed);
    }

    /// Sets the probabilities of failures and of isolated descriptors.
    pub fn fail_by_chance(&self, seed: u64, failure: Chance, isolation: Chance) {
        self.seed.store(seed, Ordering::Relaxed);
        self.failure_chance.store(failure.0, Ordering::Relaxed);
        self.isolation_chance.store(isolation.0, Ordering::Relaxed);
    }

    /// Stops injecting.
    pub fn heal(&self) {
        self.until.store(0, Ordering::Relaxed);
        self.isolation_until.store(0, Ordering::Relaxed);
        self.failure_chance.store(0, Ordering::Relaxed);
        self.isolation_chance.store(0, Ordering::Relaxed);
    }

    /// A paused plan injects and counts nothing.
    pub fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    /// Allocations so far.
    pub fn allocations(&self) -> u64 {
        self.allocations.load(Ordering::Relaxed)
    }

    /// Failed allocations so far.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Descriptors that looked isolated so far.
    pub fn isolations_injected(&self) -> u64 {
        self.isolations_injected.load(Ordering::Relaxed)
    }

    fn injects_failure(&self) -> bool {
        if self.paused.load(Ordering::Relaxed) {
            return false;
        }
        let now = self.allocations.fetch_add(1, Ordering::Relaxed);
        let planned =
            now >= self.from.load(Ordering::Relaxed) && now < self.until.load(Ordering::Relaxed);
        let injected = planned || self.happens(&self.failure_chance, now);
        self.failures.fetch_add(u64::from(injected), Ordering::Relaxed);
        injected
    }

    fn injects_isolation(&self) -> bool {
        if self.paused.load(Ordering::Relaxed) {
            return false;
        }
        let now = self.isolations.fetch_add(1, Ordering::Relaxed);
        let planned = now < self.isolation_until.load(Ordering::Relaxed);
        let injected = planned || self.happens(&self.isolation_chance, !now);
        self.isolations_injected.fetch_add(u64::from(injected), Ordering::Relaxed);
        injected
    }

    fn happens(&self, chance: &AtomicU64, number: u64) -> bool {
        let chance = Chance(chance.load(Ordering::Relaxed));
        chance != Chance::NEVER
            && chance.happens(scatter(self.seed.load(Ordering::Relaxed) ^ scatter(number)))
    }
}

/// The finaliser of splitmix64.
fn scatter(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A source that fails as a [`FaultPlan`] says.
#[derive(Debug)]
pub struct FaultySource {
    inner: Box<dyn FrameSource>,
    plan: Arc<FaultPlan>,
}

impl FaultySource {
    /// Memory from `inner`, failures from `plan`.
    pub fn new(inner: Box<dyn FrameSource>, plan: Arc<FaultPlan>) -> Self {
        Self { inner, plan }
    }
}

// SAFETY: memory comes from `inner` unchanged; an injected failure only hands out less.
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

    fn injects_failure(&self) -> bool {
        self.plan.injects_failure() || self.inner.injects_failure()
    }

    fn injects_isolation(&self) -> bool {
        self.plan.injects_isolation() || self.inner.injects_isolation()
    }

    fn address_space(&self, limit_bytes: usize) -> usize {
        self.inner.address_space(limit_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chance_is_what_it_says() {
        for wrong in [-0.1, 1.000_001, f64::NAN, f64::INFINITY] {
            assert_eq!(Chance::new(wrong), None, "{wrong}");
        }
        for probability in [0.0, 0.001, 0.5, 1.0] {
            let chance = Chance::new(probability).expect("0 to 1");
            let count = (0..100_000).filter(|number| chance.happens(scatter(*number))).count();
            let expected = probability * 100_000.0;
            assert!(
                (count as f64 - expected).abs() <= expected.sqrt() * 4.0,
                "{probability}: {count}"
            );
            assert!((chance.probability() - probability).abs() < 1e-12);
        }
        assert!(Chance::new(1.0).is_some_and(|always| always.happens(u64::MAX)));
    }

    #[test]
    fn failures_follow_from_the_seed_and_pause() {
        let half = Chance::new(0.5).expect("0 to 1");
        let answers = |seed| {
            let plan = FaultPlan::new();
            plan.fail_by_chance(seed, half, half);
            let answers: Vec<_> =
                (0..64).map(|_| (plan.injects_failure(), plan.injects_isolation())).collect();
            let failures = answers.iter().filter(|(failure, _)| *failure).count();
            assert_eq!(plan.failures(), failures as u64);
            plan.pause(true);
            assert!((0..64).all(|_| !plan.injects_failure() && !plan.injects_isolation()));
            assert_eq!((plan.allocations(), plan.failures()), (64, failures as u64));
            plan.pause(false);
            plan.heal();
            assert!((0..64).all(|_| !plan.injects_failure() && !plan.injects_isolation()));
            answers
        };
        assert_eq!(answers(1), answers(1));
        assert_ne!(answers(1), answers(2));
    }

    #[test]
    fn planned_isolations_come_first() {
        let plan = FaultPlan::new();
        plan.fail_isolations(2);
        assert_eq!([(); 4].map(|()| plan.injects_isolation()), [true, true, false, false]);
        assert_eq!(plan.isolations_injected(), 2);
    }
}
