//! Joint coverage of several runs: one may lack a rare event.

use crate::seed::Seed;

/// Runs after which a missing event counts as impossible.
const RUNS_MAX: u64 = 10;

/// Calls `run` with successive seeds until each kind of event happened; it returns the missing kinds.
///
/// # Panics
/// If a kind never happened; names `who`.
pub(crate) fn assert_complete(
    who: impl std::fmt::Display,
    first: Seed,
    mut run: impl FnMut(Seed) -> Vec<&'static str>,
) {
    let mut missing = run(first);
    for next in 1..RUNS_MAX {
        if missing.is_empty() {
            return;
        }
        let lacked = run(Seed::new(first.value().wrapping_add(next)));
        missing.retain(|kind| lacked.contains(kind));
    }
    assert!(missing.is_empty(), "{who} never had {missing:?} in {RUNS_MAX} runs");
}

#[test]
fn an_event_need_happen_in_one_run_only() {
    let mut seeds = Vec::new();
    assert_complete("each event once", Seed::new(7), |seed| {
        seeds.push(seed.value());
        ["a", "b", "c"]
            .into_iter()
            .filter(|kind| *kind != ["a", "b", "c"][seeds.len() - 1])
            .collect()
    });
    assert_eq!(seeds, [7, 8, 9]);
}

#[test]
#[should_panic(expected = "a pool never had [\"b\"] in 10 runs")]
fn an_event_that_no_run_had_is_missing() {
    assert_complete("a pool", Seed::new(7), |seed| match seed.value() % 2 {
        0 => vec!["a", "b"],
        _ => vec!["b", "c"],
    });
}
