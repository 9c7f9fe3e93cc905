//! Slots shared by all threads: each bounds the versions that a reader may see.
//!
//! ```text
//! empty --reserve--> storing --stored--> held --begin_free--> freeing --last user leaves--> empty
//!                       `--refused--> empty
//! ```
//! One thread at a time writes; any number may free, and one succeeds. Versions only grow: a reader may see `ended
//! ..= begun`. No thread calls the pool while it locks a slot.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
};

use pagefold_pool::Handle;
// ThreadSanitizer sees this one.
use pagefold_sys::sync::{Mutex, MutexGuard};

use super::{Failure, ensure};
use crate::pattern::mix;

/// Its bytes follow from the seed, `id` and `version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) handle: Handle,
    pub(super) id: u64,
    pub(super) len: usize,
    pub(super) version: u64,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Empty,
    Storing,
    Held(Held),
}

#[derive(Debug)]
struct Held {
    object: Object,
    writing: bool,
    freeing: bool,
    frees_running: u32,
    frees_won: u32,
}

#[derive(Debug, Default)]
pub(super) struct ObjectSlot {
    index: usize,
    state: Mutex<State>,
    begun: AtomicU64,
    ended: AtomicU64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Yes,
    Refused,
    Stale,
}

impl ObjectSlot {
    pub(super) fn new(index: usize) -> Self {
        Self { index, ..Self::default() }
    }

    pub(super) fn index(&self) -> usize {
        self.index
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Also the least version that a new reader may see.
    pub(super) fn peek(&self) -> Option<(Object, u64)> {
        match &*self.lock() {
            // ORDERING: SeqCst; pairs with the store after each write: no finished write is missed.
            State::Held(held) => Some((held.object, self.ended.load(Ordering::SeqCst))),
            _ => None,
        }
    }

    /// The greatest version visible now.
    pub(super) fn version_max(&self) -> u64 {
        // ORDERING: SeqCst; pairs with the store before each write: no begun write is missed.
        self.begun.load(Ordering::SeqCst)
    }

    pub(super) fn may_be_stale(&self, handle: Handle) -> bool {
        match &*self.lock() {
            State::Held(held) => held.object.handle != handle || held.freeing,
            _ => true,
        }
    }

    /// Returns the version to store.
    pub(super) fn reserve(&self) -> Option<u64> {
        let mut state = self.lock();
        if !matches!(*state, State::Empty) {
            return None;
        }
        *state = State::Storing;
        let version = self.begun.load(Ordering::SeqCst) + 1;
        self.begun.store(version, Ordering::SeqCst);
        self.ended.store(version, Ordering::SeqCst);
        Some(version)
    }

    pub(super) fn stored(&self, object: Option<Object>) {
        *self.lock() = match object {
            Some(object) => State::Held(Held {
                object,
                writing: false,
                freeing: false,
                frees_running: 0,
                frees_won: 0,
            }),
            None => State::Empty,
        };
    }

    /// Returns the object with the version to write.
    pub(super) fn begin_write(&self) -> Option<Object> {
        match &mut *self.lock() {
            State::Held(held) if !held.writing => {
                held.writing = true;
                let version = held.object.version + 1;
                self.begun.store(version, Ordering::SeqCst);
                Some(Object { version, ..held.object })
            }
            _ => None,
        }
    }

    pub(super) fn end_write(&self, object: Object, written: Written) -> Result<(), Failure> {
        let mut state = self.lock();
        let State::Held(held) = &mut *state else {
            return Err(Failure(format!(
                "the slot of {object:?} was emptied while it was written"
            )));
        };
        held.writing = false;
        match written {
            Written::Yes => {
                held.object.version = object.version;
                self.ended.store(object.version, Ordering::SeqCst);
            }
            // The next object needs a greater version.
            Written::Refused | Written::Stale if held.freeing => {
                held.object.version = object.version;
            }
            Written::Refused => self.begun.store(held.object.version, Ordering::SeqCst),
            Written::Stale => {
                return Err(Failure(format!(
                    "{object:?} is alive, and writing to it says it is stale"
                )));
            }
        }
        Self::leave(&mut state)
    }

    /// With `join`, also if another thread has begun one.
    pub(super) fn begin_free(&self, join: bool) -> Option<Object> {
        match &mut *self.lock() {
            State::Held(held) if !held.freeing || join => {
                held.freeing = true;
                held.frees_running += 1;
                Some(held.object)
            }
            _ => None,
        }
    }

    pub(super) fn begin_free_of(&self, handle: Handle) -> Option<Object> {
        match &mut *self.lock() {
            State::Held(held) if held.object.handle == handle => {
                held.freeing = true;
                held.frees_running += 1;
                Some(held.object)
            }
            _ => None,
        }
    }

    pub(super) fn end_free(&self, object: Object, won: bool) -> Result<(), Failure> {
        let mut state = self.lock();
        let State::Held(held) = &mut *state else {
            return Err(Failure(format!("the slot of {object:?} was emptied while it was freed")));
        };
        held.frees_running -= 1;
        held.frees_won += u32::from(won);
        Self::leave(&mut state)
    }

    /// The object, between cycles.
    pub(super) fn resting(&self) -> Result<Option<Object>, Failure> {
        match &*self.lock() {
            State::Empty => Ok(None),
            State::Held(held) if !held.writing && !held.freeing => Ok(Some(held.object)),
            busy => Err(Failure(format!("a slot is not at rest: {busy:?}"))),
        }
    }

    /// The last thread out empties a freeing slot and counts successful frees.
    fn leave(state: &mut State) -> Result<(), Failure> {
        if let State::Held(held) = state
            && held.freeing
            && !held.writing
            && held.frees_running == 0
        {
            let (object, won) = (held.object, held.frees_won);
            *state = State::Empty;
            ensure!(won == 1, "{won} frees of {object:?} succeeded instead of one");
        }
        Ok(())
    }
}

#[derive(Debug)]
pub(super) struct Directory {
    shards: Vec<Mutex<HashMap<Handle, usize>>>,
}

impl Directory {
    const SHARDS: usize = 64;

    pub(super) fn new() -> Self {
        Self { shards: (0..Self::SHARDS).map(|_| Mutex::default()).collect() }
    }

    fn shard(&self, handle: Handle) -> MutexGuard<'_, HashMap<Handle, usize>> {
        let lot = mix(handle.to_raw()) % Self::SHARDS as u64;
        self.shards[usize::try_from(lot).unwrap_or(0)].lock()
    }

    pub(super) fn insert(&self, handle: Handle, slot: usize) {
        self.shard(handle).insert(handle, slot);
    }

    pub(super) fn find(&self, handle: Handle) -> Option<usize> {
        self.shard(handle).get(&handle).copied()
    }

    pub(super) fn remove(&self, handle: Handle) {
        self.shard(handle).remove(&handle);
    }
}
