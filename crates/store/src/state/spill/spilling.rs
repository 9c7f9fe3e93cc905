//! What a store with a backing has more: the backing, the memory of the spiller, flags and counts.

use std::{
    collections::HashMap,
    slice,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use pagefold_frame::Charge;
use pagefold_spill::{Batch, Place, Spill, WriteError};
use pagefold_sys::{memory::MemoryError, sync::Mutex};

use crate::{
    index::Change,
    policy::SpillSettings,
    state::{SpaceState, wakeup::Wakeup},
    stats::SpilledStats,
};

/// What a store with a backing has more.
pub(crate) struct Spilling {
    pub(crate) spill: Spill,
    pub(super) settings: SpillSettings,
    /// Those that no thread has: while one extent is written, another one is gathered.
    pub(super) turns: Mutex<Vec<Turn>>,
    /// How many there are.
    pub(super) turns_max: usize,
    pub(super) tables: Mutex<Tables>,
    pub(crate) wakeup: Wakeup,
    pub(crate) counts: SpilledCounts,
    /// From the high watermark down to the low one, or until a put that asked has room.
    pub(super) makes_room: AtomicBool,
    /// The last write was refused: ephemeral spaces drop pages again.
    refused: AtomicU8,
    /// The last turn found nothing that may go.
    pub(super) found_nothing: AtomicBool,
    /// The last step cleaned.
    pub(super) cleaned: AtomicBool,
    /// The sequence of the extent that lost its ephemeral pages last.
    pub(super) dropped_to: AtomicU64,
}

/// Whether the last write was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    No,
    /// All slots have live objects.
    Full,
    /// The backing's error, a rest, or the budget.
    Failed,
}

/// How a turn of the spiller ended.
#[derive(Debug)]
pub(crate) enum Spilled {
    /// Memory, or a slot of the backing, is free now.
    Freed,
    /// No page is there that could go.
    Nothing,
    /// The backing has no slot for it.
    Full,
    /// Another thread has the turn.
    Busy,
    Failed,
}

/// Of the spiller, and of gets of spilled pages.
#[derive(Debug, Default)]
pub(crate) struct SpilledCounts {
    /// Extents that left memory.
    pub(crate) extents: AtomicU64,
    /// They, and tries that made no room: what puts at the limit wait for.
    pub(crate) tries: AtomicU64,
    /// Pages that left memory, and that came back because they were read twice.
    pub(crate) spilled: AtomicU64,
    pub(crate) returned: AtomicU64,
    /// Objects that came along with a neighbour.
    pub(crate) prefetched: AtomicU64,
    /// Reads of the backing for a get, and their time.
    pub(crate) fetches: AtomicU64,
    pub(crate) fetch_ns: AtomicU64,
}

// ORDERING: Relaxed; statistics.
impl SpilledCounts {
    pub(super) fn note_spilled(&self) {
        self.spilled.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_returned(&self) {
        self.returned.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_prefetched(&self) {
        self.prefetched.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn fetch_took(&self, time: Duration) {
        self.fetches.fetch_add(1, Ordering::Relaxed);
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.fetch_ns.fetch_add(ns, Ordering::Relaxed);
    }
}

/// The memory of the spiller, for one extent.
pub(super) struct Turn {
    pub(super) batch: Batch,
    pub(super) gathered: Gathering,
}

/// The objects of an extent, by their position in its batch.
#[derive(Default)]
pub(super) struct Gathering {
    pub(super) objects: Vec<Gathered>,
    /// Of handles, when the first one was gathered.
    pub(super) epoch: u64,
    /// The hand of an order began again at its lowest key.
    pub(super) went_round: bool,
}

/// An object in the batch.
pub(super) struct Gathered {
    pub(super) space: Arc<SpaceState>,
    pub(super) words: Words,
}

impl Turn {
    pub(super) fn new(spill: &Spill) -> Result<Self, MemoryError> {
        Ok(Self { batch: spill.batch()?, gathered: Gathering::default() })
    }
}

impl Gathering {
    /// The keys of a space.
    pub(super) fn keys_of(&self, space: u64) -> impl Iterator<Item = u64> {
        let objects = self.objects.iter().filter(move |object| object.space.number == space);
        objects.flat_map(|object| object.words.changes()).map(|change| change.key)
    }

    pub(super) fn clear(&mut self) {
        self.objects.clear();
        self.went_round = false;
    }
}

/// The words of an object, all of one leaf. Their `new` is set once the place is known.
pub(super) enum Words {
    One(Change),
    /// Of a cluster.
    Several(Vec<Change>),
}

impl Words {
    fn changes(&self) -> &[Change] {
        match self {
            Self::One(change) => slice::from_ref(change),
            Self::Several(changes) => changes,
        }
    }
}

impl Spilling {
    /// `limit`: that of the store, in bytes.
    pub(crate) fn new(
        spill: Spill,
        settings: SpillSettings,
        limit: usize,
    ) -> Result<Self, MemoryError> {
        let turns_max = turns(&spill, limit);
        let turns = (0..turns_max).map(|_| Turn::new(&spill));
        Ok(Self {
            turns: Mutex::new(turns.collect::<Result<_, _>>()?),
            turns_max,
            spill,
            settings,
            tables: Mutex::default(),
            wakeup: Wakeup::default(),
            counts: SpilledCounts::default(),
            makes_room: AtomicBool::new(false),
            refused: AtomicU8::new(Refusal::No as u8),
            found_nothing: AtomicBool::new(false),
            cleaned: AtomicBool::new(false),
            dropped_to: AtomicU64::new(0),
        })
    }

    /// The batches, and what cleaning reads.
    pub(crate) fn fixed_bytes(spill: &Spill, limit: usize) -> usize {
        let turns = turns(spill, limit);
        size_of::<Self>() + (turns + 2) * spill.extent_bytes() + turns * STEP_BYTES
    }

    // ORDERING: Relaxed; a hint, and the wake-up orders what it tells.

    /// Whether the spiller makes room: it begins above the high watermark, and ends below the low one.
    pub(super) fn takes_room(&self, is_above_low: bool, is_above_high: bool) -> bool {
        if is_above_high || !is_above_low {
            self.makes_room.store(is_above_high, Ordering::Relaxed);
        }
        self.makes_room.load(Ordering::Relaxed)
    }

    /// `pages` are in the backing now.
    pub(crate) fn stats(&self, pages: u64) -> SpilledStats {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        SpilledStats {
            pages,
            spilled: load(&self.counts.spilled),
            returned: load(&self.counts.returned),
            prefetched: load(&self.counts.prefetched),
            fetches: load(&self.counts.fetches),
            fetch_ns: load(&self.counts.fetch_ns),
            runs: self.wakeup.is_running(),
            refused: self.is_refused(),
            backing: self.spill.stats(),
        }
    }

    /// Against the places that words name. For a store without operations.
    pub(crate) fn audit(&self, places: &HashMap<Place, u64>) -> Result<(), String> {
        self.spill.audit()?;
        let live = self.spill.stats().live_objects;
        if live != places.len() as u64 {
            return Err(format!("I-SPILL: {live} live objects, and words name {}", places.len()));
        }
        Ok(())
    }

    pub(super) fn note_cleaned(&self, cleaned: bool) {
        self.cleaned.store(cleaned, Ordering::Relaxed);
    }

    pub(super) fn has_cleaned(&self) -> bool {
        self.cleaned.load(Ordering::Relaxed)
    }

    /// Notes why an extent was not written. [`Spilled::Full`] is for the caller: it may make room.
    pub(super) fn refused_by(&self, error: &WriteError) -> Spilled {
        match error {
            WriteError::Full => Spilled::Full,
            _ => {
                self.note_refused(Refusal::Failed);
                Spilled::Failed
            }
        }
    }

    pub(super) fn note_refused(&self, refusal: Refusal) {
        self.refused.store(refusal as u8, Ordering::Relaxed);
    }

    /// An object of the backing is dead now: one that was full may have room.
    pub(super) fn note_released(&self) {
        let (full, no) = (Refusal::Full as u8, Refusal::No as u8);
        if self.refused.load(Ordering::Relaxed) == full {
            let _ = self.refused.compare_exchange(full, no, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    pub(super) fn note_found(&self, found: bool) {
        self.found_nothing.store(!found, Ordering::Relaxed);
    }

    /// Whether what no pass found idle stays.
    pub(crate) fn is_idle_only(&self) -> bool {
        self.settings.policy.is_idle_only()
    }

    /// The spiller may find something now.
    pub(crate) fn look_again(&self) {
        if !self.found() {
            self.note_found(true);
            self.wakeup.notify();
        }
    }

    pub(super) fn found(&self) -> bool {
        !self.found_nothing.load(Ordering::Relaxed)
    }

    pub(super) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed) != Refusal::No as u8
    }

    pub(super) fn ask(&self) {
        self.makes_room.store(true, Ordering::Relaxed);
        self.wakeup.notify();
    }
}

/// Extents that are gathered and written at once, at most.
pub(super) const TURNS: usize = 2;
/// A store whose limit is less than so many extents writes one after another: a second batch takes an extent of memory.
const EXTENTS_FOR_TWO: usize = 96;

fn turns(spill: &Spill, limit: usize) -> usize {
    if limit / EXTENTS_FOR_TWO < spill.extent_bytes() { 1 } else { TURNS }
}

/// Steps that are charged, beside the first ones.
#[derive(Default)]
pub(super) struct Tables {
    pub(super) steps: Vec<Charge>,
}

/// They are charged in steps of so many bytes.
pub(super) const STEP_BYTES: usize = 64 << 10;

impl Spilling {
    /// Bytes. A step for each extent that may be in flight, which a store has from the beginning: at the limit nothing can be charged, and just then
    /// extents are to go.
    pub(super) fn charged_tables(&self, tables: &Tables) -> usize {
        (self.turns_max + tables.steps.len()) * STEP_BYTES
    }
}
