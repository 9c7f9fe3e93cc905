//! The sign of life of a store: when it was last alive, and how many objects it may have.
//!
//! A service that cannot list has no other way to tell what a dead store left. So a store that is about to write an object beyond the counts of its
//! lease writes the lease first, with counts that leave room: they double.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::names::Counts;

/// The name of its object.
pub(crate) const LEASE: &str = "lease";
/// How often a living store writes it.
pub(crate) const LEASE_INTERVAL: Duration = Duration::from_secs(30);
/// The first counts of a lease.
const SLOTS_MIN: u32 = 64;
const AGAIN_MIN: u32 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lease {
    /// Seconds of the Unix epoch.
    pub(crate) seen: u64,
    /// `None` when a collector wrote it for a store that had none.
    pub(crate) counts: Option<Counts>,
}

impl Lease {
    pub(crate) fn text(self) -> String {
        match self.counts {
            Some(Counts { slots, again }) => format!("{} {slots} {again}", self.seen),
            None => self.seen.to_string(),
        }
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(bytes).ok()?.split_ascii_whitespace();
        let seen = words.next()?.parse().ok()?;
        let mut count = || words.next().and_then(|word| word.parse().ok());
        let counts = count().zip(count()).map(|(slots, again)| Counts { slots, again });
        Some(Self { seen, counts })
    }
}

/// Counts with room for more.
pub(crate) fn announced(used: Counts) -> Counts {
    let above = |count: u32, min| count.checked_next_power_of_two().unwrap_or(u32::MAX).max(min);
    Counts { slots: above(used.slots, SLOTS_MIN), again: above(used.again, AGAIN_MIN) }
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The machine's clock, which never goes back here: a store must not look dead because the clock was set.
#[derive(Debug)]
pub(crate) struct Clock {
    began: Instant,
    began_at: u64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { began: Instant::now(), began_at: now() }
    }

    pub(crate) fn now(&self) -> u64 {
        self.at(now(), self.began.elapsed())
    }

    fn at(&self, machine: u64, elapsed: Duration) -> u64 {
        machine.max(self.began_at.saturating_add(elapsed.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_read_as_it_was_written() {
        let counts = Some(Counts { slots: 64, again: 8 });
        for lease in [Lease { seen: 7, counts }, Lease { seen: u64::MAX, counts: None }] {
            assert_eq!(Lease::parse(lease.text().as_bytes()), Some(lease));
        }
        for wrong in [&b""[..], b"x", b"-1", b"\xff", b"99999999999999999999999"] {
            assert_eq!(Lease::parse(wrong), None);
        }
        assert_eq!(Lease::parse(b"7 64").map(|lease| lease.counts), Some(None));
    }

    #[test]
    fn announced_counts_cover_what_is_used() {
        let used = Counts { slots: 65, again: 9 };
        assert_eq!(announced(used), Counts { slots: 128, again: 16 });
        let most = Counts { slots: u32::MAX, again: u32::MAX };
        assert!(announced(most).cover(most));
        assert_eq!(announced(Counts::default()), Counts { slots: 64, again: 8 });
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_age_a_store() {
        let clock = Clock { began: Instant::now(), began_at: 10_000 };
        let minute = Duration::from_secs(60);
        assert_eq!(clock.at(10_060, minute), 10_060);
        assert_eq!(clock.at(6_460, minute), 10_060, "an hour back");
        assert_eq!(clock.at(13_660, minute), 13_660, "an hour forward");
    }
}
