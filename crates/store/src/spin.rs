//! Waiting for another thread's exchange.

use pagefold_sys::sync;

pub(crate) fn look_again() {
    #[cfg(loom)]
    sync::yield_now();
    #[cfg(not(loom))]
    sync::spin_loop();
}
