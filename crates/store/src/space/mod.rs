//! A space: keys with a kind, a limit and statistics of their own.

mod attempt;
mod form;
mod get;
pub(crate) mod keys;
mod many;
mod on_base;
mod put;
mod remove;
mod resize;
mod retry;
mod update;
mod values;
pub(crate) mod version;

use std::{fmt, sync::Arc};

use pagefold_sys::quiesce::Entered;

use crate::{
    config::SpaceKind,
    counters::Count,
    error::KeyError,
    state::{
        SpaceState, StoreState,
        handle::{SpaceHandle, StoreHandle},
    },
    stats::SpaceStats,
};

/// A part of a [`Store`](crate::Store): keys from 0 up, each with a page, a value, or nothing.
///
/// Clones share the space. Dropping the last one drops the space, unless it was made to
/// [`keep`](crate::SpaceConfig::keep).
///
/// # Concurrency
/// Gets take no lock; puts take one of 16 to exchange an index word, never while a codec runs or user memory is read.
/// [`try_get`](Self::try_get) suits signal handlers.
///
/// # Examples
/// ```
/// use pagefold_store::{GetError, SpaceConfig, Store};
///
/// let store = Store::builder().limit(16 << 20).build()?;
/// let pages = store.space(SpaceConfig::persistent(1000).name("heap"))?;
///
/// pages.put(7, &[1; 4096])?;
/// let mut page = [0; 4096];
/// pages.get(7, &mut page)?;
/// assert_eq!((page, pages.len()), ([1; 4096], 1));
///
/// pages.remove(7)?;
/// assert!(matches!(pages.get(7, &mut page), Err(GetError::Absent)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Space {
    handle: Arc<SpaceHandle>,
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = self.state();
        f.debug_struct("Space")
            .field("name", &space.name)
            .field("kind", &space.kind)
            .field("pages", &space.index.pages())
            .finish_non_exhaustive()
    }
}

impl Space {
    pub(crate) fn new(store: Arc<StoreHandle>, state: Arc<SpaceState>) -> Self {
        Self { handle: SpaceHandle::new(store, state) }
    }

    pub(crate) fn of(store: &Arc<StoreHandle>, state: &Arc<SpaceState>) -> Option<Self> {
        let space = Self { handle: SpaceHandle::of(store, state)? };
        (!state.index.is_closed()).then_some(space)
    }

    pub(crate) fn state(&self) -> &Arc<SpaceState> {
        &self.handle.state
    }

    pub(crate) fn store(&self) -> &StoreState {
        &self.handle.store.state
    }

    pub(crate) fn is_of(&self, store: &Arc<StoreHandle>) -> bool {
        Arc::ptr_eq(&self.handle.store, store)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.state().name
    }

    /// Whether it may drop pages.
    pub fn kind(&self) -> SpaceKind {
        self.state().kind
    }

    /// Keys are below this.
    pub fn capacity(&self) -> u64 {
        self.state().index.pages()
    }

    /// The number of used keys.
    pub fn len(&self) -> u64 {
        let counters = &self.state().counters;
        let present = [
            Count::Same,
            Count::Compressed,
            Count::Raw,
            Count::Fresh,
            Count::Clustered,
            Count::Equal,
            Count::Deltas,
            Count::Spilled,
            Count::Values,
        ];
        present.map(|count| counters.sum(count)).iter().sum()
    }

    /// Whether no key is used.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the key is used.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn contains(&self, key: u64) -> Result<bool, KeyError> {
        let (key, _operation) = self.begin(key)?;
        Ok(!self.state().index.load(key).is_empty())
    }

    /// Changes the limit on bytes of objects. Objects above it stay until they are removed, overwritten or evicted.
    pub fn set_limit(&self, bytes: u64) {
        self.state().set_limit(bytes);
    }

    /// The accounts.
    pub fn stats(&self) -> SpaceStats {
        let _operation = self.store().enter();
        self.state().stats()
    }

    #[inline]
    fn begin(&self, key: u64) -> Result<(u64, Entered<'_>), KeyError> {
        let operation = self.store().enter()?;
        Ok((self.key(key)?, operation))
    }

    /// As [`begin`](Self::begin), for a call that changes the space.
    #[inline]
    fn begin_change(&self, key: u64) -> Result<(u64, Entered<'_>), KeyError> {
        let begun = self.begin(key)?;
        if self.state().is_frozen() { Err(KeyError::Frozen) } else { Ok(begun) }
    }

    #[inline]
    fn try_begin(&self, key: u64) -> Result<Option<(u64, Entered<'_>)>, KeyError> {
        let Some(operation) = self.store().try_enter()? else { return Ok(None) };
        Ok(Some((self.key(key)?, operation)))
    }

    #[inline]
    fn key(&self, key: u64) -> Result<u64, KeyError> {
        let index = &self.state().index;
        if index.is_closed() {
            return Err(KeyError::Dropped);
        }
        let pages = index.pages();
        if key < pages { Ok(key) } else { Err(KeyError::Beyond { key, pages }) }
    }
}
