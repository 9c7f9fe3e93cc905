//! The last handle of a store ends the shrinker; the last handle of a space drops the space.
//!
//! States cannot do that: the shrinker holds the store's, and the list of spaces holds each space's.

use std::{
    mem,
    sync::Arc,
    thread::{self, JoinHandle},
};

use super::{SpaceState, StoreState};

pub(crate) struct StoreHandle {
    pub(crate) state: Arc<StoreState>,
    shrinker: Option<JoinHandle<()>>,
    pub(crate) workers: Vec<JoinHandle<()>>,
    pub(crate) spiller: Option<JoinHandle<()>>,
}

impl StoreHandle {
    pub(crate) fn new(state: Arc<StoreState>, shrinker: Option<JoinHandle<()>>) -> Self {
        Self { state, shrinker, workers: Vec::new(), spiller: None }
    }
}

impl Drop for StoreHandle {
    fn drop(&mut self) {
        if self.state.enter().is_err() {
            // A fork left an operation half done.
            mem::forget(Arc::clone(&self.state));
        }
        let threads = self.shrinker.take().into_iter().chain(self.workers.drain(..));
        let threads = threads.chain(self.spiller.take());
        let mut threads = threads.peekable();
        if threads.peek().is_none() {
            return;
        }
        if self.state.wakeup.is_forked() && self.state.workers.is_forked() {
            // The threads live in the parent and never end here: return free memory.
            threads.for_each(mem::forget);
            if let Ok(_operation) = self.state.enter() {
                self.state.trim();
            }
            return;
        }
        self.state.wakeup.stop();
        self.state.workers.stop();
        if let Some(spilling) = &self.state.spilling {
            spilling.wakeup.stop();
        }
        for thread in threads {
            // A limit source in the shrinker's thread may drop the last handle.
            if thread.thread().id() != thread::current().id() {
                // The panic hook has reported a panic.
                let _ = thread.join();
            }
        }
    }
}

pub(crate) struct SpaceHandle {
    pub(crate) store: Arc<StoreHandle>,
    pub(crate) state: Arc<SpaceState>,
}

impl SpaceHandle {
    pub(crate) fn new(store: Arc<StoreHandle>, state: Arc<SpaceState>) -> Arc<Self> {
        let handle = Arc::new(Self { store, state });
        *handle.state.handle.lock() = Arc::downgrade(&handle);
        handle
    }

    /// `None` when the last handle is being dropped.
    pub(crate) fn of(store: &Arc<StoreHandle>, state: &Arc<SpaceState>) -> Option<Arc<Self>> {
        let mut known = state.handle.lock();
        if let Some(handle) = known.upgrade() {
            return Some(handle);
        }
        state.keep.then(|| {
            let handle = Arc::new(Self { store: Arc::clone(store), state: Arc::clone(state) });
            *known = Arc::downgrade(&handle);
            handle
        })
    }
}

impl Drop for SpaceHandle {
    fn drop(&mut self) {
        // Otherwise a fork left an operation half done.
        if !self.state.keep
            && let Ok(_operation) = self.store.state.enter()
        {
            self.store.state.drop_space(&self.state);
        }
    }
}
