//! Counts of outcomes by kind.

use super::{Faults, Mix, Operation};
use crate::faulty::Chance;

/// Optional abilities of a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Support {
    /// Moves frames on demand.
    pub migrate: bool,
    /// Allocates contiguous ranges.
    pub contiguous: bool,
    /// Evicts by order of use.
    pub reclaim: bool,
}

impl Support {
    /// Whether the pool has this operation.
    pub fn has(self, operation: Operation) -> bool {
        match operation {
            Operation::Migrate => self.migrate,
            Operation::AllocContiguous => self.contiguous,
            Operation::Reclaim => self.reclaim,
            _ => true,
        }
    }
}

macro_rules! kinds {
    ($($name:ident of $operation:ident, $words:literal;)*) => {
        /// Operations by kind.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Tally {
            $(#[doc = concat!("How often: ", $words, ".")]
            pub $name: u64,)*
        }

        impl Tally {
            /// All operations.
            pub fn total(&self) -> u64 {
                0 $(+ self.$name)*
            }

            /// Adds another thread's counts.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }

            /// All kinds.
            pub fn kinds(&self) -> Vec<OutcomeKind> {
                vec![$(OutcomeKind {
                    name: stringify!($name),
                    words: $words,
                    operation: Operation::$operation,
                    count: self.$name,
                }),*]
            }
        }
    };
}

/// One kind of outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutcomeKind {
    /// A name for programs.
    pub name: &'static str,
    /// Words for people.
    pub words: &'static str,
    /// Its operation.
    pub operation: Operation,
    /// Its count.
    pub count: u64,
}

kinds! {
    store of Alloc, "stored";
    alloc of Alloc, "allocated, then written";
    out_of_memory of Alloc, "refused for want of memory";
    read of Read, "read";
    read_held of Read, "reads held open meanwhile";
    write of Write, "written";
    free of Free, "freed";
    stale of Stale, "stale handles refused";
    compact of Compact, "compacted";
    trim of Trim, "trimmed";
    limit_lowered of Limit, "limits lowered";
    limit_raised of Limit, "limits raised";
    limit_refused of Limit, "limits refused";
    migrate of Migrate, "migrated";
    migrate_refused of Migrate, "migrations refused";
    alloc_contiguous of AllocContiguous, "contiguous ranges";
    contiguous_refused of AllocContiguous, "contiguous ranges refused";
    contiguous_freed of AllocContiguous, "contiguous ranges freed";
    reclaim of Reclaim, "frames reclaimed";
    reclaim_refused of Reclaim, "reclaims in vain";
    evict of Reclaim, "evicted";
    stats of Stats, "accounts looked at";
}

/// Injected faults by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Injected {
    /// Refused grants of memory.
    pub frame: u64,
    /// Descriptors called isolated.
    pub isolate: u64,
    /// Evictors that refused.
    pub evict: u64,
    /// Evictors that panicked.
    pub evict_panic: u64,
}

impl Injected {
    /// Adds other counts.
    pub fn add(&mut self, other: &Self) {
        self.frame += other.frame;
        self.isolate += other.isolate;
        self.evict += other.evict;
        self.evict_panic += other.evict_panic;
    }

    /// All kinds, and whether to expect them.
    pub fn kinds(&self, faults: &Faults, support: Support) -> [Fault; 4] {
        let frame = faults.frame != Chance::NEVER || faults.frame_at.is_some();
        let fault = |name, words, count, expected| Fault { name, words, count, expected };
        let evicts = |chance| support.reclaim && chance != Chance::NEVER;
        let moves = support.migrate && faults.isolate != Chance::NEVER;
        [
            fault("frame", "grants of memory refused", self.frame, frame),
            fault("isolate", "found isolated", self.isolate, moves),
            fault("evict", "evictions refused", self.evict, evicts(faults.evict)),
            fault(
                "evict_panic",
                "evictions that panicked",
                self.evict_panic,
                evicts(faults.evict_panic),
            ),
        ]
    }
}

/// One kind of injected fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// A name for programs.
    pub name: &'static str,
    /// Words for people.
    pub words: &'static str,
    /// Its count.
    pub count: u64,
    /// Whether it was requested and is possible.
    pub expected: bool,
}

/// Expected kinds that never happened.
pub(super) fn missing(
    tally: &Tally,
    injected: &Injected,
    mix: &Mix,
    faults: &Faults,
    support: Support,
) -> Vec<&'static str> {
    let kinds = tally.kinds().into_iter();
    let kinds = kinds.filter(|kind| support.has(kind.operation) && mix.has(kind.operation));
    // Evictors that always evict leave no reclaim in vain.
    let evicts_always = faults.evict == Chance::NEVER;
    let kinds = kinds.filter(|kind| kind.name != "reclaim_refused" || !evicts_always);
    let reclaims = mix.has(Operation::Reclaim);
    let moves = [Operation::Compact, Operation::Migrate, Operation::AllocContiguous];
    let moves = moves.iter().any(|operation| mix.has(*operation));
    let faults = injected.kinds(faults, support).into_iter().filter(|fault| {
        fault.expected
            && match fault.name {
                "frame" => true,
                "isolate" => moves,
                _ => reclaims,
            }
    });
    let counted = kinds.map(|kind| (kind.words, kind.count));
    let counted = counted.chain(faults.map(|fault| (fault.words, fault.count)));
    counted.filter(|(_, count)| *count == 0).map(|(words, _)| words).collect()
}
