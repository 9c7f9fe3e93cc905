//! Taking care of what others left to do, when they let go of what somebody had marked: on the way of an allocation a
//! little of it, before a claim, a trim or a look at the accounts all of it.

/// Reports that an allocation takes care of on its way.
const PER_ALLOC: usize = 2;
/// Rounds, of up to 64 reports each, after which other threads make reports as fast as this one takes them.
const ROUNDS_MAX: usize = 1 << 16;

/// A pool that others leave reports to.
pub(crate) trait Attend {
    /// Whether there are reports. A look, and cheap.
    fn has_deferred(&self) -> bool;

    /// Takes care of some reports; `true` if there were any.
    fn drain_deferred(&self) -> bool;

    /// A bounded part of what others left to do; for the way of an allocation.
    #[inline]
    fn drain_some_deferred(&self) {
        for _ in 0..PER_ALLOC {
            if !self.has_deferred() {
                return;
            }
            self.drain_deferred();
        }
    }

    /// All that others left to do; `true` if there was any.
    fn drain_all_deferred(&self) -> bool {
        let mut any = false;
        for _ in 0..ROUNDS_MAX {
            if !self.drain_deferred() {
                break;
            }
            any = true;
        }
        any
    }
}
