//! The state of a store. No lock is held while a codec runs, an object is stored, or a callback is called.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use pagefold_frame::{Charge, FRAME_BYTES, MemoryBudget};
use pagefold_pool::{Pool, PoolId};
use pagefold_sys::{
    quiesce::{Abandoned, Entered, Gate},
    sync::Mutex,
};

use super::{
    accept::{AcceptThreshold, Occupancy},
    parts::Parts,
    space::SpaceState,
    spill::Spilling,
    wakeup::Wakeup,
    work::Work,
    workers::Workers,
};
use crate::{
    base::BaseState, config::SpaceKind, encoder::Encoder, error::KeyError, idle::Idle,
    index::Nodes, staging::Staging, training::Training,
};

pub(crate) struct StoreState {
    pub(crate) pool: Box<dyn Pool>,
    pub(crate) memory: Arc<MemoryBudget>,
    pub(super) pool_id: PoolId,
    pub(crate) encoder: Encoder,
    accept: AcceptThreshold,
    pub(crate) wakeup: Wakeup,
    pub(crate) watermarks: Watermarks,
    /// Frames that puts may fill; see `set_limit`.
    target: AtomicUsize,
    max_limit: usize,
    pub(super) spaces: Mutex<Vec<Arc<SpaceState>>>,
    pub(crate) nodes: Arc<Nodes>,
    /// Every operation enters it.
    pub(crate) operations: Gate,
    pub(super) wants_handles: AtomicBool,
    pub(crate) work: Work,
    pub(crate) staging: Staging<SpaceState>,
    pub(crate) idle: Idle,
    pub(crate) workers: Workers,
    pub(crate) training: Training,
    /// `None` without a backing.
    pub(crate) spilling: Option<Box<Spilling>>,
    pub(super) bases: Mutex<Vec<Weak<BaseState>>>,
    space_numbers: AtomicU64,
    base_numbers: AtomicU64,
    /// See `recycle`.
    pub(crate) epoch: AtomicU64,
    /// The charge for long values; see `contexts`.
    pub(super) long: Mutex<Option<Charge>>,
    pub(super) contexts: Mutex<Vec<Charge>>,
    /// For the overwrite reserve.
    overwrite_turn: Mutex<()>,
    _charge: Charge,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Watermarks {
    pub(crate) low: u8,
    pub(crate) high: u8,
}

impl StoreState {
    pub(crate) fn new(
        parts: Parts,
        encoder: Encoder,
        accept: AcceptThreshold,
        watermarks: Watermarks,
        (staging, training): (Staging<SpaceState>, Training),
        (idle, spilling): (Idle, Option<Box<Spilling>>),
        operations: Gate,
    ) -> Self {
        let Parts { pool, memory, pool_id, nodes, charge } = parts;
        let target = AtomicUsize::new(memory.limit());
        let max_limit = usize::try_from(pool.stats().max_limit_bytes).unwrap_or(usize::MAX);
        Self {
            pool,
            memory,
            pool_id,
            encoder,
            accept,
            wakeup: Wakeup::default(),
            watermarks,
            target,
            max_limit,
            spaces: Mutex::new(Vec::new()),
            nodes,
            operations,
            wants_handles: AtomicBool::new(false),
            work: Work::default(),
            staging,
            idle,
            workers: Workers::default(),
            training,
            spilling,
            bases: Mutex::new(Vec::new()),
            space_numbers: AtomicU64::new(0),
            base_numbers: AtomicU64::new(1),
            epoch: AtomicU64::new(0),
            long: Mutex::new(None),
            contexts: Mutex::new(Vec::new()),
            overwrite_turn: Mutex::new(()),
            _charge: charge,
        }
    }

    // ORDERING (this file): Relaxed; a put that reads an old target meets the hard limit, and numbers need only differ.

    pub(crate) fn next_space_number(&self) -> u64 {
        self.space_numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn next_base_number(&self) -> u64 {
        self.base_numbers.fetch_add(1, Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn enter(&self) -> Result<Entered<'_>, KeyError> {
        self.operations.enter().map_err(|Abandoned| KeyError::Abandoned)
    }

    /// As [`enter`](Self::enter), without waiting; `None` while no operation may run.
    #[inline]
    pub(crate) fn try_enter(&self) -> Result<Option<Entered<'_>>, KeyError> {
        match self.operations.try_enter() {
            None if self.operations.is_abandoned() => Err(KeyError::Abandoned),
            entered => Ok(entered),
        }
    }

    pub(crate) fn resident(&self) -> usize {
        self.memory.used() * FRAME_BYTES
    }

    /// Charged bytes not resident: what is not in use of contexts, dictionaries, buffers, samples and the queue.
    pub(crate) fn reserved_bytes(&self) -> usize {
        // The codec says how much, which must not be under the lock.
        let long = self.long.lock().is_some();
        let encoder = self.encoder.reserved_bytes(long);
        encoder
            .saturating_add(self.staging.reserved_bytes())
            .saturating_add(self.training.reserved_bytes())
    }

    pub(crate) fn limit(&self) -> usize {
        self.memory.limit() * FRAME_BYTES
    }

    pub(crate) fn max_limit(&self) -> usize {
        self.max_limit
    }

    pub(crate) fn is_above_target(&self) -> bool {
        self.memory.used() > self.target.load(Ordering::Relaxed)
    }

    pub(crate) fn set_target(&self, frames: usize) {
        self.target.store(frames, Ordering::Relaxed);
    }

    pub(crate) fn share(&self, percent: u8) -> usize {
        self.memory.normal_limit() * usize::from(percent) / 100
    }

    pub(crate) fn is_above_high(&self) -> bool {
        self.memory.used() > self.share(self.watermarks.high)
    }

    pub(crate) fn is_above_low(&self) -> bool {
        self.memory.used() > self.share(self.watermarks.low)
    }

    /// Frames down to which the spiller makes room.
    pub(crate) fn spill_goal(&self) -> usize {
        self.share(self.watermarks.low).min(self.target.load(Ordering::Relaxed))
    }

    pub(crate) fn low_bytes(&self) -> usize {
        self.share(self.watermarks.low) * FRAME_BYTES
    }

    /// As it is, without trying to open.
    pub(crate) fn is_accepting(&self) -> bool {
        self.accept.is_open()
    }

    pub(crate) fn accepts_new_pages(&self) -> bool {
        // The spiller makes room for more than a share.
        self.accept.is_open() || self.accept.try_open(self.occupancy()) || self.spills()
    }

    pub(crate) fn note_full(&self) {
        if self.accept.is_open() && !self.spills() {
            self.accept.close(self.occupancy());
        }
    }

    fn occupancy(&self) -> Occupancy {
        Occupancy {
            persistent_bytes: self.objects_bytes(SpaceKind::Persistent),
            ephemeral_bytes: self.objects_bytes(SpaceKind::Ephemeral),
            is_above: self.memory.used() > self.share(self.accept.percent()),
        }
    }

    pub(crate) fn after_put(&self) {
        if self.is_above_high() {
            self.wakeup.notify();
            if let Some(spilling) = &self.spilling {
                spilling.wakeup.notify();
            }
        }
        self.add_wanted_context();
    }

    /// Serializes use of the overwrite reserve.
    pub(crate) fn with_overwrite_reserve<R>(&self, attempt: impl FnOnce() -> R) -> R {
        let _turn = self.overwrite_turn.lock();
        attempt()
    }
}
