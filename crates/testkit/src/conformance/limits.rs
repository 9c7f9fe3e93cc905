//! The hard limit: never exceeded, harmless when reached, changeable.

use pagefold_pool::{AllocError, LimitError, Stats};

use super::{PoolUnderTest, accepted, agreed, contents, fill, fill_with_length, free_some};
use crate::{
    corpus::Lengths,
    model::{Checked, Depth},
    seed::Seed,
};

/// `Checked` compares resident bytes with the limit.
pub(super) fn the_limit_holds_in_a_full_pool(under_test: &PoolUnderTest<'_>) {
    let seed = Seed::for_test(0xb71a);
    for (stream, lengths) in (0..).zip(Lengths::ALL) {
        let mut rng = seed.rng(stream);
        // Tiny objects: a quarter, to bound their number.
        let limit = under_test.expect.limit_bytes / if lengths == Lengths::Tiny { 4 } else { 1 };
        let pool = (under_test.make)(limit);
        let mut on = Checked::new(&*pool, Depth::Stats);
        fill(&mut on, &mut rng, lengths);
        let filled = on.model().payload_bytes() as f64 / limit as f64;
        if lengths == Lengths::Compressed {
            assert!(
                filled >= under_test.expect.fill_min,
                "out of memory when payload was {filled:.3} of the limit"
            );
        }
        free_some(&mut on, &mut rng, 0.3);
        fill(&mut on, &mut rng, lengths);
        agreed(on.check_all(100));
    }
}

pub(super) fn out_of_memory_changes_nothing(under_test: &PoolUnderTest<'_>) {
    let seed = Seed::for_test(0x00f);
    let mut rng = seed.rng(0);
    let pool = under_test.pool();
    let mut on = Checked::new(&*pool, Depth::Stats);
    fill(&mut on, &mut rng, Lengths::Wide);
    let len = pool.max_len();
    fill_with_length(&mut on, len);
    let held = |stats: Stats| (stats.objects, stats.payload_bytes, stats.frame_bytes);
    let before = held(pool.stats());
    for key in 0..50 {
        let limit = under_test.expect.limit_bytes;
        assert_eq!(agreed(on.store(&contents(key, len))), Err(AllocError::OutOfMemory { limit }));
        assert_eq!(agreed(on.alloc(len)), Err(AllocError::OutOfMemory { limit }));
    }
    assert_eq!(held(pool.stats()), before);
    agreed(on.check_all(0));
}

pub(super) fn freeing_makes_room_again(under_test: &PoolUnderTest<'_>) {
    for len in [100, 1500, 4096] {
        let pool = under_test.pool();
        let len = len.min(pool.max_len());
        let mut on = Checked::new(&*pool, Depth::Stats);
        fill_with_length(&mut on, len);
        for round in 0..200 {
            let victim = on.model().pick(round * 7919).expect("the pool is full");
            accepted(on.free(victim));
            accepted(on.store(&contents(round, len)));
        }
        agreed(on.check_all(100));
    }
}

pub(super) fn filling_again_and_again_leaks_nothing(under_test: &PoolUnderTest<'_>) {
    let seed = Seed::for_test(0x1ea4);
    let mut rng = seed.rng(0);
    let pool = under_test.pool();
    let mut on = Checked::new(&*pool, Depth::Result);
    let mut first = None;
    for round in 0..5 {
        fill_with_length(&mut on, 1000);
        let count = on.model().objects().len();
        let least = *first.get_or_insert(count) * 95 / 100;
        assert!(count >= least, "round {round} held only {count} objects, the first {first:?}");
        agreed(on.free_all());
        // No tiny objects: their handle table may stay large.
        fill(&mut on, &mut rng, [Lengths::Compressed, Lengths::Borders, Lengths::Wide][round % 3]);
        free_some(&mut on, &mut rng, 0.9);
        agreed(on.validate());
        agreed(on.free_all());
        let stats = agreed(on.stats());
        assert_eq!((stats.objects, stats.payload_bytes), (0, 0));
    }
}

pub(super) fn trim_after_freeing_everything_leaves_little(under_test: &PoolUnderTest<'_>) {
    let seed = Seed::for_test(0x7714);
    let mut rng = seed.rng(0);
    let pool = under_test.pool();
    let mut on = Checked::new(&*pool, Depth::Stats);
    fill(&mut on, &mut rng, Lengths::Wide);
    let peak = pool.stats().resident_bytes();
    agreed(on.free_all());
    agreed(on.trim());
    let stats = pool.stats();
    assert_eq!(stats.frame_bytes, 0, "no object is left, but frames are held: {stats:?}");
    let most = under_test.expect.empty_resident_max;
    assert!(
        stats.resident_bytes() <= most,
        "of {peak} bytes {} are left: {stats:?}",
        stats.resident_bytes()
    );
    let again = agreed(on.trim());
    assert_eq!((again.frame_bytes, again.metadata_bytes), (0, 0), "a second trim finds nothing");
    accepted(on.store(&contents(1, 5000.min(pool.max_len()))));
    agreed(on.check_all(10));
}

pub(super) fn a_lower_limit_holds_and_can_be_raised_again(under_test: &PoolUnderTest<'_>) {
    let seed = Seed::for_test(0x5e7);
    let mut rng = seed.rng(0);
    let high = under_test.expect.limit_bytes;
    let low = high / 2;
    let pool = under_test.pool();
    let mut on = Checked::new(&*pool, Depth::Stats);
    fill(&mut on, &mut rng, Lengths::Compressed);
    // The remaining objects lie in all frames: compaction is needed.
    free_some(&mut on, &mut rng, 0.75);
    accepted(on.set_limit(low));
    agreed(on.check_all(100));
    fill(&mut on, &mut rng, Lengths::Compressed);
    let held_low = on.model().payload_bytes();
    accepted(on.set_limit(high));
    fill(&mut on, &mut rng, Lengths::Compressed);
    let held_high = on.model().payload_bytes();
    assert!(
        held_high > held_low + held_low / 2,
        "the raised limit is not used: {held_low} and then {held_high} payload bytes"
    );
    agreed(on.check_all(100));
}

pub(super) fn a_limit_below_the_use_is_refused(under_test: &PoolUnderTest<'_>) {
    let seed = Seed::for_test(0x1be);
    let mut rng = seed.rng(0);
    let pool = under_test.pool();
    let mut on = Checked::new(&*pool, Depth::Stats);
    fill(&mut on, &mut rng, Lengths::Compressed);
    for part in [2, 4] {
        let limit = under_test.expect.limit_bytes / part;
        let answer = agreed(on.set_limit(limit));
        assert!(
            matches!(answer, Err(LimitError::InUse { .. })),
            "a limit of {limit} bytes on a full pool: {answer:?}"
        );
    }
    agreed(on.check_all(0));
    free_some(&mut on, &mut rng, 0.1);
    accepted(on.store(&contents(1, 1000)));
}

pub(super) fn impossible_limits_are_refused(under_test: &PoolUnderTest<'_>) {
    let pool = under_test.pool();
    let mut on = Checked::new(&*pool, Depth::Validate);
    for limit in [0, 1] {
        let answer = agreed(on.set_limit(limit));
        assert!(matches!(answer, Err(LimitError::TooSmall { .. })), "{limit}: {answer:?}");
    }
    for limit in [usize::MAX, usize::MAX / 2] {
        let answer = agreed(on.set_limit(limit));
        let Err(LimitError::TooLarge { max, .. }) = answer else { panic!("{limit}: {answer:?}") };
        assert!(
            max >= under_test.expect.limit_bytes,
            "the limit that the pool was made with is possible"
        );
        accepted(on.set_limit(max));
        accepted(on.set_limit(under_test.expect.limit_bytes));
    }
    accepted(on.store(&contents(1, 4096.min(pool.max_len()))));
}
