//! Deliberate defects of the reference pool.

/// One defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// A double free succeeds.
    DoubleFreeAccepted,
    /// Two racing frees may both succeed.
    RacyFree,
    /// Generations are not compared.
    StaleRead,
    /// A wrapped generation is used again.
    GenerationWraps,
    /// Foreign handles are accepted.
    ForeignAccepted,
    /// A forged handle panics.
    ForgedPanics,
    /// Objects longer than a frame lose a byte.
    ShortCopy,
    /// A fresh object is not zero.
    DirtyAlloc,
    /// A write during a read is lost.
    WriteIgnored,
    /// A write becomes visible in two halves.
    TornWrite,
    /// A write may change the length.
    WriteLengthUnchecked,
    /// Closures run while the pool is locked.
    LockedRead,
    /// The limit is exceeded by a span.
    LimitExceeded,
    /// `OutOfMemory` spoils another object.
    OutOfMemorySpoils,
    /// The maximum is off by one.
    MaximumOffByOne,
    /// A limit below use is accepted.
    LimitNotChecked,
    /// Freed payload stays counted.
    PayloadLeaks,
    /// Empty spans stay allocated.
    FramesLeak,
    /// `trim` returns nothing.
    TrimsNothing,
    /// Compaction spoils a byte.
    CompactionSpoils,
    /// Compaction ignores the budget.
    BudgetIgnored,
    /// Compaction at its budget claims completeness.
    MoreForgotten,
    /// Objects move while read.
    MigratesHeld,
    /// Migrating a freed object succeeds.
    MigratesStale,
    /// Migration spoils a byte.
    MigrationSpoils,
    /// An object freed during migration revives.
    MigrationRevives,
    /// Migration changes the order of use.
    MigrationMoves,
    /// Migration under-reports its copies.
    MigrationMiscounted,
    /// Compaction reports moves missing in the accounts.
    CompactionMiscounted,
    /// A range of no frames gets one.
    NoFramesAccepted,
    /// A bad alignment is rounded up.
    MisalignedRange,
    /// Ranges start unaligned.
    RangeUnaligned,
    /// Ranges are not zero.
    RangeDirty,
    /// Allocating a range spoils an object.
    RangeSpoils,
    /// Ranges are in no account.
    RangeUncounted,
    /// Ranges evade the limit.
    RangeBeyondLimit,
    /// Dropped ranges stay counted.
    RangeLeaks,
    /// No retries still try one span.
    ZeroRetriesIgnored,
    /// The pool is locked during `evict`.
    EvictLocked,
    /// Reclaim frees an unevicted object.
    EvictForced,
    /// A panic in `evict` leaks the frame.
    EvictPanicLeaks,
    /// `evict` gets a forged handle.
    VictimNeverLived,
    /// Reclaim takes the newest.
    ReclaimNewest,
    /// After the last retry reclaim reports no victim.
    AgainForgotten,
    /// Reclaim reports a frame it did not free.
    ReclaimBoasts,
}

impl Mutant {
    /// All defects.
    pub const ALL: [Self; 45] = [
        Self::DoubleFreeAccepted,
        Self::RacyFree,
        Self::StaleRead,
        Self::GenerationWraps,
        Self::ForeignAccepted,
        Self::ForgedPanics,
        Self::ShortCopy,
        Self::DirtyAlloc,
        Self::WriteIgnored,
        Self::TornWrite,
        Self::WriteLengthUnchecked,
        Self::LockedRead,
        Self::LimitExceeded,
        Self::OutOfMemorySpoils,
        Self::MaximumOffByOne,
        Self::LimitNotChecked,
        Self::PayloadLeaks,
        Self::FramesLeak,
        Self::TrimsNothing,
        Self::CompactionSpoils,
        Self::BudgetIgnored,
        Self::MoreForgotten,
        Self::MigratesHeld,
        Self::MigratesStale,
        Self::MigrationSpoils,
        Self::MigrationRevives,
        Self::MigrationMoves,
        Self::MigrationMiscounted,
        Self::CompactionMiscounted,
        Self::NoFramesAccepted,
        Self::MisalignedRange,
        Self::RangeUnaligned,
        Self::RangeDirty,
        Self::RangeSpoils,
        Self::RangeUncounted,
        Self::RangeBeyondLimit,
        Self::RangeLeaks,
        Self::ZeroRetriesIgnored,
        Self::EvictLocked,
        Self::EvictForced,
        Self::EvictPanicLeaks,
        Self::VictimNeverLived,
        Self::ReclaimNewest,
        Self::AgainForgotten,
        Self::ReclaimBoasts,
    ];

    /// Whether one thread's random operations must show it.
    pub fn shows_in_any_traffic(self) -> bool {
        matches!(
            self,
            Self::DoubleFreeAccepted
                | Self::StaleRead
                | Self::ShortCopy
                | Self::DirtyAlloc
                | Self::WriteIgnored
                | Self::WriteLengthUnchecked
                | Self::LimitExceeded
                | Self::OutOfMemorySpoils
                | Self::PayloadLeaks
                | Self::CompactionSpoils
                | Self::MigratesHeld
                | Self::MigratesStale
                | Self::MigrationSpoils
                | Self::MigrationMiscounted
                | Self::CompactionMiscounted
                | Self::NoFramesAccepted
                | Self::MisalignedRange
                | Self::RangeUnaligned
                | Self::RangeDirty
                | Self::RangeSpoils
                | Self::RangeUncounted
                | Self::RangeBeyondLimit
                | Self::RangeLeaks
                | Self::EvictForced
                | Self::VictimNeverLived
                | Self::AgainForgotten
                | Self::ReclaimBoasts
        )
    }
}
