//! The suite itself under test: the reference pool passes every check, and each flaw fails the check that is about it.

use std::{panic, time::Duration};

use super::*;
use crate::reference::{Flaw, MapPool};

mod reference_pool {
    use crate::reference::MapPool;

    crate::conformance!(|limit| Box::new(MapPool::new(limit)));
}

/// Whether the check panics on a pool with this flaw.
fn fails(name: &str, flaw: Flaw) -> bool {
    let check = CHECKS
        .iter()
        .find(|check| check.name == name)
        .unwrap_or_else(|| panic!("no check is called {name}"));
    let outcome = panic::catch_unwind(|| {
        let make = |limit| -> Box<dyn Pool> { Box::new(MapPool::with_flaw(limit, flaw)) };
        // Only a real deadlock comes near this; the checks used here take milliseconds.
        let expect = Expectations {
            limit_bytes: 4 << 20,
            deadlock_after: Duration::from_secs(5),
            ..Expectations::default()
        };
        (check.run)(&Subject { make: &make, expect });
    });
    outcome.is_err()
}

macro_rules! flaws {
    ($($test:ident: $flaw:ident => $($check:ident),+;)*) => {
        $(#[test]
        fn $test() {
            for check in [$(stringify!($check)),+] {
                assert!(fails(check, Flaw::$flaw), "{check} does not notice {:?}", Flaw::$flaw);
            }
        })*

        /// A flaw that no check is about would be a rule that no check is about.
        #[test]
        fn every_flaw_has_its_check() {
            let covered = [$(Flaw::$flaw),*];
            for flaw in Flaw::ALL {
                assert!(covered.contains(&flaw), "{flaw:?}");
            }
        }
    };
}

flaws! {
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
    limit_exceeded: LimitExceeded => the_limit_holds_to_the_brim, threads_at_the_brim_stay_within_the_limit;
    out_of_memory_spoils: OutOfMemorySpoils => out_of_memory_changes_nothing;
    maximum_off_by_one: MaximumOffByOne => more_than_the_maximum_is_too_large;
    limit_not_checked: LimitNotChecked => a_limit_below_the_use_is_refused;
    payload_leaks: PayloadLeaks => stats_add_up_after_every_operation, filling_again_and_again_leaks_nothing;
    frames_leak: FramesLeak => filling_again_and_again_leaks_nothing, trim_after_freeing_everything_leaves_little;
    trims_nothing: TrimsNothing => trim_after_freeing_everything_leaves_little;
    compaction_spoils: CompactionSpoils => compacting_a_random_half_restores_the_density, readers_beside_compaction_and_freeing;
    budget_ignored: BudgetIgnored => a_budget_bounds_one_call;
    more_forgotten: MoreForgotten => a_budget_bounds_one_call;
}
