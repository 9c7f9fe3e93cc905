//! Attributes a run's memory to each process and mapping, with the interval that a sample gives.

use crate::estimate::{
    measure::filled::Filled,
    result::{cost::Cost, input::InputSummary, process::PartResult, row::Row, tally::Tally},
};

/// Adds its share of `fill` to each process and mapping of `input`, and the interval of the whole to `fill`.
pub(crate) fn attribute(filled: &Filled, cost: Cost, fill: &mut Row, input: &mut InputSummary) {
    // An interrupted run has the first pages, which are no sample.
    let complete = fill.is_complete();
    let interval =
        |tally: Tally, total_pages: u64| tally.interval(cost, total_pages).filter(|_| complete);
    let share = |tally: Tally, total_pages: u64| PartResult {
        codec: fill.codec.clone(),
        allocator: fill.allocator.clone(),
        tally,
        memory_bytes: tally.memory_bytes(cost),
        effective_ratio: tally.effective_ratio(cost),
        effective_ratio_95: interval(tally, total_pages),
    };
    for process in &mut input.processes {
        let mut whole = filled.units(process.group);
        for mapping in &mut process.mappings {
            whole.add(&filled.units(mapping.group));
            mapping.shares.push(share(filled.part(mapping.group), mapping.pages));
        }
        process.shares.push(share(whole, process.pages));
    }
    let all = filled.whole();
    fill.effective_ratio_95 = interval(all, input.total_pages);
    fill.effective_ratio_whole =
        all.effective_ratio(cost).filter(|_| complete && input.is_sampled());
}
