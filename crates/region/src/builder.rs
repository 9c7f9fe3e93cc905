//! [`RegionBuilder`].

use std::sync::Arc;

use pagefold_codec::CodecSpec;
use pagefold_store::{PAGE_BYTES, SpaceConfig, Store, StoreBuilder};
use pagefold_sys::{memory, signals::Blocked, sync::default_slot_count, userfault::Delivery};

use crate::{
    backing::{Backing, guard::Guard, inline::Inline},
    core::{BATCH, Core, NEIGHBOURS_MAX, Parts, Settings},
    error::BuildRegionError,
    failure::FailurePolicy,
    fork::{self, ForkPolicy},
    mode::{self, FaultMode, ModeReport},
    region::Region,
    registry,
    server::Threads,
};

/// Batches of the least limit: pages that are being placed, chosen, and kept.
const LIMIT_BATCHES_MIN: usize = 4;

/// Builds a [`Region`].
#[derive(Debug)]
#[must_use]
pub struct RegionBuilder {
    bytes: usize,
    resident_limit: Option<usize>,
    store: StoreBuilder,
    mode: FaultMode,
    kept: Option<usize>,
    limbo: Option<usize>,
    neighbours: usize,
    evictors: usize,
    fork: ForkPolicy,
    failure: FailurePolicy,
}

impl RegionBuilder {
    pub(crate) fn new(bytes: usize) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            bytes,
            resident_limit: None,
            store: Store::builder().limit(bytes.max(64 << 20)),
            mode: FaultMode::Auto,
            kept: None,
            limbo: None,
            neighbours: NEIGHBOURS_MAX,
            evictors: (processors / 4).clamp(1, 4),
            fork: ForkPolicy::default(),
            failure: FailurePolicy::default(),
        }
    }

    /// The bytes of the region that may be in memory at a time, the store not counted: at least 1 MiB; by default a quarter of
    /// the region.
    pub fn resident_limit(mut self, bytes: usize) -> Self {
        self.resident_limit = Some(bytes);
        self
    }

    /// The store of compressed pages, which is the region's own: its limit, codec, tiers and backing. Its staging is turned off, and its
    /// accept threshold set to 100. By default its limit is the size of the region.
    ///
    /// Replaces what [`store_limit`](Self::store_limit) and [`codec`](Self::codec) said before.
    pub fn store(mut self, store: StoreBuilder) -> Self {
        self.store = store;
        self
    }

    /// The limit of the store, in bytes.
    pub fn store_limit(mut self, bytes: usize) -> Self {
        self.store = self.store.limit(bytes);
        self
    }

    /// The codec; see [`StoreBuilder::codec`].
    pub fn codec(mut self, codec: CodecSpec) -> Self {
        self.store = self.store.codec(codec);
        self
    }

    /// How faults are served; by default the first of inline and guard that works here.
    pub fn fault_mode(mut self, mode: FaultMode) -> Self {
        self.mode = mode;
        self
    }

    /// Bytes of pages in memory whose compressed copy the store keeps, so that they leave memory at no cost while they are
    /// not written. By default half of the resident limit. The store drops them first when it is full.
    pub fn clean_copies(mut self, bytes: usize) -> Self {
        self.kept = Some(bytes / PAGE_BYTES);
        self
    }

    /// Bytes of pages that wait between being chosen to go and being compressed. By default a sixteenth of the resident limit where
    /// each touch of such a page brings it back, a batch where only writes do.
    pub fn limbo(mut self, bytes: usize) -> Self {
        self.limbo = Some(bytes / PAGE_BYTES);
        self
    }

    /// Neighbours that a fault may bring along when faults follow each other; at most 16, the default; 0: none.
    pub fn neighbours(mut self, pages: usize) -> Self {
        self.neighbours = pages.min(NEIGHBOURS_MAX);
        self
    }

    /// Threads that take pages out of memory; at least 1, by default a quarter of the processors, at most 4.
    pub fn evictors(mut self, threads: usize) -> Self {
        self.evictors = threads.max(1);
        self
    }

    /// What the child of a fork has of the region; by default nothing. [`ForkPolicy::Snapshot`] is refused in guard mode, and with a store
    /// that has a backing.
    pub fn fork_policy(mut self, policy: ForkPolicy) -> Self {
        self.fork = policy;
        self
    }

    /// What happens when no page can leave memory.
    pub fn failure_policy(mut self, policy: FailurePolicy) -> Self {
        self.failure = policy;
        self
    }

    /// Builds the region: zeros that take no memory.
    ///
    /// # Errors
    /// [`BuildRegionError`]; `Mode` names what the machine refuses and what would change it.
    pub fn build(self) -> Result<Region, BuildRegionError> {
        if memory::page_bytes() != PAGE_BYTES {
            return Err(BuildRegionError::PageSize { bytes: memory::page_bytes() });
        }
        let pages = self.bytes.div_ceil(PAGE_BYTES);
        if pages == 0 || pages > (1 << 45) / PAGE_BYTES {
            return Err(BuildRegionError::Size { bytes: self.bytes });
        }
        let least = LIMIT_BATCHES_MIN * BATCH;
        let limit = match self.resident_limit {
            Some(bytes) => bytes / PAGE_BYTES,
            None => (pages / 4).max(least),
        };
        if limit < least {
            let (limit, least) = (limit * PAGE_BYTES, least * PAGE_BYTES);
            return Err(BuildRegionError::ResidentLimit { limit, least });
        }
        let report = mode::probe_once(self.mode);
        if !report.works {
            let ModeReport { mode, reason, remedy, .. } = report;
            return Err(BuildRegionError::Mode { mode, reason, remedy });
        }
        let snapshots = self.fork == ForkPolicy::Snapshot;
        if snapshots && report.mode == FaultMode::Guard {
            let reason = format!("its file would be shared with the child; {}", report.reason);
            return Err(BuildRegionError::Snapshots { with: "fault mode guard", reason });
        }
        // Threads of the store inherit the mask: no handler of the program runs on them.
        let blocked = Blocked::new();
        let backing: Box<dyn Backing> = match report.mode {
            FaultMode::Guard => Box::new(Guard::new(pages)?),
            FaultMode::Thread => Box::new(Inline::new(pages, Delivery::Event)?),
            FaultMode::Inline | FaultMode::Auto => Box::new(Inline::new(pages, Delivery::Signal)?),
        };
        let store = self.store.staging(0).accept_threshold(100);
        let store = if snapshots { store } else { store.keep_from_children() }.build()?;
        if snapshots && store.stats().spill.is_some() {
            let reason = "two processes would write to it".to_owned();
            return Err(BuildRegionError::Snapshots { with: "a store with a backing", reason });
        }
        let space = store.space(SpaceConfig::persistent(pages as u64).name("region"))?;
        let limbo = if backing.unmaps_chosen() { limit / 16 } else { BATCH };
        let settings = Settings {
            kept_max: self.kept.unwrap_or(limit / 2),
            limbo_max: self.limbo.unwrap_or(limbo).min(limit / 4),
            neighbours_max: self.neighbours,
            evictors: self.evictors,
            snapshots,
            failure: self.failure,
        };
        let buffers = default_slot_count();
        let core = Arc::new(Core::new(Parts { backing, store, space, limit, buffers, settings })?);
        let threads = Threads::start(&core)?;
        drop(blocked);
        if let Some(signal) = core.backing.signal() {
            registry::install(signal, &core.gate)?;
        }
        if snapshots {
            fork::install();
        }
        let registered = registry::register(&core)
            .ok_or(BuildRegionError::TooMany { most: registry::REGIONS_MAX })?;
        tracing::debug!(bytes = self.bytes, mode = report.mode.name(), "a region was built");
        Ok(Region::new(registered, threads, core, self.bytes, report))
    }
}
