//! When a write may go: a budget of bytes an interval, and rests after failures.

use std::time::{Duration, Instant};

const REST_MIN: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(64);

/// Bytes that may be written in each interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    pub(crate) bytes: u64,
    pub(crate) interval: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Budget(Duration),
    Resting(Duration),
}

#[derive(Debug)]
pub(crate) struct Pace {
    budget: Option<Budget>,
    interval_began: Option<Instant>,
    written: u64,
    rest: Duration,
    rests_until: Option<Instant>,
    rests: bool,
}

impl Pace {
    pub(crate) fn new(budget: Option<Budget>, rests: bool) -> Self {
        Self { budget, interval_began: None, written: 0, rest: REST_MIN, rests_until: None, rests }
    }

    /// Takes `bytes` from the budget.
    pub(crate) fn admit(&mut self, bytes: u64, now: Instant) -> Result<(), Wait> {
        if let Some(until) = self.rests_until
            && now < until
        {
            return Err(Wait::Resting(until - now));
        }
        let Some(budget) = self.budget else { return Ok(()) };
        let began = *self.interval_began.get_or_insert(now);
        let age = now.saturating_duration_since(began);
        if age >= budget.interval {
            (self.interval_began, self.written) = (Some(now), 0);
        }
        if self.written + bytes > budget.bytes {
            return Err(Wait::Budget(budget.interval.saturating_sub(age)));
        }
        self.written += bytes;
        Ok(())
    }

    /// Gives back what [`admit`](Self::admit) took, because nothing was written.
    pub(crate) fn give_back(&mut self, bytes: u64) {
        self.written = self.written.saturating_sub(bytes);
    }

    /// Whether this ends a rest: the first write that worked after one that did not.
    pub(crate) fn note_success(&mut self) -> bool {
        self.rest = REST_MIN;
        self.rests_until.take().is_some()
    }

    /// Begins a rest; its length.
    pub(crate) fn note_failure(&mut self, now: Instant) -> Duration {
        let rest = self.rest;
        self.rests_until = now.checked_add(rest).filter(|_| self.rests);
        self.rest = (rest * 2).min(REST_MAX);
        rest
    }

    pub(crate) fn is_resting(&self, now: Instant) -> bool {
        self.rests_until.is_some_and(|until| now < until)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_for_each_interval() {
        let interval = Duration::from_secs(10);
        let mut pace = Pace::new(Some(Budget { bytes: 100, interval }), true);
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(pace.admit(60, begin), Ok(()));
        assert_eq!(pace.admit(41, after(4)), Err(Wait::Budget(Duration::from_secs(6))));
        assert_eq!(pace.admit(40, after(4)), Ok(()));
        assert!(pace.admit(1, after(9)).is_err());
        pace.give_back(1);
        assert_eq!(pace.admit(1, after(9)), Ok(()));
        assert_eq!(pace.admit(100, after(10)), Ok(()));
        assert!(pace.admit(1, after(19)).is_err());
    }

    #[test]
    fn rests_double_to_a_minute_and_a_success_ends_them() {
        let mut pace = Pace::new(None, true);
        let mut now = Instant::now();
        for seconds in [1, 2, 4, 8, 16, 32, 64, 64] {
            assert_eq!(pace.admit(1, now), Ok(()));
            let rest = Duration::from_secs(seconds);
            assert_eq!(pace.note_failure(now), rest);
            assert_eq!(pace.admit(1, now), Err(Wait::Resting(rest)));
            assert!(pace.is_resting(now));
            now += rest;
            assert!(!pace.is_resting(now));
        }
        assert!(pace.note_success());
        assert!(!pace.note_success());
        assert_eq!(pace.note_failure(now), REST_MIN);
    }
}
