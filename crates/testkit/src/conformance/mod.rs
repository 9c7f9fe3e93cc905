//! The conformance suite: one named check for each rule of the contract.
//!
//! A failed check panics. [`conformance!`](crate::conformance!) makes each check a `#[test]`; [`run`] performs all of
//! [`CHECKS`]. A [`watchdog`] turns a deadlock into a failure.

mod accounts;
mod compaction;
mod concurrency;
mod contents;
mod contiguous;
mod limits;
mod migration;
mod misuse;
mod reading;
mod reclaim;
mod sizes;

use std::{fmt, sync::Arc, time::Duration};

use pagefold_pool::{AllocError, Handle, Pool};
use rand::{Rng, RngExt};

use crate::{
    corpus::{Lengths, PAGE_BYTES},
    model::{Checked, Mismatch},
    pattern::Pattern,
    watchdog,
};

/// Expected figures that the contract leaves open.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expectations {
    /// Most pools' limit in bytes.
    pub limit_bytes: usize,
    /// The longest object every such pool takes.
    pub max_len_min: usize,
    /// The least payload / limit when compressed lengths fill the pool.
    pub fill_min: f64,
    /// The least density after freeing a random half and compacting.
    pub compacted_density_min: f64,
    /// Whether compaction moves objects, not only frames.
    pub moves_objects: bool,
    /// Bytes by which `compact` may exceed its budget.
    pub budget_excess_max: u64,
    /// The most resident bytes when empty and trimmed.
    pub empty_resident_max: u64,
    /// When a check counts as deadlocked.
    pub deadlock_after: Duration,
}

impl Default for Expectations {
    fn default() -> Self {
        Self {
            limit_bytes: 16 << 20,
            max_len_min: PAGE_BYTES,
            fill_min: 0.6,
            compacted_density_min: 0.9,
            moves_objects: true,
            budget_excess_max: 128 << 10,
            empty_resident_max: 2 << 20,
            deadlock_after: Duration::from_secs(60),
        }
    }
}

/// A kind of pool to check.
#[derive(Clone, Copy)]
pub struct PoolUnderTest<'a> {
    /// Makes an empty pool with this limit in bytes.
    pub make: &'a dyn Fn(usize) -> Box<dyn Pool>,
    /// Its expected figures.
    pub expect: Expectations,
}

impl PoolUnderTest<'_> {
    fn pool(&self) -> Box<dyn Pool> {
        (self.make)(self.expect.limit_bytes)
    }

    fn guarded(&self, what: &str, f: impl FnOnce(&Arc<dyn Pool>) + Send + 'static) {
        self.guarded_pool(what, self.pool(), f);
    }

    fn guarded_pool(
        &self,
        what: &str,
        pool: Box<dyn Pool>,
        f: impl FnOnce(&Arc<dyn Pool>) + Send + 'static,
    ) {
        let pool: Arc<dyn Pool> = pool.into();
        watchdog::within(self.expect.deadlock_after, what, move || f(&pool));
    }
}

impl fmt::Debug for PoolUnderTest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolUnderTest").field("expect", &self.expect).finish_non_exhaustive()
    }
}

/// One rule of the contract.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// The rule and its test.
    pub name: &'static str,
    /// Panics if a pool breaks it.
    pub run: fn(&PoolUnderTest<'_>),
}

/// Runs every check with the default [`Expectations`].
///
/// # Panics
/// At the first broken rule.
///
/// # Examples
/// ```no_run
/// use pagefold_testkit::{conformance, reference::MapPool};
///
/// conformance::run(&|limit| Box::new(MapPool::new(limit)));
/// ```
pub fn run(make: &dyn Fn(usize) -> Box<dyn Pool>) {
    let under_test = PoolUnderTest { make, expect: Expectations::default() };
    for check in CHECKS {
        (check.run)(&under_test);
    }
}

/// Makes each check a `#[test]`, for pools made by a `fn(usize) -> Box<dyn Pool>` that takes the limit.
///
/// ```ignore
/// mod nbud {
///     pagefold_testkit::conformance!(|limit| make(limit), Expectations { fill_min: 0.8, ..Expectations::default() });
/// }
/// ```
#[macro_export]
macro_rules! conformance {
    ($make:expr) => {
        $crate::conformance!($make, $crate::conformance::Expectations::default());
    };
    ($make:expr, $expect:expr) => {
        fn check(name: &str) {
            let make: fn(usize) -> Box<dyn pagefold_pool::Pool> = $make;
            let under_test = $crate::conformance::PoolUnderTest { make: &make, expect: $expect };
            let check = $crate::conformance::CHECKS.iter().find(|check| check.name == name);
            (check.expect("the macro lists the checks").run)(&under_test);
        }
        $crate::conformance_checks! { conformance_tests }
    };
}

/// Passes all checks, as `module::name`, to another macro.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_checks {
    ($callback:ident) => {
        $crate::$callback! {
            sizes::length_0_is_an_invalid_size,
            sizes::more_than_the_maximum_is_too_large,
            sizes::the_maximum_is_taken,
            sizes::every_length_around_a_border_round_trips,
            sizes::all_short_lengths_round_trip_side_by_side,
            contents::alloc_gives_zeros_whatever_was_there,
            contents::write_replaces_and_keeps_the_handle,
            contents::write_of_another_length_changes_nothing,
            contents::read_into_copies_only_what_fits,
            contents::random_traffic_agrees_with_the_model,
            contents::random_traffic_in_a_tiny_pool_agrees_with_the_model,
            reading::write_inside_a_read_leaves_the_open_bytes,
            reading::write_from_another_thread_leaves_the_open_bytes,
            reading::write_while_read_in_a_full_pool_is_whole_or_refused,
            reading::free_inside_a_read_leaves_the_open_bytes,
            reading::free_from_another_thread_leaves_the_open_bytes,
            reading::freed_bytes_are_not_reused_while_they_are_read,
            reading::neighbours_can_be_written_and_freed_while_one_is_read,
            reading::every_method_works_inside_a_read,
            reading::reads_nest,
            reading::compaction_beside_an_open_read_loses_nothing,
            misuse::a_freed_handle_is_stale,
            misuse::an_old_handle_never_finds_its_successor,
            misuse::handles_of_another_pool_are_foreign,
            misuse::handles_of_a_dropped_pool_are_foreign,
            misuse::forged_words_name_nothing,
            misuse::near_misses_of_live_handles_name_nothing,
            misuse::generations_never_come_round,
            limits::the_limit_holds_in_a_full_pool,
            limits::out_of_memory_changes_nothing,
            limits::freeing_makes_room_again,
            limits::filling_again_and_again_leaks_nothing,
            limits::trim_after_freeing_everything_leaves_little,
            limits::a_lower_limit_holds_and_can_be_raised_again,
            limits::a_limit_below_the_use_is_refused,
            limits::impossible_limits_are_refused,
            accounts::an_empty_pool_holds_nothing,
            accounts::stats_add_up_after_every_operation,
            accounts::what_reads_kept_is_counted_at_most_until_none_is_open,
            compaction::compacting_a_random_half_restores_the_density,
            compaction::a_budget_bounds_one_call,
            compaction::compaction_works_when_everything_is_full,
            compaction::compacting_nothing_moves_nothing,
            compaction::compaction_and_trim_give_memory_back,
            migration::migration_keeps_objects_and_accounts,
            migration::an_object_that_is_read_does_not_move,
            migration::migrating_what_is_not_here_is_refused,
            migration::migration_in_a_full_pool_moves_or_refuses,
            migration::frees_beside_migration_succeed_once,
            migration::readers_and_writers_beside_migration_lose_nothing,
            contiguous::impossible_ranges_are_refused,
            contiguous::a_contiguous_range_is_aligned_zero_and_not_shared,
            contiguous::a_contiguous_range_counts_against_the_limit,
            contiguous::contiguous_ranges_come_back,
            contiguous::a_range_in_a_fragmented_pool_moves_what_is_there,
            contiguous::a_range_beside_open_reads_avoids_or_names_them,
            contiguous::ranges_beside_traffic_lose_nothing,
            reclaim::without_retries_nothing_is_evicted,
            reclaim::an_empty_pool_has_nothing_to_reclaim,
            reclaim::evicted_objects_leave_and_their_frame_comes_back,
            reclaim::reclaim_takes_what_was_filled_longest_ago,
            reclaim::migration_keeps_the_order_of_use,
            reclaim::an_eviction_that_is_refused_loses_nothing,
            reclaim::an_evictor_that_panics_leaves_the_pool_whole,
            reclaim::an_evictor_may_call_every_method,
            reclaim::an_evictor_may_free_anything,
            reclaim::an_object_that_is_read_can_be_evicted,
            reclaim::reclaim_beside_frees_and_stores_loses_nothing,
            concurrency::threads_with_objects_of_their_own,
            concurrency::readers_beside_compaction_and_freeing,
            concurrency::exactly_one_of_two_racing_frees_succeeds,
            concurrency::a_reader_sees_one_write_or_the_other,
            concurrency::threads_in_a_full_pool_stay_within_the_limit,
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests {
    ($($module:ident::$name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            check(stringify!($name));
        })*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! conformance_table {
    ($($module:ident::$name:ident),* $(,)?) => {
        /// Every check.
        pub const CHECKS: &[Check] = &[$(Check { name: stringify!($name), run: $module::$name }),*];
    };
}

crate::conformance_checks! { conformance_table }

#[track_caller]
fn agreed<T>(outcome: Result<T, Mismatch>) -> T {
    match outcome {
        Ok(value) => value,
        Err(mismatch) => panic!("{mismatch}"),
    }
}

/// Unwraps an answer that must be a success.
#[track_caller]
fn accepted<T, E: fmt::Display>(outcome: Result<Result<T, E>, Mismatch>) -> T {
    match agreed(outcome) {
        Ok(value) => value,
        Err(error) => panic!("refused: {error}"),
    }
}

fn fill(on: &mut Checked<'_>, rng: &mut impl Rng, lengths: Lengths) {
    let max = on.pool().max_len();
    loop {
        let bytes = contents(rng.random(), lengths.sample(rng, max));
        match agreed(on.store(&bytes)) {
            Ok(_) => {}
            Err(AllocError::OutOfMemory { .. }) => return,
            Err(error) => panic!("{} of at most {max} bytes: {error}", bytes.len()),
        }
    }
}

fn fill_with_length(on: &mut Checked<'_>, len: usize) {
    while agreed(on.store(&contents(on.model().objects().len() as u64, len))).is_ok() {}
}

fn free_some(on: &mut Checked<'_>, rng: &mut impl Rng, probability: f64) {
    let handles: Vec<Handle> = on.model().objects().iter().map(|(handle, _)| *handle).collect();
    for handle in handles {
        if rng.random_bool(probability) {
            accepted(on.free(handle));
        }
    }
}

fn contents(key: u64, len: usize) -> Vec<u8> {
    Pattern::new(key, 0, 0).bytes(len)
}

#[cfg(test)]
mod tests;
