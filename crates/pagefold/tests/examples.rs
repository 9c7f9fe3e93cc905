//! The example programs, run and held to what they say.

#[path = "../examples/cache.rs"]
mod cache;
#[path = "../examples/clones.rs"]
mod clones;
#[path = "../examples/page_table.rs"]
mod page_table;
#[path = "../examples/spill.rs"]
mod spill;
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
fn a_cache_of_answers_holds_more_than_its_limit_and_none_too_old() {
    let outcome = cache::run().expect("it runs");
    assert!(outcome.resident <= outcome.limit, "{outcome:?}");
    assert_eq!(outcome.stale, 0, "{outcome:?}");
    assert!(outcome.stats.hits > outcome.asked * 2 / 5, "{outcome:?}");
    assert!(outcome.stats.evictions > 0 && outcome.stats.expired > 0, "{outcome:?}");
    assert!(outcome.body_bytes > outcome.limit as u64, "{outcome:?}");
}

#[test]
fn records_come_back_from_a_file_that_takes_what_memory_cannot() {
    use pagefold::spill::{EXTENT_BYTES_MIN, FileBacking, Spill};

    let backing = FileBacking::new(&std::env::temp_dir(), EXTENT_BYTES_MIN).expect("a file");
    let spill = Spill::builder(backing).extent_bytes(EXTENT_BYTES_MIN).build().expect("sensible");
    let outcome = spill::run(spill, 64 << 20, 500).expect("every byte is right");
    assert!(outcome.resident <= outcome.limit, "{outcome:?}");
    assert!(outcome.away > outcome.here && outcome.away_bytes > 8 << 20, "{outcome:?}");
    assert!(!outcome.from_memory.is_empty() && !outcome.from_backing.is_empty(), "{outcome:?}");
    spill::print(outcome);
}

#[test]
fn a_guest_runs_in_fewer_frames_than_it_has_pages() {
    let outcome = page_table::run().expect("it runs");
    assert!(outcome.faults > 1000 && outcome.stored > 500, "{outcome:?}");
    assert!(outcome.original > outcome.resident as u64 / 4, "{outcome:?}");
    assert!(outcome.resident <= outcome.limit, "{outcome:?}");
}

#[test]
fn ten_clones_take_a_fraction_of_one() {
    let directory =
        std::env::temp_dir().join(format!("pagefold-clones-test-{}", std::process::id()));
    let image: Vec<u8> = (0..300_u64 * 512)
        .flat_map(|word| (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40).to_le_bytes())
        .collect();
    std::fs::write(&directory, &image).expect("room");
    let outcome = clones::run(&directory);
    std::fs::remove_file(&directory).expect("it was made");
    let outcome = outcome.expect("every page comes back");
    assert_eq!(outcome.clones, 10);
    assert!(outcome.equal > 2000 && outcome.deltas > 100, "{outcome:?}");
    assert!(outcome.more < image.len(), "{outcome:?}");
}
