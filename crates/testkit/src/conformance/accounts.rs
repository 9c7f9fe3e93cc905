//! The pool's accounts.

use super::{PoolUnderTest, accepted, agreed, contents};
use crate::{
    corpus::{Lengths, PAGE_BYTES},
    model::{Checked, Depth, Op},
    seed::Seed,
};

pub(super) fn an_empty_pool_holds_nothing(under_test: &PoolUnderTest<'_>) {
    let pool = under_test.pool();
    let stats = pool.stats();
    assert_eq!(
        (stats.objects, stats.payload_bytes, stats.frame_bytes, stats.moved_bytes),
        (0, 0, 0, 0)
    );
    assert_eq!(stats.limit_bytes, under_test.expect.limit_bytes as u64);
    assert!(
        stats.resident_bytes() <= under_test.expect.empty_resident_max,
        "an empty pool holds {} bytes",
        stats.resident_bytes()
    );
    assert!(!pool.name().is_empty());
    assert_eq!(pool.validate(), Ok(()));
}

pub(super) fn stats_add_up_after_every_operation(under_test: &PoolUnderTest<'_>) {
    let seed = Seed::for_test(0x57a75);
    let mut rng = seed.rng(0);
    let pool = under_test.pool();
    // `Checked` compares objects, payload and limit; `validate`, the pool's sums.
    let mut on = Checked::new(&*pool, Depth::Validate);
    let mut last = agreed(on.stats());
    for _ in 0..400 {
        let max_len = Lengths::Borders.sample(&mut rng, pool.max_len());
        agreed(Op::random(&mut rng, max_len).apply(&mut on));
        let stats = agreed(on.stats());
        assert!(
            stats.frame_bytes.is_multiple_of(PAGE_BYTES as u64),
            "{} frame bytes",
            stats.frame_bytes
        );
        assert!(
            stats.idle_frame_bytes.is_multiple_of(PAGE_BYTES as u64),
            "{} idle frame bytes",
            stats.idle_frame_bytes
        );
        assert!(
            stats.moved_bytes >= last.moved_bytes && stats.compacted_bytes >= last.compacted_bytes,
            "totals never fall"
        );
        assert!(stats.objects == 0 || stats.metadata_bytes > 0, "handles take memory");
        last = stats;
    }
}

/// The second read begins before the pool frees what the first one kept.
pub(super) fn what_reads_kept_is_counted_at_most_until_none_is_open(
    under_test: &PoolUnderTest<'_>,
) {
    under_test.guarded("stats inside a read after another", |pool| {
        let mut on = Checked::new(&**pool, Depth::Result);
        let handles: Vec<_> = (0..8).map(|key| accepted(on.store(&contents(key, 100)))).collect();
        for (pair, key) in handles.chunks_exact(2).zip(100..) {
            let (first, second) = (pair[0], pair[1]);
            accepted(on.during_read(first, &mut |on| {
                _ = on.write(first, &contents(key, 100))?;
                _ = on.free(second)?;
                Ok(())
            }));
            accepted(on.during_read(handles[6], &mut |on| on.stats().map(|_| ())));
        }
        let stats = agreed(on.stats());
        assert_eq!((stats.objects, stats.payload_bytes), (4, 400));
        agreed(on.validate());
    });
}
