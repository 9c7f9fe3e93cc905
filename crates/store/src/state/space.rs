//! The state of a space, which its handles and the store's list hold.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicU64, Ordering},
};

use pagefold_frame::Charge;
use pagefold_sys::sync::Mutex;

use super::handle::SpaceHandle;
use crate::{
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
    /// Bytes of objects, as index words count them; no put takes it above the limit.
    used: AtomicU64,
    limit: AtomicU64,
    pub(crate) _charge: Charge,
}

impl SpaceState {
    pub(crate) fn new(
        (name, number): (String, u64),
        config: SpaceConfig,
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
            used: AtomicU64::new(0),
            limit: AtomicU64::new(config.limit),
            _charge: charge,
        }
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
    }

    pub(crate) fn note_out(&self, entry: Entry, original: usize) {
        if let Some(count) = counted_as(entry) {
            self.counters.sub(count, 1);
        }
        self.counters.sub(Count::Original, original as u64);
        self.counters.sub(Count::Objects, entry.counted_bytes());
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
        Entry::Member { .. } => Some(Count::Clustered),
        Entry::Spilled { .. } => Some(Count::Spilled),
        Entry::Value { .. } | Entry::Nil => Some(Count::Values),
    }
}

impl SpaceState {
    pub(crate) fn is_over(&self, new: u64, old: Word) -> bool {
        let more = new.saturating_sub(old.entry().counted_bytes());
        more > 0 && self.used().saturating_add(more) > self.limit()
    }
}
