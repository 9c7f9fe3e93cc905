//! The first signal to end stops the measurement, the second ends the process.
//!
//! During the read of the input, which may block for ever, the first ends the process. A signal ignored at the start
//! stays ignored, for `nohup` and background jobs.

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use pagefold_sys::signals::is_ignored;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ},
    iterator::Signals,
};
use thiserror::Error;

use crate::{console, exit::Exit};

#[derive(Debug, Error)]
#[error("the handler for Ctrl-C could not be set: {0}")]
pub(crate) struct InterruptError(io::Error);

impl From<&InterruptError> for Exit {
    fn from(_: &InterruptError) -> Self {
        Self::Failed
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt(Arc<State>);

#[derive(Default)]
struct State {
    requested: AtomicBool,
    reportable: AtomicBool,
    /// Undoes what outlives the process.
    before_exit: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("requested", &self.requested)
            .field("reportable", &self.reportable)
            .finish_non_exhaustive()
    }
}

impl Interrupt {
    /// Catches SIGINT, SIGTERM and SIGHUP unless ignored.
    ///
    /// # Errors
    /// When the system refuses the handlers or a thread.
    pub(crate) fn install() -> Result<Self, InterruptError> {
        let interrupt = Self::default();
        // If the system does not tell, none is ignored.
        let wanted = [SIGINT, SIGTERM, SIGHUP]
            .into_iter()
            .filter(|&signal| !is_ignored(signal).unwrap_or(false));
        let mut signals = Signals::new(wanted).map_err(InterruptError)?;
        let caught = interrupt.clone();
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || signals.forever().for_each(|_| caught.react()))
            .map_err(InterruptError)?;
        Ok(interrupt)
    }

    fn react(&self) {
        if self.request() {
            return;
        }
        if !self.is_reportable() {
            console::complain("interrupted while reading the input; nothing was measured");
        }
        if let Some(undo) = self.undo().take() {
            undo();
        }
        std::process::exit(Exit::Interrupted.code().into());
    }

    fn undo(&self) -> MutexGuard<'_, Option<Box<dyn FnOnce() + Send>>> {
        self.0.before_exit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs once, on the thread of the signals, before a signal ends the process.
    pub(crate) fn before_exit(&self, undo: impl FnOnce() + Send + 'static) {
        *self.undo() = Some(Box::new(undo));
    }

    pub(crate) fn set_reportable(&self) {
        // ORDERING: Relaxed; a flag that publishes nothing.
        self.0.reportable.store(true, Ordering::Relaxed);
    }

    fn is_reportable(&self) -> bool {
        // ORDERING: Relaxed; see `set_reportable`.
        self.0.reportable.load(Ordering::Relaxed)
    }

    /// Returns `false` if nothing will react.
    pub(crate) fn request(&self) -> bool {
        // ORDERING: Relaxed; the flag publishes nothing.
        let again = self.0.requested.swap(true, Ordering::Relaxed);
        !again && self.is_reportable()
    }

    pub(crate) fn is_requested(&self) -> bool {
        // ORDERING: Relaxed; see `request`.
        self.0.requested.load(Ordering::Relaxed)
    }
}

/// Turns a write beyond `ulimit -f` into an error.
pub(crate) fn outlive_file_limit() {
    // Child processes do not inherit a handler.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
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
