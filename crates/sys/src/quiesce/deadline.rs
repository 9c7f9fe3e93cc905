//! When to stop waiting.

use std::time::Duration;

use crate::sync;

/// `None` beyond the clock's range.
#[cfg(not(loom))]
#[derive(Debug)]
pub(super) struct Deadline(Option<std::time::Instant>);

#[cfg(not(loom))]
impl Deadline {
    pub(super) fn after(time: Duration) -> Self {
        Self(std::time::Instant::now().checked_add(time))
    }

    /// As [`sync::wait`]; false after the deadline.
    pub(super) fn wait(&self, key: usize, epoch: u32) -> bool {
        let Some(end) = self.0 else {
            sync::wait(key, epoch);
            return true;
        };
        let left = end.saturating_duration_since(std::time::Instant::now());
        if left.is_zero() {
            return false;
        }
        sync::wait_timeout(key, epoch, left);
        true
    }
}

/// A model has no clock: at once or never.
#[cfg(loom)]
#[derive(Debug)]
pub(super) struct Deadline(bool);

#[cfg(loom)]
impl Deadline {
    pub(super) fn after(time: Duration) -> Self {
        Self(time.is_zero())
    }

    pub(super) fn wait(&self, key: usize, epoch: u32) -> bool {
        if self.0 {
            return false;
        }
        sync::wait(key, epoch);
        true
    }
}
