//! Compaction's gains and budgets.

use pagefold_pool::CompactReport;

use super::{PoolUnderTest, accepted, agreed, contents, fill, free_some};
use crate::{
    corpus::Lengths,
    model::{Checked, Depth},
    seed::Seed,
};

/// Returns the sum of the reports.
fn compact_fully(
    under_test: &PoolUnderTest<'_>,
    on: &mut Checked<'_>,
    budget: usize,
) -> CompactReport {
    let most = (budget as u64).saturating_add(under_test.expect.budget_excess_max);
    // A call that says "more" has used its budget: nothing is busy here.
    let calls_max = 1000 + 4 * under_test.expect.limit_bytes / budget.clamp(1024, 1 << 30);
    let mut total = CompactReport::default();
    for _ in 0..calls_max {
        let report = agreed(on.compact(budget));
        let moved = report.moved_bytes + report.migrated_bytes;
        assert!(moved <= most, "a budget of {budget} bytes, and {report:?}");
        total.moved_bytes += report.moved_bytes;
        total.moved_objects += report.moved_objects;
        total.freed_frames += report.freed_frames;
        total.migrated_bytes += report.migrated_bytes;
        total.freed_pageblocks += report.freed_pageblocks;
        if !report.more {
            agreed(on.validate());
            return total;
        }
    }
    panic!(
        "compaction says \"more\" for ever: {calls_max} calls of {budget} bytes, in all {total:?}"
    );
}

pub(super) fn compacting_a_random_half_restores_the_density(under_test: &PoolUnderTest<'_>) {
    let seed = Seed::for_test(0xde45);
    for (stream, lengths) in [(0, Lengths::Compressed), (1, Lengths::Wide)] {
        let mut rng = seed.rng(stream);
        let pool = under_test.pool();
        let mut on = Checked::new(&*pool, Depth::Stats);
        fill(&mut on, &mut rng, lengths);
        free_some(&mut on, &mut rng, 0.5);
        let before = pool.stats();
        if !under_test.expect.moves_objects {
            let total = compact_fully(under_test, &mut on, usize::MAX);
            assert_eq!(
                (before.reclaimable_bytes, total.moved_bytes, total.freed_frames),
                (0, 0, 0)
            );
            agreed(on.check_all(100));
            continue;
        }
        assert!(
            before.reclaimable_bytes > 0,
            "half of the objects are gone and nothing is reclaimable: {before:?}"
        );
        let total = compact_fully(under_test, &mut on, usize::MAX);
        let after = pool.stats();
        let freed = before.frame_bytes - after.frame_bytes;
        assert!(total.freed_frames > 0 && freed > 0, "{total:?} freed {freed} bytes");
        assert!(
            freed >= before.reclaimable_bytes,
            "{} bytes were said to be reclaimable, {freed} were freed",
            before.reclaimable_bytes
        );
        assert!(
            total.moved_bytes <= before.payload_bytes,
            "each object moves at most once on average: {total:?}"
        );
        let (density, least) = (after.density(), under_test.expect.compacted_density_min);
        assert!(
            density > before.density(),
            "{lengths:?}: density fell from {} to {density}",
            before.density()
        );
        if lengths == Lengths::Compressed {
            assert!(
                density >= least,
                "density {density:.4} after compaction; at least {least} is expected"
            );
        }
        agreed(on.check_all(100));
    }
}

pub(super) fn a_budget_bounds_one_call(under_test: &PoolUnderTest<'_>) {
    let seed = Seed::for_test(0xb4d6e7);
    let mut rng = seed.rng(0);
    let pool = under_test.pool();
    let mut on = Checked::new(&*pool, Depth::Stats);
    fill(&mut on, &mut rng, Lengths::Compressed);
    free_some(&mut on, &mut rng, 0.5);
    let budget = 16 << 10;
    let first = agreed(on.compact(budget));
    assert!(first.more, "one call of {budget} bytes on a scattered pool cannot be all: {first:?}");
    agreed(on.validate());
    let total = compact_fully(under_test, &mut on, budget);
    let moved =
        if under_test.expect.moves_objects { total.moved_bytes } else { total.migrated_bytes };
    assert!(moved > 4 * budget as u64, "{total:?}");
    let least = under_test.expect.compacted_density_min;
    assert!(
        pool.stats().density() >= least,
        "small steps reach {:.4}; at least {least} is expected",
        pool.stats().density()
    );
    agreed(on.check_all(100));
}

pub(super) fn compaction_works_when_everything_is_full(under_test: &PoolUnderTest<'_>) {
    let seed = Seed::for_test(0xf1e1d);
    let mut rng = seed.rng(0);
    let pool = under_test.pool();
    let mut on = Checked::new(&*pool, Depth::Stats);
    for round in 0..3 {
        fill(&mut on, &mut rng, Lengths::Compressed);
        agreed(on.compact(usize::MAX));
        free_some(&mut on, &mut rng, 0.4);
        compact_fully(under_test, &mut on, 1 << 20);
        agreed(on.check_all(50));
        accepted(on.store(&contents(round, pool.max_len())));
    }
}

pub(super) fn compacting_nothing_moves_nothing(under_test: &PoolUnderTest<'_>) {
    let pool = under_test.pool();
    let mut on = Checked::new(&*pool, Depth::Validate);
    assert_eq!(compact_fully(under_test, &mut on, usize::MAX).moved_bytes, 0, "an empty pool");
    for key in 0..3 {
        accepted(on.store(&contents(key, 500)));
    }
    assert_eq!(
        compact_fully(under_test, &mut on, usize::MAX).freed_frames,
        0,
        "three objects cannot take less than they do"
    );
    assert_eq!(agreed(on.compact(0)).freed_frames, 0);
    agreed(on.check_all(0));
}

/// Only what the remaining objects need stays resident.
pub(super) fn compaction_and_trim_give_memory_back(under_test: &PoolUnderTest<'_>) {
    let seed = Seed::for_test(0x91b3);
    let mut rng = seed.rng(0);
    let pool = under_test.pool();
    let mut on = Checked::new(&*pool, Depth::Stats);
    fill(&mut on, &mut rng, Lengths::Compressed);
    free_some(&mut on, &mut rng, 0.75);
    compact_fully(under_test, &mut on, 1 << 20);
    agreed(on.trim());
    let stats = agreed(on.stats());
    assert_eq!(stats.idle_frame_bytes, 0, "trim gives all that is free back: {stats:?}");
    let most = stats.payload_bytes as f64 / under_test.expect.compacted_density_min;
    assert!(stats.frame_bytes as f64 <= most, "{} bytes of frames: {stats:?}", stats.frame_bytes);
    agreed(on.check_all(100));
}
