//! Limits that follow the machine or cgroup.

use std::fmt;

use pagefold_sys::cgroup::{self, Cgroup};

/// Proposes the limit.
///
/// # Concurrency
/// The shrinker calls it unlocked; it may call the store. Panics are counted
/// ([`WorkStats::limit_source_failures`](crate::WorkStats::limit_source_failures)) and it is asked again. Answers are
/// clamped to [`Store::max_limit`](crate::Store::max_limit).
pub trait LimitSource: Send + fmt::Debug {
    /// In bytes, with `resident` in use; `None` keeps it.
    fn limit(&mut self, resident: usize) -> Option<usize>;
}

/// A constant.
#[derive(Debug, Clone, Copy)]
pub struct FixedLimit(pub usize);

impl LimitSource for FixedLimit {
    fn limit(&mut self, _resident: usize) -> Option<usize> {
        Some(self.0)
    }
}

/// A closure's answer.
///
/// # Examples
/// ```
/// use pagefold_store::{LimitFn, LimitSource};
///
/// let mut half = LimitFn::new(|resident| Some(resident / 2));
/// assert_eq!(half.limit(10), Some(5));
/// ```
pub struct LimitFn<F>(F);

impl<F: FnMut(usize) -> Option<usize> + Send> LimitFn<F> {
    /// Calls `f` with the bytes in use.
    pub fn new(f: F) -> Self {
        Self(f)
    }
}

impl<F> fmt::Debug for LimitFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LimitFn").finish_non_exhaustive()
    }
}

impl<F: FnMut(usize) -> Option<usize> + Send> LimitSource for LimitFn<F> {
    fn limit(&mut self, resident: usize) -> Option<usize> {
        (self.0)(resident)
    }
}

/// Follows the cgroup: the store may grow into half of the memory free below `memory.high` or `memory.max`, the lower
/// one. While tasks wait for memory more than a tenth of the time (`some avg10` of the pressure stall information), it
/// gives up a quarter of its use each second.
///
/// Without a readable limit, only pressure counts.
#[derive(Debug)]
pub struct CgroupLimit {
    cgroup: Cgroup,
    min: usize,
    max: usize,
}

/// Percent (`avg10`) above which the store shrinks.
const PRESSURE: f64 = 10.0;

impl CgroupLimit {
    /// Between `min` and `max` bytes, for the current cgroup.
    ///
    /// # Errors
    /// [`CgroupError`](cgroup::CgroupError) outside of cgroup version 2.
    pub fn new(min: usize, max: usize) -> Result<Self, cgroup::CgroupError> {
        Ok(Self::of(Cgroup::current()?, min, max))
    }

    /// As [`new`](Self::new), for any cgroup.
    pub fn of(cgroup: Cgroup, min: usize, max: usize) -> Self {
        Self { cgroup, min, max: max.max(min) }
    }
}

impl LimitSource for CgroupLimit {
    fn limit(&mut self, resident: usize) -> Option<usize> {
        let pressure = self.cgroup.pressure().ok().flatten().map_or(0.0, |some| some.avg10);
        let usage = self.cgroup.memory().ok();
        let wanted = if pressure > PRESSURE {
            resident / 4 * 3
        } else {
            let usage = usage?;
            let bound = usage.high.into_iter().chain(usage.max).min()?;
            resident + usize::try_from(bound.saturating_sub(usage.current) / 2).ok()?
        };
        Some(wanted.clamp(self.min, self.max))
    }
}
