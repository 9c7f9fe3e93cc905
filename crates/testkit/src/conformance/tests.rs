//! The reference pool passes every check; each mutant fails its own.

use std::{panic, time::Duration};

use super::*;
use crate::reference::{MapPool, Mutant};

mod reference_pool {
    use crate::reference::MapPool;

    crate::conformance!(|limit| Box::new(MapPool::new(limit)));
}

fn fails(name: &str, mutant: Mutant) -> bool {
    let check = CHECKS
        .iter()
        .find(|check| check.name == name)
        .unwrap_or_else(|| panic!("no check is called {name}"));
    let outcome = panic::catch_unwind(|| {
        let make = |limit| -> Box<dyn Pool> { Box::new(MapPool::mutant(limit, mutant)) };
        // Only a deadlock lasts this long; these checks take milliseconds.
        let expect = Expectations {
            limit_bytes: 4 << 20,
            deadlock_after: Duration::from_secs(5),
            ..Expectations::default()
        };
        (check.run)(&PoolUnderTest { make: &make, expect });
    });
    outcome.is_err()
}

macro_rules! mutants {
    ($($test:ident: $mutant:ident => $($check:ident),+;)*) => {
        $(#[test]
        fn $test() {
            for check in [$(stringify!($check)),+] {
                assert!(fails(check, Mutant::$mutant), "{check} does not notice {:?}", Mutant::$mutant);
            }
        })*

        /// Otherwise some rule has no check.
        #[test]
        fn every_mutant_has_its_check() {
            let covered = [$(Mutant::$mutant),*];
            for mutant in Mutant::ALL {
                assert!(covered.contains(&mutant), "{mutant:?}");
            }
        }
    };
}

mutants! {
    double_free_accepted: DoubleFreeAccepted => a_freed_handle_is_stale, an_old_handle_never_finds_its_successor;
    racy_free: RacyFree => exactly_one_of_two_racing_frees_succeeds;
    stale_read: StaleRead => an_old_handle_never_finds_its_successor, near_misses_of_live_handles_name_nothing;
    generation_wraps: GenerationWraps => generations_never_come_round;
    foreign_accepted: ForeignAccepted => handles_of_another_pool_are_foreign, handles_of_a_dropped_pool_are_foreign;
    forged_panics: ForgedPanics => forged_words_name_nothing;
    short_copy: ShortCopy => every_length_around_a_border_round_trips, the_maximum_is_taken;
    dirty_alloc: DirtyAlloc => alloc_gives_zeros_whatever_was_there;
    write_ignored: WriteIgnored => write_inside_a_read_leaves_the_open_bytes, write_from_another_thread_leaves_the_open_bytes;
    torn_write: TornWrite => a_reader_sees_one_write_or_the_other;
    write_length_unchecked: WriteLengthUnchecked => write_of_another_length_changes_nothing;
    locked_read: LockedRead => every_method_works_inside_a_read, reads_nest;
    limit_exceeded: LimitExceeded => the_limit_holds_in_a_full_pool, threads_in_a_full_pool_stay_within_the_limit;
    out_of_memory_spoils: OutOfMemorySpoils => out_of_memory_changes_nothing;
    maximum_off_by_one: MaximumOffByOne => more_than_the_maximum_is_too_large;
    limit_not_checked: LimitNotChecked => a_limit_below_the_use_is_refused;
    payload_leaks: PayloadLeaks => stats_add_up_after_every_operation, filling_again_and_again_leaks_nothing;
    frames_leak: FramesLeak => filling_again_and_again_leaks_nothing, trim_after_freeing_everything_leaves_little;
    trims_nothing: TrimsNothing => trim_after_freeing_everything_leaves_little;
    compaction_spoils: CompactionSpoils => compacting_a_random_half_restores_the_density, readers_beside_compaction_and_freeing;
    budget_ignored: BudgetIgnored => a_budget_bounds_one_call;
    more_forgotten: MoreForgotten => a_budget_bounds_one_call;
    migrates_held: MigratesHeld => an_object_that_is_read_does_not_move;
    migrates_stale: MigratesStale => migrating_what_is_not_here_is_refused, a_freed_handle_is_stale;
    migration_spoils: MigrationSpoils => migration_keeps_objects_and_accounts, readers_and_writers_beside_migration_lose_nothing;
    migration_revives: MigrationRevives => frees_beside_migration_succeed_once;
    migration_moves: MigrationMoves => migration_keeps_the_order_of_use;
    migration_miscounted: MigrationMiscounted => migration_keeps_objects_and_accounts;
    compaction_miscounted: CompactionMiscounted => compacting_a_random_half_restores_the_density;
    no_frames_accepted: NoFramesAccepted => impossible_ranges_are_refused;
    misaligned_range: MisalignedRange => impossible_ranges_are_refused;
    range_unaligned: RangeUnaligned => a_contiguous_range_is_aligned_zero_and_not_shared;
    range_dirty: RangeDirty => a_contiguous_range_is_aligned_zero_and_not_shared, ranges_beside_traffic_lose_nothing;
    range_spoils: RangeSpoils => a_contiguous_range_is_aligned_zero_and_not_shared, a_range_in_a_fragmented_pool_moves_what_is_there;
    range_uncounted: RangeUncounted => a_contiguous_range_counts_against_the_limit;
    range_beyond_limit: RangeBeyondLimit => a_contiguous_range_counts_against_the_limit;
    range_leaks: RangeLeaks => contiguous_ranges_come_back;
    zero_retries_ignored: ZeroRetriesIgnored => without_retries_nothing_is_evicted;
    evict_locked: EvictLocked => an_evictor_may_call_every_method, an_evictor_may_free_anything;
    evict_forced: EvictForced => an_eviction_that_is_refused_loses_nothing;
    evict_panic_leaks: EvictPanicLeaks => an_evictor_that_panics_leaves_the_pool_whole;
    victim_never_lived: VictimNeverLived => evicted_objects_leave_and_their_frame_comes_back;
    reclaim_newest: ReclaimNewest => reclaim_takes_what_was_filled_longest_ago;
    again_forgotten: AgainForgotten => an_eviction_that_is_refused_loses_nothing;
    reclaim_boasts: ReclaimBoasts => an_eviction_that_is_refused_loses_nothing;
}
