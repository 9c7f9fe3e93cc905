//! What keeps a store and a space alive: their handles. The last handle of a store ends the shrinker; the last handle of a
//! space drops the space.
//!
//! The states cannot do that themselves: the shrinker holds the state of the store, and the list of spaces holds the state of
//! each space.

use std::{
    mem,
    sync::Arc,
    thread::{self, JoinHandle},
};

use super::{SpaceState, StoreState};

/// What the handles of a store and of its spaces hold.
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
            // A fork left an operation of the parent half done: the state stays as it is, and the pool does not end either.
            mem::forget(Arc::clone(&self.state));
        }
        let Some(shrinker) = self.thread.take() else { return };
        if self.state.wakeup.is_forked() {
            // The thread lives in the parent, and its share of the state never ends here: free memory goes back instead.
            mem::forget(shrinker);
            if let Ok(_operation) = self.state.enter() {
                self.state.trim();
            }
            return;
        }
        self.state.wakeup.stop();
        // A limit source runs in that thread and may hold the last handle of a space; the thread cannot wait for itself.
        if shrinker.thread().id() != thread::current().id() {
            // The panic hook has reported a panic of a limit source.
            let _ = shrinker.join();
        }
    }
}

/// What the clones of a space hold.
pub(crate) struct SpaceHandle {
    pub(crate) store: Arc<StoreHandle>,
    pub(crate) state: Arc<SpaceState>,
}

impl SpaceHandle {
    /// The first handle of a space.
    pub(crate) fn new(store: Arc<StoreHandle>, state: Arc<SpaceState>) -> Arc<Self> {
        let handle = Arc::new(Self { store, state });
        *handle.state.handle.lock() = Arc::downgrade(&handle);
        handle
    }

    /// Another handle of a listed space. `None` if its last handle is being dropped.
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
        // After a fork that left an operation half done, the space stays as it is.
        if !self.state.keep
            && let Ok(_operation) = self.store.state.enter()
        {
            self.store.state.drop_space(&self.state);
        }
    }
}
