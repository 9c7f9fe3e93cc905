//! Deliberate defects of the reference pool, each to show that a test notices.

/// One deliberate defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// Freeing a freed object succeeds.
    DoubleFreeAccepted,
    /// Two frees of one object that race may both succeed.
    RacyFree,
    /// The generation of a handle is not compared, so an old handle reads the new object.
    StaleRead,
    /// A generation that wraps is used again.
    GenerationWraps,
    /// Handles of other pools are looked up here.
    ForeignAccepted,
    /// A handle that was never given out panics.
    ForgedPanics,
    /// Objects longer than a frame lose their last byte.
    ShortCopy,
    /// A fresh object is not all zeros.
    DirtyAlloc,
    /// A write to an object that is being read has no effect.
    WriteIgnored,
    /// A write makes its two halves visible one after the other.
    TornWrite,
    /// A write may change the length.
    WriteLengthUnchecked,
    /// A closure runs while the pool is locked.
    LockedRead,
    /// One span more than the limit is handed out.
    LimitExceeded,
    /// Running out of memory spoils another object.
    OutOfMemorySpoils,
    /// A maximum that is off by one.
    MaximumOffByOne,
    /// A smaller limit is accepted although more is in use.
    LimitNotChecked,
    /// Payload bytes are not subtracted when an object is freed.
    PayloadLeaks,
    /// Empty spans stay allocated.
    FramesLeak,
    /// `trim` gives nothing back.
    TrimsNothing,
    /// Compaction spoils one byte of what it moves.
    CompactionSpoils,
    /// Compaction ignores the budget.
    BudgetIgnored,
    /// Compaction that stopped at its budget reports that it is complete.
    MoreForgotten,
    /// An object moves while it is read.
    MigratesHeld,
    /// Migration of a freed object succeeds.
    MigratesStale,
    /// Migration spoils one byte of what it moves.
    MigrationSpoils,
    /// An object freed during its migration becomes live again.
    MigrationRevives,
    /// Migration counts as filling and changes the order of use.
    MigrationMoves,
    /// Migration copies more than it reports.
    MigrationMiscounted,
    /// Compaction reports bytes of moved frames that the accounts do not know.
    CompactionMiscounted,
    /// A range of no frames gets one.
    NoFramesAccepted,
    /// An alignment that is no power of two is rounded up.
    MisalignedRange,
    /// A contiguous range starts wherever there is room.
    RangeUnaligned,
    /// A contiguous range is not zero.
    RangeDirty,
    /// Allocating a range spoils an object.
    RangeSpoils,
    /// A contiguous range is in no account.
    RangeUncounted,
    /// The limit does not count contiguous ranges.
    RangeBeyondLimit,
    /// A contiguous range stays in the accounts when it is dropped.
    RangeLeaks,
    /// A reclaim with no retries still tries one span.
    ZeroRetriesIgnored,
    /// The pool is locked while it calls `evict`.
    EvictLocked,
    /// Reclaim frees an object that was not evicted.
    EvictForced,
    /// After a panic in `evict` the frame is left out for ever.
    EvictPanicLeaks,
    /// `evict` is called with a handle that names nothing.
    VictimNeverLived,
    /// Reclaim takes what was filled last.
    ReclaimNewest,
    /// After its last retry reclaim reports that it found no victim.
    AgainForgotten,
    /// Reclaim reports a frame although it freed none.
    ReclaimBoasts,
}

impl Mutant {
    /// All of them.
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

    /// Whether random operations of one thread beside the model must show it.
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
