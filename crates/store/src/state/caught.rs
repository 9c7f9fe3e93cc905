//! Catches panics of codecs.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

/// Catches a panic of the codec. The store's own structures are not in use meanwhile.
pub(super) fn caught<R>(f: impl FnOnce() -> R) -> thread::Result<R> {
    catch_unwind(AssertUnwindSafe(f))
}
