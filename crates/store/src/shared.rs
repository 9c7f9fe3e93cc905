//! Who keeps a store alive: its handles and those of its spaces. The shrinker's thread ends with the last of them.

use std::thread::{self, JoinHandle};

use crate::inner::Inner;

/// What handles share; the thread has the inner part alone.
pub(crate) struct Shared {
    pub(crate) inner: std::sync::Arc<Inner>,
    thread: Option<JoinHandle<()>>,
}

impl Shared {
    pub(crate) fn new(inner: std::sync::Arc<Inner>, thread: Option<JoinHandle<()>>) -> Self {
        Self { inner, thread }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let Some(shrinker) = self.thread.take() else { return };
        self.inner.wake.stop();
        // A limit source is called in that thread and may hold the last handle of a space: it cannot wait for itself.
        if shrinker.thread().id() != thread::current().id() {
            // A panic there came from a limit source and was reported by the panic hook.
            let _ = shrinker.join();
        }
    }
}
