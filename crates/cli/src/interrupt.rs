//! Ctrl-C: the first one asks the measurement to stop after the current page, the second one ends the process.
//!
//! While the input is still being read there is nothing to report, and a read from a pipe may never return; then the
//! first one ends the process too.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::exit::{self, Exit, Failure};

/// Whether the user wants the measurement to stop. Clones share one state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt(Arc<State>);

#[derive(Debug, Default)]
struct State {
    requested: AtomicBool,
    reportable: AtomicBool,
}

impl Interrupt {
    /// Catches Ctrl-C and requests to terminate.
    ///
    /// # Errors
    /// When the system refuses the handler.
    pub(crate) fn install() -> Result<Self, Failure> {
        let interrupt = Self::default();
        let caught = interrupt.clone();
        ctrlc::set_handler(move || {
            if caught.request() {
                return;
            }
            if !caught.is_reportable() {
                exit::complain("interrupted while reading the input; nothing was measured");
            }
            std::process::exit(Exit::Interrupted.code().into());
        })
        .map_err(|error| Failure::Interrupt(error.to_string()))?;
        Ok(interrupt)
    }

    /// From now on a first Ctrl-C leads to a report.
    pub(crate) fn set_reportable(&self) {
        // ORDERING: Relaxed; a flag that publishes nothing.
        self.0.reportable.store(true, Ordering::Relaxed);
    }

    fn is_reportable(&self) -> bool {
        // ORDERING: Relaxed; see `set_reportable`.
        self.0.reportable.load(Ordering::Relaxed)
    }

    /// Asks the measurement to stop; `false` when nobody will react to it: asked before, or nothing to report yet.
    pub(crate) fn request(&self) -> bool {
        // ORDERING: Relaxed; the flag publishes nothing.
        let again = self.0.requested.swap(true, Ordering::Relaxed);
        !again && self.is_reportable()
    }

    /// Whether the measurement should stop after the current page.
    pub(crate) fn is_requested(&self) -> bool {
        // ORDERING: Relaxed; see `request`.
        self.0.requested.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_request_counts_once_there_is_something_to_report() {
        let early = Interrupt::default();
        assert!(!early.request(), "nothing to report yet");

        let interrupt = Interrupt::default();
        interrupt.set_reportable();
        assert!(!interrupt.is_requested());
        assert!(interrupt.request());
        assert!(interrupt.clone().is_requested());
        assert!(!interrupt.request(), "the second one ends the process");
    }
}
