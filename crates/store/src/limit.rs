//! Limits that follow the machine or the cgroup.
//!
//! The shrinker asks once a second and lowers or raises the limit, as far as what must not be dropped allows. The hard
//! limit of the moment holds between two answers as it always does.

use std::fmt;

use pagefold_sys::cgroup::{self, Cgroup};

/// Says what the limit should be.
///
/// # Concurrency
/// Called by the shrinker's thread, with no lock held. It may call the store. A panic is counted
/// ([`WorkStats::limit_source_failures`](crate::WorkStats::limit_source_failures)), and the source is asked again a second
/// later. What is beyond [`Store::max_limit`](crate::Store::max_limit) is clamped to that.
pub trait LimitSource: Send + fmt::Debug {
    /// The limit, in bytes, while `resident` bytes are in use; `None` to leave it as it is.
    fn limit(&mut self, resident: usize) -> Option<usize>;
}

/// A number: what [`set_limit`](crate::Store::set_limit) does, once a second.
#[derive(Debug, Clone, Copy)]
pub struct FixedLimit(pub usize);

impl LimitSource for FixedLimit {
    fn limit(&mut self, _resident: usize) -> Option<usize> {
        Some(self.0)
    }
}

/// Whatever a closure says.
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
    /// A source that calls `f` with the bytes in use.
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

/// What the cgroup of this process leaves: the store may grow into half of what is free below `memory.high` (or
/// `memory.max` where that is lower), and gives up a quarter of what it uses for each second in which tasks waited for
/// memory more than a tenth of the time (`some avg10` of the pressure stall information).
///
/// Half, so that several stores in one cgroup, and the rest of the program, find room as well. Without a cgroup limit, or
/// where the files cannot be read, the limit stays as it is unless there is pressure.
#[derive(Debug)]
pub struct CgroupLimit {
    cgroup: Cgroup,
    min: usize,
    max: usize,
}

/// Percent of the last ten seconds in which some task waited for memory: above it the store gives memory back.
const PRESSURE: f64 = 10.0;

impl CgroupLimit {
    /// A limit that stays between `min` and `max` bytes, by the cgroup that this process is in now.
    ///
    /// # Errors
    /// [`CgroupError`](cgroup::CgroupError) when this process is in no cgroup of version 2.
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
