//! A space: keys of one tenant, with a kind, a limit and statistics of its own.
//!
//! | module | holds |
//! |---|---|
//! | `config` | what a space is made from |
//! | `put` | pages and values in |
//! | `get` | pages and values out |
//! | `remove` | taking out, and dropping a space |
//! | `keys` | which keys are used |
//! | `values` | more of values |
//! | `update` | puts that depend on what is there |
//! | `resize` | more keys, or fewer |
//! | `evicted` | who is told of what was dropped |

mod attempt;
mod config;
mod evicted;
mod get;
mod keys;
mod put;
mod remove;
mod resize;
mod update;
mod values;

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

pub use config::{SpaceConfig, SpaceKind};
use evicted::Listener;
pub use keys::Keys;
use pagefold_frame::Charge;
use pagefold_sys::quiesce::Entered;
use pagefold_sys::sync::Mutex;
pub use update::Version;

use crate::{
    KeyError, SpaceStats,
    counters::{Count, Counters},
    eviction::{EvictionOrder, SecondChance},
    index::Index,
    shared::Shared,
    word::{Entry, Word},
};

/// What belongs to a space alone. Known to its handles and to the store's list.
pub(crate) struct Tenant {
    pub(crate) name: String,
    pub(crate) kind: SpaceKind,
    pub(crate) index: Index,
    pub(crate) counters: Counters,
    pub(crate) order: Box<dyn EvictionOrder>,
    /// Chooses where `order` fails to.
    pub(crate) fallback: SecondChance,
    /// Until the space is dropped.
    on_evict: Mutex<Option<Arc<Listener>>>,
    /// Whether it stays when its last handle goes.
    keep: bool,
    /// What its handles share, while there are any.
    owner: Mutex<Weak<Owner>>,
    /// Held by whichever thread changes the number of keys.
    resizing: Mutex<()>,
    /// Bytes of objects, as the index words count them. With a limit it is never above it.
    used: AtomicU64,
    limit: AtomicU64,
    /// What lies outside of the tables; given back with the last handle.
    pub(crate) _charge: Charge,
}

impl Tenant {
    pub(crate) fn new(
        name: String,
        config: SpaceConfig,
        index: Index,
        counters: Counters,
        charge: Charge,
    ) -> Self {
        Self {
            name,
            kind: config.kind,
            index,
            counters,
            order: config.order,
            fallback: SecondChance::new(),
            on_evict: Mutex::new(config.on_evict),
            keep: config.keep,
            owner: Mutex::new(Weak::new()),
            resizing: Mutex::new(()),
            used: AtomicU64::new(0),
            limit: AtomicU64::new(config.limit),
            _charge: charge,
        }
    }

    // ORDERING of `used` and `limit`: Relaxed; atomicity alone keeps the sum within the limit, and no other memory
    // hangs on it.

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Counts `new` bytes in the place of `old`, unless the limit says no. What becomes less is only counted by
    /// [`settle`](Self::settle).
    fn admit(&self, new: u64, old: u64) -> bool {
        let more = new.saturating_sub(old);
        more == 0
            || self
                .used
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                    used.checked_add(more).filter(|sum| *sum <= self.limit())
                })
                .is_ok()
    }

    /// Counts what became less.
    fn settle(&self, new: u64, old: u64) {
        self.used.fetch_sub(old.saturating_sub(new), Ordering::Relaxed);
    }

    /// Counts what came, but for [`used`](Self::used).
    fn note_in(&self, entry: Entry, original: usize) {
        if let Some(count) = counted_as(entry) {
            self.counters.add(count, 1);
        }
        self.counters.add(Count::Original, original as u64);
        self.counters.add(Count::Objects, entry.counted_bytes());
    }

    /// Counts what went, but for [`used`](Self::used).
    pub(crate) fn note_out(&self, entry: Entry, original: usize) {
        if let Some(count) = counted_as(entry) {
            self.counters.sub(count, 1);
        }
        self.counters.sub(Count::Original, original as u64);
        self.counters.sub(Count::Objects, entry.counted_bytes());
    }

    /// Counts what took the place of something, but for [`used`](Self::used). Most pages take the place of their like,
    /// of which there are then as many as before.
    fn note_exchange(&self, new: Entry, new_original: usize, old: Entry, old_original: usize) {
        let counters = &self.counters;
        if counted_as(new) != counted_as(old) {
            counted_as(new).into_iter().for_each(|count| counters.add(count, 1));
            counted_as(old).into_iter().for_each(|count| counters.sub(count, 1));
        }
        counters.shift(Count::Original, new_original as u64, old_original as u64);
        counters.shift(Count::Objects, new.counted_bytes(), old.counted_bytes());
    }

    /// Tells the listener, if there is one, that a page was dropped. No lock may be held.
    pub(crate) fn report_evicted(&self, key: u64) {
        if let Some(listener) = self.listener() {
            listener.report(key);
        }
    }

    pub(crate) fn listener_panics(&self) -> u64 {
        // Not waited for: statistics of a store that a fork left unusable are asked for as well.
        let listener = self.on_evict.try_lock();
        listener.and_then(|known| known.as_ref().map(|listener| listener.panics())).unwrap_or(0)
    }

    fn listener(&self) -> Option<Arc<Listener>> {
        self.on_evict.lock().clone()
    }

    /// Lets go of the listener, which may hold a handle of this very space.
    pub(crate) fn drop_listener(&self) {
        let listener = self.on_evict.lock().take();
        drop(listener);
    }

    /// Counts what was taken out and not replaced.
    pub(crate) fn note_gone(&self, entry: Entry, original: usize) {
        self.settle(0, entry.counted_bytes());
        self.note_out(entry, original);
    }
}

fn counted_as(entry: Entry) -> Option<Count> {
    match entry {
        Entry::Empty => None,
        Entry::Same(_) | Entry::Pattern(_) => Some(Count::Same),
        Entry::Page { .. } => Some(Count::Compressed),
        Entry::Raw(_) => Some(Count::Raw),
        Entry::Value { .. } | Entry::Nil => Some(Count::Values),
    }
}

/// A tenant of a [`Store`](crate::Store): keys from 0 up, each with a page or a value, or nothing.
///
/// Cheap to clone; clones are the same space. When the last one is dropped, the space goes with everything in it, as
/// by [`Store::drop_space`](crate::Store::drop_space), unless it was made to [`keep`](SpaceConfig::keep).
///
/// # Concurrency
/// Shared by reference. [`try_get`](Self::try_get) never waits and is fit for a signal handler. Gets take no lock; puts
/// take one of 16 for the exchange of an index word, and never while a codec runs or user memory is read.
#[derive(Clone)]
pub struct Space {
    owner: Arc<Owner>,
}

/// What the clones of a space share: dropped with the last one.
struct Owner {
    shared: Arc<Shared>,
    tenant: Arc<Tenant>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        // What an operation of another thread of the parent left half done stays as it is.
        if !self.tenant.keep
            && let Ok(_operation) = self.shared.inner.enter()
        {
            self.shared.inner.drop_tenant(&self.tenant);
        }
    }
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenant = self.tenant();
        f.debug_struct("Space")
            .field("name", &tenant.name)
            .field("kind", &tenant.kind)
            .field("pages", &tenant.index.pages())
            .finish_non_exhaustive()
    }
}

impl Space {
    pub(crate) fn new(shared: Arc<Shared>, tenant: Arc<Tenant>) -> Self {
        let owner = Arc::new(Owner { shared, tenant });
        *owner.tenant.owner.lock() = Arc::downgrade(&owner);
        Self { owner }
    }

    /// Another handle of a space that the store knows, if it is not being dropped.
    pub(crate) fn of(shared: &Arc<Shared>, tenant: Arc<Tenant>) -> Option<Self> {
        let mut known = tenant.owner.lock();
        let owner = match known.upgrade() {
            Some(owner) => owner,
            None if tenant.keep => {
                let (shared, tenant) = (Arc::clone(shared), Arc::clone(&tenant));
                let owner = Arc::new(Owner { shared, tenant });
                *known = Arc::downgrade(&owner);
                owner
            }
            None => return None,
        };
        drop(known);
        // Not while the lock is held: it may be the last handle by now.
        let space = Self { owner };
        (!tenant.index.is_closed()).then_some(space)
    }

    pub(crate) fn tenant(&self) -> &Arc<Tenant> {
        &self.owner.tenant
    }

    pub(crate) fn inner(&self) -> &crate::inner::Inner {
        &self.owner.shared.inner
    }

    pub(crate) fn is_of(&self, shared: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.owner.shared, shared)
    }

    /// The name it was given.
    pub fn name(&self) -> &str {
        &self.tenant().name
    }

    /// Whether it may drop pages.
    pub fn kind(&self) -> SpaceKind {
        self.tenant().kind
    }

    /// Keys go from 0 to one less than this.
    pub fn capacity(&self) -> u64 {
        self.tenant().index.pages()
    }

    /// How many keys have something under them.
    pub fn len(&self) -> u64 {
        let counters = &self.tenant().counters;
        [Count::Same, Count::Compressed, Count::Raw, Count::Values]
            .map(|count| counters.sum(count))
            .iter()
            .sum()
    }

    /// Whether no key has anything under it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is anything under a key.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn contains(&self, key: u64) -> Result<bool, KeyError> {
        let (key, _operation) = self.begin(key)?;
        Ok(!self.tenant().index.load(key).is_empty())
    }

    /// Changes the limit on the bytes of the space's objects. What is above a lower limit stays until it is removed,
    /// overwritten, or, in an ephemeral space, makes room for the next put.
    pub fn set_limit(&self, bytes: u64) {
        self.tenant().limit.store(bytes, Ordering::Relaxed);
    }

    /// The accounts of this space.
    pub fn stats(&self) -> SpaceStats {
        let _operation = self.inner().enter();
        self.tenant().stats()
    }

    /// Begins an operation on a key, if the space has it and lives. It ends when the guard is dropped.
    #[inline]
    fn begin(&self, key: u64) -> Result<(u64, Entered<'_>), KeyError> {
        let operation = self.inner().enter()?;
        Ok((self.key(key)?, operation))
    }

    /// As [`begin`](Self::begin), without ever waiting: none while the store is validated, or the process is being forked.
    #[inline]
    fn try_begin(&self, key: u64) -> Result<Option<(u64, Entered<'_>)>, KeyError> {
        let Some(operation) = self.inner().try_enter()? else { return Ok(None) };
        Ok(Some((self.key(key)?, operation)))
    }

    /// The key, if the space has it and lives.
    #[inline]
    fn key(&self, key: u64) -> Result<u64, KeyError> {
        let index = &self.tenant().index;
        if index.is_closed() {
            return Err(KeyError::Dropped);
        }
        let pages = index.pages();
        if key < pages { Ok(key) } else { Err(KeyError::Beyond { key, pages }) }
    }
}

impl Tenant {
    pub(crate) fn stats(&self) -> SpaceStats {
        SpaceStats::of(self, self.used(), self.limit())
    }

    /// Whether `more` bytes are above the limit.
    pub(crate) fn is_over(&self, new: u64, old: Word) -> bool {
        let more = new.saturating_sub(old.entry().counted_bytes());
        more > 0 && self.used().saturating_add(more) > self.limit()
    }
}
