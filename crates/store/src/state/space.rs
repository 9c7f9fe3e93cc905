//! The state of a space, which its handles and the store's list hold.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use pagefold_frame::Charge;
use pagefold_sys::sync::Mutex;

use super::handle::SpaceHandle;
use crate::{
    base::Mapping,
    config::{SpaceConfig, SpaceKind},
    counters::{Count, Counters},
    eviction::{EvictionOrder, SecondChance},
    index::Index,
    listener::Listener,
    word::{Entry, Word},
};

pub(crate) struct SpaceState {
    pub(crate) name: String,
    /// No other space of the store ever has it.
    pub(crate) number: u64,
    pub(crate) kind: SpaceKind,
    pub(crate) index: Index,
    pub(crate) counters: Counters,
    pub(crate) order: Box<dyn EvictionOrder>,
    /// Chooses when `order` fails to.
    pub(crate) fallback: SecondChance,
    /// Where the spiller looks next, if its policy does not follow the order.
    pub(super) spill_hand: AtomicU64,
    /// Until the space is dropped.
    on_evict: Mutex<Option<Arc<Listener>>>,
    /// Whether it outlives its handles.
    pub(super) keep: bool,
    pub(super) handle: Mutex<Weak<SpaceHandle>>,
    pub(crate) resizing: Mutex<()>,
    /// The keys that are on a base.
    pub(crate) mapping: Option<Mapping>,
    /// Bases that are made of it.
    frozen: Mutex<Frozen>,
    /// Whether there are any; changed at moments without operations.
    is_frozen: AtomicBool,
    /// Bytes of objects, as index words count them; no put takes it above the limit.
    used: AtomicU64,
    limit: AtomicU64,
    pub(crate) _charge: Charge,
}

#[derive(Debug, Default)]
struct Frozen {
    bases: usize,
    /// It was dropped meanwhile.
    drops: bool,
}

impl SpaceState {
    pub(crate) fn new(
        (name, number): (String, u64),
        (config, mapping): (SpaceConfig, Option<Mapping>),
        index: Index,
        counters: Counters,
        charge: Charge,
    ) -> Self {
        Self {
            name,
            number,
            kind: config.kind,
            index,
            counters,
            order: config.order,
            fallback: SecondChance::new(),
            spill_hand: AtomicU64::new(0),
            on_evict: Mutex::new(config.on_evict),
            keep: config.keep,
            handle: Mutex::new(Weak::new()),
            resizing: Mutex::new(()),
            mapping,
            frozen: Mutex::new(Frozen::default()),
            is_frozen: AtomicBool::new(false),
            used: AtomicU64::new(0),
            limit: AtomicU64::new(config.limit),
            _charge: charge,
        }
    }

    /// Whether no call may change it. Inside an operation.
    #[inline]
    pub(crate) fn is_frozen(&self) -> bool {
        // ORDERING: Relaxed; the gate orders it with the operations after the moment when it was set.
        self.is_frozen.load(Ordering::Relaxed)
    }

    /// Freezes it for one base more, at a moment without operations; `false` if it was dropped.
    pub(super) fn freeze(&self) -> bool {
        let mut frozen = self.frozen.lock();
        if self.index.is_closed() {
            return false;
        }
        frozen.bases += 1;
        // ORDERING: Relaxed; see `is_frozen`.
        self.is_frozen.store(true, Ordering::Relaxed);
        true
    }

    /// For one base less; whether it is to be dropped now.
    pub(super) fn thaw(&self) -> bool {
        let mut frozen = self.frozen.lock();
        frozen.bases -= 1;
        // ORDERING: Relaxed; a call that still sees the mark is refused as one before.
        self.is_frozen.store(frozen.bases > 0, Ordering::Relaxed);
        frozen.bases == 0 && frozen.drops
    }

    /// Closes the index, once; `false` also if bases are made of it: then the last one drops it.
    pub(super) fn close(&self) -> bool {
        let mut frozen = self.frozen.lock();
        frozen.drops |= frozen.bases > 0;
        frozen.bases == 0 && self.index.close()
    }

    // ORDERING of `used` and `limit`: Relaxed; atomicity alone keeps the sum within the limit. They guard no other
    // memory.

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    pub(crate) fn set_limit(&self, bytes: u64) {
        self.limit.store(bytes, Ordering::Relaxed);
    }

    /// Counts growth if within the limit; [`count_shrunk`](Self::count_shrunk) subtracts.
    pub(crate) fn admit(&self, new: u64, old: u64) -> bool {
        let more = new.saturating_sub(old);
        more == 0
            || self
                .used
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                    used.checked_add(more).filter(|sum| *sum <= self.limit())
                })
                .is_ok()
    }

    pub(crate) fn count_shrunk(&self, new: u64, old: u64) {
        self.used.fetch_sub(old.saturating_sub(new), Ordering::Relaxed);
    }

    pub(crate) fn note_in(&self, entry: Entry, original: usize) {
        if let Some(count) = counted_as(entry) {
            self.counters.add(count, 1);
        }
        self.counters.add(Count::Original, original as u64);
        self.counters.add(Count::Objects, entry.counted_bytes());
        self.counters.add(Count::DeltaBytes, delta_bytes(entry));
    }

    pub(crate) fn note_out(&self, entry: Entry, original: usize) {
        if let Some(count) = counted_as(entry) {
            self.counters.sub(count, 1);
        }
        self.counters.sub(Count::Original, original as u64);
        self.counters.sub(Count::Objects, entry.counted_bytes());
        self.counters.sub(Count::DeltaBytes, delta_bytes(entry));
    }

    pub(crate) fn note_exchange(
        &self,
        new: Entry,
        new_original: usize,
        old: Entry,
        old_original: usize,
    ) {
        let counters = &self.counters;
        if counted_as(new) != counted_as(old) {
            counted_as(new).into_iter().for_each(|count| counters.add(count, 1));
            counted_as(old).into_iter().for_each(|count| counters.sub(count, 1));
        }
        counters.shift(Count::Original, new_original as u64, old_original as u64);
        counters.shift(Count::Objects, new.counted_bytes(), old.counted_bytes());
        counters.shift(Count::DeltaBytes, delta_bytes(new), delta_bytes(old));
    }

    /// Calls the listener. No lock may be held.
    pub(crate) fn report_evicted(&self, key: u64) {
        if let Some(listener) = self.listener() {
            listener.report(key);
        }
    }

    pub(crate) fn listener_panics(&self) -> u64 {
        // Without waiting: a fork may have left it locked.
        let listener = self.on_evict.try_lock();
        listener.and_then(|known| known.as_ref().map(|listener| listener.panics())).unwrap_or(0)
    }

    fn listener(&self) -> Option<Arc<Listener>> {
        self.on_evict.lock().clone()
    }

    /// It may hold a handle of this space.
    pub(crate) fn drop_listener(&self) {
        let listener = self.on_evict.lock().take();
        drop(listener);
    }

    pub(crate) fn note_gone(&self, entry: Entry, original: usize) {
        self.count_shrunk(0, entry.counted_bytes());
        self.note_out(entry, original);
    }
}

fn counted_as(entry: Entry) -> Option<Count> {
    match entry {
        Entry::Empty => None,
        Entry::Same(_) | Entry::Pattern(_) => Some(Count::Same),
        Entry::Page { .. } => Some(Count::Compressed),
        Entry::Raw(_) => Some(Count::Raw),
        Entry::Fresh(_) => Some(Count::Fresh),
        Entry::Equal => Some(Count::Equal),
        Entry::Delta { .. } => Some(Count::Deltas),
        Entry::Member { .. } => Some(Count::Clustered),
        Entry::Spilled { .. } => Some(Count::Spilled),
        Entry::Value { .. } | Entry::Nil => Some(Count::Values),
    }
}

fn delta_bytes(entry: Entry) -> u64 {
    match entry {
        Entry::Delta { len, .. } => len,
        _ => 0,
    }
}

impl SpaceState {
    pub(crate) fn is_over(&self, new: u64, old: Word) -> bool {
        let more = new.saturating_sub(old.entry().counted_bytes());
        more > 0 && self.used().saturating_add(more) > self.limit()
    }
}
