//! Who keeps a store alive: its handles and those of its spaces. The shrinker's thread ends with the last of them.

use std::{
    mem,
    sync::Arc,
    thread::{self, JoinHandle},
};

use crate::inner::Inner;

/// What handles share; the thread has the inner part alone.
pub(crate) struct Shared {
    pub(crate) inner: Arc<Inner>,
    thread: Option<JoinHandle<()>>,
}

impl Shared {
    pub(crate) fn new(inner: Arc<Inner>, thread: Option<JoinHandle<()>>) -> Self {
        Self { inner, thread }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.inner.enter().is_err() {
            // What another thread of the parent left half done is not touched: not by the pool's own end either.
            mem::forget(Arc::clone(&self.inner));
        }
        let Some(shrinker) = self.thread.take() else { return };
        if self.inner.wake.is_forked() {
            // The thread is one of the parent's, with its share of the inner part: what is free goes back instead.
            mem::forget(shrinker);
            if let Ok(_operation) = self.inner.enter() {
                self.inner.trim();
            }
            return;
        }
        self.inner.wake.stop();
        // A limit source is called in that thread and may hold the last handle of a space: it cannot wait for itself.
        if shrinker.thread().id() != thread::current().id() {
            // A panic there came from a limit source and was reported by the panic hook.
            let _ = shrinker.join();
        }
    }
}
