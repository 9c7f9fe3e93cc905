//! How calls go.

use std::time::Duration;

use opendal::{
    Operator,
    layers::{ConcurrentLimitLayer, RetryLayer, TimeoutLayer},
};

/// The wait before the second try; it doubles with each.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// How calls go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Options {
    retries: usize,
    timeout: Duration,
    concurrency: usize,
}

impl Options {
    /// A call is tried again so many times; 2 by default. Each try waits longer, from 50 ms on.
    pub fn retries(self, retries: usize) -> Self {
        Self { retries, ..self }
    }

    /// For each try; 1 s by default. The reads of a store have a deadline of their own.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Calls at once; 16 by default, at least 1.
    pub fn concurrency(self, calls: usize) -> Self {
        Self { concurrency: calls.max(1), ..self }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self { retries: 2, timeout: Duration::from_secs(1), concurrency: 16 }
    }
}

/// An operator with the layers of [`Options`].
#[derive(Debug, Clone)]
pub(crate) struct Calls {
    /// Tries again.
    pub(crate) operator: Operator,
    /// Tries once: for calls that must not be repeated under the same name.
    pub(crate) once: Operator,
    pub(crate) retries: usize,
    pub(crate) concurrency: usize,
}

impl Calls {
    pub(crate) fn new(operator: Operator, options: Options) -> Self {
        let Options { retries, timeout, concurrency } = options;
        let timeout = TimeoutLayer::new().with_timeout(timeout).with_io_timeout(timeout);
        // Both share its permits.
        let limit = ConcurrentLimitLayer::new(concurrency);
        let retry = RetryLayer::new().with_max_times(retries).with_min_delay(RETRY_PAUSE);
        let timed = operator.layer(timeout);
        Self {
            operator: timed.clone().layer(retry).layer(limit.clone()),
            once: timed.layer(limit),
            retries,
            concurrency,
        }
    }

    pub(crate) fn can_list(&self) -> bool {
        self.operator.info().capability().list
    }
}
