//! What a region does when a page cannot leave memory.

use std::time::Duration;

/// What happens when the store is full and nothing in it can go, and when its backing cannot read a spilled page or does not answer. A
/// memory access cannot return an error.
///
/// A page that is lost or corrupt ends the process under either policy, with a message that names it: there are never wrong bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailurePolicy {
    /// Threads that touch missing pages wait until there is room: kept copies are dropped, the store is compacted, idle pages become
    /// denser. A limit that is raised, or `advise(DontNeed)`, ends it.
    Block,
    /// As `Block` for so long; then the process ends, with a message that names the cause.
    AbortAfter(Duration),
}

impl Default for FailurePolicy {
    /// `AbortAfter` 30 seconds.
    fn default() -> Self {
        Self::AbortAfter(Duration::from_secs(30))
    }
}
