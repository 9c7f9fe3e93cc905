//! The example programs, run and held to what they say.

#[path = "../examples/page_table.rs"]
mod page_table;
#[path = "../examples/value_cache.rs"]
mod value_cache;

#[test]
fn a_cache_of_values_stays_within_its_budget_and_saves_work() {
    let outcome = value_cache::run().expect("it runs");
    assert!(outcome.resident <= outcome.limit, "{outcome:?}");
    assert!(outcome.evicted > 0, "there is more than fits: {outcome:?}");
    // Half of what is asked is asked all the time.
    assert!(outcome.computed < outcome.asked * 3 / 5, "{outcome:?}");
}

#[test]
fn a_guest_runs_in_fewer_frames_than_it_has_pages() {
    let outcome = page_table::run().expect("it runs");
    assert!(outcome.faults > 1000 && outcome.stored > 500, "{outcome:?}");
    assert!(outcome.original > outcome.resident as u64 / 4, "{outcome:?}");
    assert!(outcome.resident <= outcome.limit, "{outcome:?}");
}
