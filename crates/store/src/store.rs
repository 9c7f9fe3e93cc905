//! The store.

use std::{fmt, fs::File, sync::Arc, time::Duration};

use pagefold_frame::{Charge, OutOfFrames};
use pagefold_pool::{CompactReport, LimitError};

use crate::{
    base::{Base, BaseError, BaseSource, Kind, Mapping, MappingError},
    builder::StoreBuilder,
    config::{SpaceConfig, SpaceKind},
    counters::Counters,
    error::{SpaceError, ValidateError},
    idle::IdleReport,
    index::Index,
    page::PAGE_BYTES,
    space::Space,
    state::{
        SpaceState,
        bases::Opening,
        handle::StoreHandle,
        room::ShrinkReport,
        spill::{Spilled, Step},
    },
    stats::{SpaceStats, StoreStats},
};

const VALIDATE_WAIT: Duration = Duration::from_secs(10);

/// What [`Store::maintain`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MaintainReport {
    /// Pages handled, those that were overwritten or removed meanwhile included.
    pub pages: u64,
    /// Bytes of objects saved.
    pub saved_bytes: u64,
    /// Whether pages still wait.
    pub more: bool,
}

/// Compressed pages and values under one hard limit on resident memory.
///
/// Clones are cheap and the same store. Handles of its spaces keep it alive too.
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
        let mapping = self.mapping(&mut config)?;
        // Those of which pages leave memory: for room, or for the backing.
        let tracks = config.kind == SpaceKind::Ephemeral || store.spilling.is_some();
        let index = Index::new(&store.nodes, pages, tracks);
        let counters = Counters::new();
        let fixed = size_of::<SpaceState>() + index.fixed_bytes() + counters.fixed_bytes();
        let fixed = fixed + mapping.as_ref().map_or(0, Mapping::bytes);
        let charge = self.charge_beside(fixed).map_err(|_| SpaceError::Full)?;
        let space = store.adopt(config.name.take(), config.kind, move |name| {
            let number = store.next_space_number();
            SpaceState::new((name, number), (config, mapping), index, counters, charge)
        })?;
        tracing::debug!(space = space.name, pages, "a space was made");
        Ok(Space::new(Arc::clone(&self.handle), space))
    }

    fn mapping(&self, config: &mut SpaceConfig) -> Result<Option<Mapping>, MappingError> {
        // The handle of the store, which a base has, must not stay with the space.
        let Some(base) = config.base.take() else {
            return if config.mapped.is_empty() { Ok(None) } else { Err(MappingError::NoBase) };
        };
        if !base.is_of(&self.handle) {
            return Err(MappingError::Foreign);
        }
        let ranges = std::mem::take(&mut config.mapped);
        Mapping::new(Arc::clone(base.state()), ranges).map(Some)
    }

    /// Makes a base: reads every page of the source once.
    ///
    /// # Errors
    /// [`BaseError`].
    ///
    /// # Concurrency
    /// A space is frozen at a moment without operations, for which this waits up to ten seconds. Do not call it in a callback.
    ///
    /// # Examples
    /// See [`BaseSource`] and [`Base`].
    pub fn base(&self, source: BaseSource<'_>) -> Result<Base, BaseError> {
        let BaseSource { kind, name, resident, locked, expected } = source;
        let store = &self.handle.state;
        let opening = |default: &str| {
            let name = name.as_deref().unwrap_or(default).into();
            Opening { name, resident, locked, expected }
        };
        let state = match kind {
            Kind::Path(path) => {
                store.open_file(File::open(&path), opening(&path.display().to_string()))
            }
            Kind::File(file) => store.open_file(Ok(file), opening("file")),
            Kind::Memory(bytes) => {
                let space = self.space_of_base(&bytes)?;
                store.open_space(space.state(), opening(space.name()))
            }
            Kind::Space(space) if !space.is_of(&self.handle) => {
                return Err(BaseError::ForeignSpace { space: space.name().to_owned() });
            }
            Kind::Space(space) => store.open_space(space.state(), opening(space.name())),
        };
        let handle = Arc::clone(&self.handle);
        Ok(Base::new(state?, handle))
    }

    /// Bytes in a space of their own.
    fn space_of_base(&self, bytes: &[u8]) -> Result<Space, BaseError> {
        let pages = bytes.len().div_ceil(PAGE_BYTES) as u64;
        let space = loop {
            let name = format!("base-{}", self.handle.state.next_base_number());
            match self.space(SpaceConfig::persistent(pages).name(name)) {
                Err(SpaceError::NameTaken { .. }) => {}
                made => break made?,
            }
        };
        for (number, bytes) in (0..).zip(bytes.chunks(PAGE_BYTES)) {
            let mut page = [0; PAGE_BYTES];
            page[..bytes.len()].copy_from_slice(bytes);
            space.put(number, &page)?;
        }
        Ok(space)
    }

    /// The current spaces, in creation order; handles keep them alive.
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

    /// The space with this name.
    pub fn find_space(&self, name: &str) -> Option<Space> {
        let store = &self.handle.state;
        let _operation = store.enter().ok()?;
        Space::of(&self.handle, &store.find(name)?)
    }

    /// Charges memory outside the pool, making room if needed.
    pub(crate) fn charge_beside(&self, bytes: usize) -> Result<Charge, OutOfFrames> {
        let store = &self.handle.state;
        let _operation = store.enter().map_err(|_| OutOfFrames)?;
        store.memory.charge_beside(bytes).or_else(|_| {
            store.shrink(bytes);
            store.memory.charge_beside(bytes)
        })
    }

    /// Drops a space and its entries, those of concurrent puts too. Other handles then return
    /// [`KeyError::Dropped`](crate::KeyError::Dropped); the index goes with the last.
    ///
    /// # Panics
    /// For another store's space.
    pub fn drop_space(&self, space: &Space) {
        assert!(space.is_of(&self.handle), "a space is dropped by its own store");
        if let Ok(_operation) = self.handle.state.enter() {
            self.handle.state.drop_space(space.state());
        }
    }

    /// The current limit, in bytes.
    pub fn limit(&self) -> usize {
        self.handle.state.limit()
    }

    /// The highest possible limit, in bytes.
    pub fn max_limit(&self) -> usize {
        self.handle.state.max_limit()
    }

    /// Everything that may be resident, in bytes. One atomic load.
    pub fn resident(&self) -> usize {
        self.handle.state.resident()
    }

    /// Changes the limit; after `Ok` it holds. Lowering spills, compacts and drops ephemeral pages; concurrent puts obey the
    /// lower limit.
    ///
    /// # Errors
    /// [`LimitError`]: `InUse` if persistent pages do not fit, `TooLarge` above [`max_limit`](Self::max_limit). The old
    /// limit stays.
    pub fn set_limit(&self, bytes: usize) -> Result<(), LimitError> {
        let store = &self.handle.state;
        match store.enter() {
            Ok(_operation) => store.set_limit(bytes),
            Err(_) => Err(LimitError::InUse { limit: bytes, resident: store.resident() }),
        }
    }

    /// Returns about `bytes` to the system: free memory, then by compaction, then ephemeral pages (all with
    /// `usize::MAX`).
    pub fn shrink(&self, bytes: usize) -> ShrinkReport {
        let store = &self.handle.state;
        store.enter().map_or_else(|_| ShrinkReport::default(), |_operation| store.shrink(bytes))
    }

    /// Moves about `budget` bytes to free frames, dropping nothing; repeat while
    /// [`more`](pagefold_pool::CompactReport::more).
    pub fn compact(&self, budget: usize) -> CompactReport {
        let store = &self.handle.state;
        store.enter().map_or_else(|_| CompactReport::default(), |_operation| store.compact(budget))
    }

    /// Compresses all pages that wait in staging, and waits for those that workers have. Later puts are not waited for.
    ///
    /// # Concurrency
    /// Callable from several threads; do not call it in a signal handler.
    pub fn flush(&self) {
        let store = &self.handle.state;
        if let Ok(_operation) = store.enter() {
            store.flush();
        }
    }

    /// Compresses staged pages, then works on idle ones as far as a pass is due, about `budget` bytes of pages, in the
    /// calling thread: the workers' work, for a store without workers, or beside them. In a store without workers it also
    /// trains when that is due: 0.1 to 0.25 s.
    ///
    /// # Concurrency
    /// As [`flush`](Self::flush). Two threads share the work.
    pub fn maintain(&self, budget: usize) -> MaintainReport {
        let store = &self.handle.state;
        let mut report = MaintainReport::default();
        while report.pages < (budget / PAGE_BYTES) as u64 {
            // An operation a page, as a worker does it: a fork waits for one page.
            let Ok(_operation) = store.enter() else { break };
            if let Some(saved) = store.unstage_one(true) {
                report.pages += 1;
                report.saved_bytes += saved;
            } else if store.return_one() {
                report.pages += 1;
            } else {
                break;
            }
        }
        report.more = store.staging.has_before(u64::MAX);
        if !report.more {
            if store.training.by_callers {
                store.train_if_due(&|| true);
            }
            store.retire_codecs();
        }
        while !report.more && report.pages < (budget / PAGE_BYTES) as u64 {
            if store.training.by_callers {
                store.train_if_due(&|| true);
            }
            let Ok(_operation) = store.enter() else { break };
            let mut idle = IdleReport::default();
            store.begin_pass_if_due();
            if !store.step_of_pass(&mut idle) {
                break;
            }
            report.pages += idle.joined + idle.split + idle.refused;
            report.saved_bytes += idle.saved_bytes;
        }
        report
    }

    /// Makes a pass over all pages now, in the calling thread, without a bound on its time: pages that no call read or put
    /// since the last pass join clusters. See [`StoreBuilder::idle_share`].
    ///
    /// # Concurrency
    /// Callable from several threads and beside the workers, which then share the work; each may still be at its last
    /// cluster when another's call returns. Not for signal handlers.
    pub fn idle_pass(&self) -> IdleReport {
        let store = &self.handle.state;
        let mut report = IdleReport::default();
        if let Ok(_operation) = store.enter() {
            store.begin_pass();
        }
        loop {
            store.train_if_due(&|| true);
            // An operation a cluster: a fork waits for one.
            let Ok(_operation) = store.enter() else { break };
            if !store.step_of_pass(&mut report) {
                break;
            }
        }
        // Clusters may have been the end of the last pages of a dictionary.
        store.retire_codecs();
        report
    }

    /// Writes an extent of the coldest pages to the backing; whether it freed memory. For tests.
    #[doc(hidden)]
    pub fn spill_extent(&self) -> bool {
        matches!(self.handle.state.spill_extent(), Spilled::Freed)
    }

    /// Moves the live objects of the extent that has the least; whether it freed a slot. For tests.
    #[doc(hidden)]
    pub fn clean_extent(&self) -> bool {
        matches!(self.handle.state.clean_extents(), Spilled::Freed)
    }

    /// What the thread that spills does next; whether there may be more. For tests.
    #[doc(hidden)]
    pub fn spill_step(&self) -> bool {
        matches!(self.handle.state.spill_step(), Step::More)
    }

    /// Lets the workers rest after the page at hand, until [`resume_workers`](Self::resume_workers). Puts go on, and
    /// compress pages themselves when staging is full.
    pub fn pause_workers(&self) {
        self.handle.state.workers.pause();
    }

    /// Ends [`pause_workers`](Self::pause_workers).
    pub fn resume_workers(&self) {
        self.handle.state.workers.resume();
    }

    /// The accounts of store and spaces.
    pub fn stats(&self) -> StoreStats {
        let store = &self.handle.state;
        match store.enter() {
            Ok(_operation) => store.stats(),
            Err(_) => store.abandoned_stats(),
        }
    }

    /// Calls `f`, unlocked, with each space's accounts. `f` may call everything; later accounts show its changes.
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

    /// Checks the pool's invariants, and the store's accounts against the indices.
    ///
    /// # Errors
    /// [`ValidateError`]: the first violation; `Busy` inside a callback, or after ten seconds of other threads'
    /// operations.
    ///
    /// # Concurrency
    /// Waits for operations and blocks new ones; [`try_get`](Space::try_get) then returns `WouldBlock`.
    pub fn validate(&self) -> Result<(), ValidateError> {
        let store = &self.handle.state;
        let _quiet = store.operations.quiesce(VALIDATE_WAIT).ok_or(ValidateError::Busy)?;
        Ok(store.validate()?)
    }
}
