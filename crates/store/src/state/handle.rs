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
    thread: Option<JoinHandle<()>>,
}

impl StoreHandle {
    pub(crate) fn new(state: Arc<StoreState>, thread: Option<JoinHandle<()>>) -> Self {
        Self { state, thread }
    }
}

impl Drop for StoreHandle {
    fn drop(&mut self) {
        if self.state.enter().is_err() {
            // A fork left an operation half done.
            mem::forget(Arc::clone(&self.state));
        }
        let Some(shrinker) = self.thread.take() else { return };
        if self.state.wakeup.is_forked() {
            // The thread lives in the parent and never ends here: return free memory.
            mem::forget(shrinker);
            if let Ok(_operation) = self.state.enter() {
                self.state.trim();
            }
            return;
        }
        self.state.wakeup.stop();
        // A limit source in that thread may drop the last handle.
        if shrinker.thread().id() != thread::current().id() {
            // The panic hook has reported a panic.
            let _ = shrinker.join();
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
