//! Invalid handles: always an error, never a panic or another object.

use std::collections::HashSet;

use pagefold_pool::{
    Handle, HandleError, MigrateError, Pool, ReadIntoError, Slices, TryReadError, WriteError,
};
use rand::{RngExt, seq::IndexedRandom};

use super::{PoolUnderTest, accepted, agreed, contents};
use crate::{
    model::{Checked, Depth},
    seed::Seed,
};

pub(super) fn a_freed_handle_is_stale(under_test: &PoolUnderTest<'_>) {
    let pool = under_test.pool();
    for len in [1, 100, 4096.min(pool.max_len()), pool.max_len()] {
        let handle = pool.store(&contents(1, len)).expect("there is room");
        assert_eq!(pool.free(handle), Ok(()));
        refused(&*pool, handle, HandleError::Stale, len);
    }
    assert_eq!(pool.stats().objects, 0);
}

/// `Checked` does not demand the exact error.
fn refused(pool: &dyn Pool, handle: Handle, error: HandleError, len: usize) {
    let mut buffer = vec![3; len];
    let mut closure = |_: Slices<'_>| panic!("the closure was called for {handle:?}");
    assert_eq!(pool.read(handle, &mut closure), Err(error));
    assert_eq!(pool.try_read(handle, &mut closure), Err(TryReadError::Handle(error)));
    assert_eq!(pool.read_into(handle, &mut buffer), Err(ReadIntoError::Handle(error)));
    assert!(buffer.iter().all(|byte| *byte == 3), "the buffer was touched");
    assert_eq!(pool.len(handle), Err(error));
    assert_eq!(pool.write(handle, &buffer), Err(WriteError::Handle(error)));
    let migrated = pool.migrate(handle);
    let refused = [Err(MigrateError::Handle(error)), Err(MigrateError::Unsupported)];
    assert!(refused.contains(&migrated), "migrate of {handle:?}: {migrated:?}");
    assert_eq!(pool.free(handle), Err(error));
    assert_eq!(pool.free(handle), Err(error), "once more");
}

pub(super) fn an_old_handle_never_finds_its_successor(under_test: &PoolUnderTest<'_>) {
    let pool = under_test.pool();
    let mut on = Checked::new(&*pool, Depth::Stats);
    let mut old = accepted(on.store(&contents(0, 64)));
    for key in 1..2000 {
        accepted(on.free(old));
        let new = accepted(on.store(&contents(key, 64)));
        agreed(on.misuse(old));
        accepted(on.read(new));
        old = new;
    }
    agreed(on.check_all(2000));
}

pub(super) fn handles_of_another_pool_are_foreign(under_test: &PoolUnderTest<'_>) {
    let (mine, other) = (under_test.pool(), under_test.pool());
    let mut on = Checked::new(&*mine, Depth::Stats);
    for key in 0..100 {
        accepted(on.store(&contents(key, 200)));
        let foreign = other.store(&contents(key, 200)).expect("there is room");
        refused(&*mine, foreign, HandleError::Foreign, 200);
        if key % 2 == 0 {
            other.free(foreign).expect("alive");
            refused(&*mine, foreign, HandleError::Foreign, 200);
        }
    }
    agreed(on.check_all(0));
    assert_eq!(other.stats().objects, 50, "the other pool is as it was");
}

pub(super) fn handles_of_a_dropped_pool_are_foreign(under_test: &PoolUnderTest<'_>) {
    let gone = under_test.pool();
    let handle = gone.store(&contents(1, 50)).expect("there is room");
    drop(gone);
    let next = under_test.pool();
    next.store(&contents(2, 50)).expect("there is room");
    refused(&*next, handle, HandleError::Foreign, 50);
}

pub(super) fn forged_words_name_nothing(under_test: &PoolUnderTest<'_>) {
    let seed = Seed::for_test(0xf0e6ed);
    let mut rng = seed.rng(0);
    let pool = under_test.pool();
    let mut on = Checked::new(&*pool, Depth::Result);
    let live: Vec<Handle> = (0..500).map(|key| accepted(on.store(&contents(key, 100)))).collect();
    for round in 0..100_000_u32 {
        let word = match round % 4 {
            0 => rng.random(),
            1 => rng.random::<u64>() >> rng.random_range(0..64),
            // First any index and generation, then an existing index.
            2 => live[0].to_raw() & 0xffff << 48 | rng.random::<u64>() >> 16,
            _ => {
                live.choose(&mut rng).map_or(0, |handle| handle.to_raw())
                    ^ rng.random::<u64>() & 0xffff << 32
            }
        };
        let Some(handle) = Handle::from_raw(word) else { continue };
        if on.model().get(handle).is_none() {
            _ = agreed(on.len(handle));
            _ = agreed(on.read(handle));
            if round % 16 < 4 {
                agreed(on.misuse(handle));
            }
        }
    }
    agreed(on.check_all(0));
}

pub(super) fn near_misses_of_live_handles_name_nothing(under_test: &PoolUnderTest<'_>) {
    let pool = under_test.pool();
    let mut on = Checked::new(&*pool, Depth::Result);
    let live: Vec<Handle> = (0..100).map(|key| accepted(on.store(&contents(key, 100)))).collect();
    let dead: Vec<Handle> = (0..20).map(|key| accepted(on.store(&contents(key, 100)))).collect();
    for handle in &dead {
        accepted(on.free(*handle));
    }
    for handle in live.iter().step_by(20).chain(dead.iter().step_by(10)) {
        for (first, second) in
            (0..64).flat_map(|first| (first..64).map(move |second| (first, second)))
        {
            let word = handle.to_raw() ^ (1 << first | 1 << second);
            if let Some(forged) =
                Handle::from_raw(word).filter(|forged| on.model().get(*forged).is_none())
            {
                agreed(on.misuse(forged));
            }
        }
    }
    agreed(on.check_all(0));
}

pub(super) fn generations_never_come_round(under_test: &PoolUnderTest<'_>) {
    let pool = under_test.pool();
    let kept = pool.store(&contents(1, 40)).expect("there is room");
    let mut given = HashSet::new();
    let mut sample = Vec::new();
    for round in 0..200_000_u32 {
        let handle = pool.store(&round.to_le_bytes()).expect("there is room");
        assert!(given.insert(handle), "{handle:?} was given out a second time, in round {round}");
        assert_eq!(pool.free(handle), Ok(()));
        if round % 997 == 0 {
            sample.push(handle);
        }
        if round % 9_973 == 0 {
            let live = pool.store(&round.to_le_bytes()).expect("there is room");
            for old in &sample {
                assert_eq!(pool.len(*old), Err(HandleError::Stale), "round {round}");
            }
            assert!(given.insert(live), "{live:?} was given out a second time");
            pool.free(live).expect("alive");
        }
    }
    for old in sample {
        refused(&*pool, old, HandleError::Stale, 4);
    }
    assert_eq!(pool.len(kept), Ok(40));
    assert_eq!(pool.validate(), Ok(()));
}
