//! The store: spaces, limit, statistics.

use std::{fmt, sync::Arc, time::Duration};

use pagefold_frame::{Charge, OutOfFrames};
use pagefold_pool::{CompactReport, LimitError};

use crate::{
    builder::StoreBuilder,
    config::{SpaceConfig, SpaceKind},
    counters::Counters,
    error::{SpaceError, ValidateError},
    index::Index,
    space::Space,
    state::{SpaceState, handle::StoreHandle, room::ShrinkReport},
    stats::{SpaceStats, StoreStats},
};

/// How long a validation waits for operations that are under way.
const VALIDATE_WAIT: Duration = Duration::from_secs(10);

/// Compressed pages and values of any number of spaces, under one hard limit on everything that may be resident.
///
/// Cheap to clone; clones are the same store. It lives as long as a handle of it or of one of its spaces.
///
/// # Examples
/// ```
/// use pagefold_store::{GetError, SpaceConfig, Store};
///
/// let store = Store::builder().limit(16 << 20).build()?;
/// let pages = store.space(SpaceConfig::persistent(1000))?;
///
/// let page: [u8; 4096] = std::array::from_fn(|at| (at / 100) as u8);
/// pages.put(7, &page)?;
/// let mut back = [0; 4096];
/// pages.get(7, &mut back)?;
/// assert_eq!(back, page);
///
/// assert!(pages.remove(7)?);
/// assert_eq!(pages.get(7, &mut back), Err(GetError::Absent));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Store {
    handle: Arc<StoreHandle>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let store = &self.handle.state;
        f.debug_struct("Store")
            .field("allocator", &store.pool.name())
            .field("codec", &store.encoder.codec.name())
            .field("limit", &store.limit())
            .finish_non_exhaustive()
    }
}

impl Store {
    pub(crate) fn new(handle: StoreHandle) -> Self {
        Self { handle: Arc::new(handle) }
    }

    /// Configures a store.
    pub fn builder() -> StoreBuilder {
        StoreBuilder::default()
    }

    /// Makes a space.
    ///
    /// # Errors
    /// [`SpaceError`].
    pub fn space(&self, mut config: SpaceConfig) -> Result<Space, SpaceError> {
        let store = &self.handle.state;
        let _operation = store.enter()?;
        let pages = config.pages;
        let index = Index::new(&store.nodes, pages, config.kind == SpaceKind::Ephemeral);
        let counters = Counters::new();
        let fixed = size_of::<SpaceState>() + index.fixed_bytes() + counters.fixed_bytes();
        let charge = self.charge_beside(fixed).map_err(|_| SpaceError::Full)?;
        let space = store.adopt(config.name.take(), config.kind, move |name| {
            SpaceState::new(name, config, index, counters, charge)
        })?;
        tracing::debug!(space = space.name, pages, "a space was made");
        Ok(Space::new(Arc::clone(&self.handle), space))
    }

    /// The current spaces, in order of creation. Each is a handle and keeps its space alive.
    ///
    /// # Examples
    /// ```
    /// use pagefold_store::{SpaceConfig, Store};
    ///
    /// let store = Store::builder().limit(16 << 20).build()?;
    /// let (one, two) = (store.space(SpaceConfig::persistent(10))?, store.space(SpaceConfig::persistent(10))?);
    /// let spaces = store.spaces();
    /// let names: Vec<&str> = spaces.iter().map(|space| space.name()).collect();
    /// assert_eq!(names, ["persistent", "persistent-2"]);
    /// # let _ = (one, two);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn spaces(&self) -> Vec<Space> {
        let store = &self.handle.state;
        let Ok(_operation) = store.enter() else { return Vec::new() };
        let spaces = store.spaces();
        spaces.iter().filter_map(|space| Space::of(&self.handle, space)).collect()
    }

    /// The space of this name, if there is one.
    pub fn find_space(&self, name: &str) -> Option<Space> {
        let store = &self.handle.state;
        let _operation = store.enter().ok()?;
        Space::of(&self.handle, &store.find(name)?)
    }

    /// Charges memory outside of the pool until the charge is dropped. Makes room if needed.
    pub(crate) fn charge_beside(&self, bytes: usize) -> Result<Charge, OutOfFrames> {
        let store = &self.handle.state;
        let _operation = store.enter().map_err(|_| OutOfFrames)?;
        store.memory.charge_beside(bytes).or_else(|_| {
            store.shrink(bytes);
            store.memory.charge_beside(bytes)
        })
    }

    /// Drops a space with everything in it. Other handles of it answer [`KeyError::Dropped`](crate::KeyError::Dropped)
    /// from now on; what puts of other threads were about to put is not there when this returns. Its index goes with
    /// the last handle, all but empty.
    ///
    /// # Panics
    /// If it is a space of another store.
    pub fn drop_space(&self, space: &Space) {
        assert!(space.is_of(&self.handle), "a space is dropped by its own store");
        if let Ok(_operation) = self.handle.state.enter() {
            self.handle.state.drop_space(space.state());
        }
    }

    /// The limit in force, in bytes.
    pub fn limit(&self) -> usize {
        self.handle.state.limit()
    }

    /// How far [`set_limit`](Self::set_limit) can raise the limit, in bytes; see
    /// [`StoreBuilder::max_limit`](crate::StoreBuilder::max_limit).
    pub fn max_limit(&self) -> usize {
        self.handle.state.max_limit()
    }

    /// All that may be resident at this moment, in bytes; never above [`limit`](Self::limit). One atomic load.
    pub fn resident(&self) -> usize {
        self.handle.state.resident()
    }

    /// Changes the limit. Lowering it compacts, and drops pages of ephemeral spaces, until what is left fits; the new
    /// limit holds when this returns `Ok`. Puts meanwhile keep to the lower one.
    ///
    /// # Errors
    /// [`LimitError`]: `InUse` when what persistent spaces hold does not fit, `TooLarge` above
    /// [`max_limit`](Self::max_limit). The old limit is then still in force.
    pub fn set_limit(&self, bytes: usize) -> Result<(), LimitError> {
        let store = &self.handle.state;
        match store.enter() {
            Ok(_operation) => store.set_limit(bytes),
            Err(_) => Err(LimitError::InUse { limit: bytes, resident: store.resident() }),
        }
    }

    /// Gives about `bytes` of what is resident back to the system: what is free anyway, then by compaction, then by
    /// dropping pages of ephemeral spaces. `usize::MAX` drops them all.
    pub fn shrink(&self, bytes: usize) -> ShrinkReport {
        let store = &self.handle.state;
        store.enter().map_or_else(|_| ShrinkReport::default(), |_operation| store.shrink(bytes))
    }

    /// Moves about `budget` bytes so that frames become free; call again while
    /// [`more`](pagefold_pool::CompactReport::more) says so. Drops nothing.
    pub fn compact(&self, budget: usize) -> CompactReport {
        let store = &self.handle.state;
        store.enter().map_or_else(|_| CompactReport::default(), |_operation| store.compact(budget))
    }

    /// The accounts of the store and of each space.
    pub fn stats(&self) -> StoreStats {
        let store = &self.handle.state;
        match store.enter() {
            Ok(_operation) => store.stats(),
            Err(_) => store.abandoned_stats(),
        }
    }

    /// Calls `f` with the accounts of each space, without a lock: `f` may call everything, including `put`, and its
    /// changes show in later accounts. Spaces dropped meanwhile are left out.
    pub fn visit_stats(&self, f: &mut dyn FnMut(&SpaceStats)) {
        let store = &self.handle.state;
        let spaces = store.enter().map_or_else(|_| Vec::new(), |_operation| store.spaces());
        for space in spaces {
            let stats = match store.enter() {
                Ok(_operation) if !space.index.is_closed() => space.stats(),
                _ => continue,
            };
            f(&stats);
        }
    }

    /// Walks every structure of the pool and checks every invariant, and the store's own accounts against the indices.
    ///
    /// # Errors
    /// [`ValidateError`]: the first violation found; or `Busy`, from inside a callback of the store, or when operations of
    /// other threads are under way for more than ten seconds.
    ///
    /// # Concurrency
    /// Waits for operations of other threads, and keeps new ones from beginning until it is done;
    /// [`try_get`](Space::try_get) says `WouldBlock` meanwhile.
    pub fn validate(&self) -> Result<(), ValidateError> {
        let store = &self.handle.state;
        let _quiet = store.operations.quiesce(VALIDATE_WAIT).ok_or(ValidateError::Busy)?;
        Ok(store.validate()?)
    }
}
