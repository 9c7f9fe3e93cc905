//! What a pool says of itself.

use super::{Subject, agreed};
use crate::{
    corpus::{Lengths, PAGE_BYTES},
    model::{Checked, Depth, Op},
    seed::Seed,
};

pub(super) fn an_empty_pool_holds_nothing(subject: &Subject<'_>) {
    let pool = subject.pool();
    let stats = pool.stats();
    assert_eq!(
        (stats.objects, stats.payload_bytes, stats.frame_bytes, stats.moved_bytes),
        (0, 0, 0, 0)
    );
    assert_eq!(stats.limit_bytes, subject.expect.limit_bytes as u64);
    assert!(
        stats.resident_bytes() <= subject.expect.empty_resident_max,
        "an empty pool holds {} bytes",
        stats.resident_bytes()
    );
    assert!(!pool.name().is_empty());
    assert_eq!(pool.validate(), Ok(()));
}

pub(super) fn stats_add_up_after_every_operation(subject: &Subject<'_>) {
    let seed = Seed::for_test(0x57a75);
    let mut rng = seed.rng(0);
    let pool = subject.pool();
    // `Checked` compares objects, payload and limit each time, and `validate` the pool's own sums.
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
