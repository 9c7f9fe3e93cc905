//! Objects keep their exact bytes after any traffic.

use pagefold_pool::{ReadIntoError, WriteError};

use super::{PoolUnderTest, accepted, agreed, contents, fill};
use crate::{
    corpus::Lengths,
    model::{Checked, Depth, Op},
    seed::Seed,
};

pub(super) fn alloc_gives_zeros_whatever_was_there(under_test: &PoolUnderTest<'_>) {
    let seed = Seed::for_test(0xa110c);
    let mut rng = seed.rng(0);
    let pool = under_test.pool();
    let mut on = Checked::new(&*pool, Depth::Result);
    fill(&mut on, &mut rng, Lengths::Borders);
    agreed(on.free_all());
    for _ in 0..500 {
        // `Checked` compares each new object with zeros.
        _ = agreed(on.alloc(Lengths::Wide.sample(&mut rng, pool.max_len())));
    }
    agreed(on.check_all(10));
}

pub(super) fn write_replaces_and_keeps_the_handle(under_test: &PoolUnderTest<'_>) {
    let pool = under_test.pool();
    let mut on = Checked::new(&*pool, Depth::Validate);
    let lens = [1, 2, 3, 4, 5, 100, 4095, 4096, pool.max_len()];
    let lens = lens.into_iter().filter(|len| *len <= pool.max_len());
    let handles: Vec<_> = lens.map(|len| (accepted(on.store(&contents(1, len))), len)).collect();
    for version in 2..6 {
        for &(handle, len) in &handles {
            accepted(on.write(handle, &contents(version, len)));
        }
        agreed(on.check_all(0));
    }
}

pub(super) fn write_of_another_length_changes_nothing(under_test: &PoolUnderTest<'_>) {
    let pool = under_test.pool();
    let mut on = Checked::new(&*pool, Depth::Validate);
    let handle = accepted(on.store(&contents(1, 100)));
    for given in [0, 1, 99, 101, 4096, pool.max_len(), pool.max_len() + 1] {
        let answer = agreed(on.write(handle, &vec![7; given]));
        assert_eq!(answer, Err(WriteError::WrongLength { len: 100, given }));
    }
}

pub(super) fn read_into_copies_only_what_fits(under_test: &PoolUnderTest<'_>) {
    let pool = under_test.pool();
    let mut on = Checked::new(&*pool, Depth::Result);
    for len in [1, 17, 4096.min(pool.max_len()), pool.max_len()] {
        let handle = accepted(on.store(&contents(1, len)));
        for capacity in [0, len - 1] {
            assert_eq!(
                agreed(on.read_into(handle, capacity)),
                Err(ReadIntoError::BufferTooSmall { len, capacity })
            );
        }
        for capacity in [len, len + 1, 2 * len + 64] {
            assert_eq!(agreed(on.read_into(handle, capacity)), Ok(len));
        }
    }
}

pub(super) fn random_traffic_agrees_with_the_model(under_test: &PoolUnderTest<'_>) {
    traffic(under_test, under_test.expect.limit_bytes, 3000);
}

/// Most of the traffic happens at the limit.
pub(super) fn random_traffic_in_a_tiny_pool_agrees_with_the_model(under_test: &PoolUnderTest<'_>) {
    traffic(under_test, under_test.expect.limit_bytes / 4, 6000);
}

fn traffic(under_test: &PoolUnderTest<'_>, limit: usize, ops: usize) {
    let seed = Seed::for_test(0x7aff1c);
    for (stream, max_len) in [(1, 300), (2, 4096), (3, usize::MAX)] {
        let mut rng = seed.rng(stream);
        let pool = (under_test.make)(limit);
        let mut on = Checked::new(&*pool, Depth::Stats);
        for step in 0..ops {
            let op = Op::random(&mut rng, max_len.min(pool.max_len()));
            if let Err(mismatch) = op.apply(&mut on) {
                panic!("operation {step} of stream {stream}, {op:?}: {mismatch}");
            }
            if step % 100 == 0 {
                agreed(on.validate());
            }
        }
        agreed(on.check_all(1000));
        agreed(on.free_all());
        agreed(on.check_all(100));
    }
}
