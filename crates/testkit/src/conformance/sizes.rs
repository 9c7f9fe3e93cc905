//! Valid lengths, each kept to the byte.

use std::collections::VecDeque;

use pagefold_pool::AllocError;

use super::{PoolUnderTest, accepted, agreed, contents};
use crate::{
    corpus::PAGE_BYTES,
    model::{Checked, Depth},
};

pub(super) fn length_0_is_an_invalid_size(under_test: &PoolUnderTest<'_>) {
    let pool = under_test.pool();
    let mut on = Checked::new(&*pool, Depth::Validate);
    assert_eq!(agreed(on.store(&[])), Err(AllocError::InvalidSize));
    assert_eq!(agreed(on.alloc(0)), Err(AllocError::InvalidSize));
}

pub(super) fn more_than_the_maximum_is_too_large(under_test: &PoolUnderTest<'_>) {
    let pool = under_test.pool();
    let max = pool.max_len();
    let mut on = Checked::new(&*pool, Depth::Validate);
    for len in [max + 1, max + PAGE_BYTES, 2 * max, 16 * max] {
        assert_eq!(agreed(on.store(&vec![1; len])), Err(AllocError::TooLarge { len, max }));
    }
    for len in [max + 1, usize::MAX / 2, usize::MAX - 1, usize::MAX] {
        assert_eq!(agreed(on.alloc(len)), Err(AllocError::TooLarge { len, max }));
    }
}

pub(super) fn the_maximum_is_taken(under_test: &PoolUnderTest<'_>) {
    let pool = under_test.pool();
    let max = pool.max_len();
    let least = under_test.expect.max_len_min;
    assert!(max >= least, "objects of {least} bytes are expected to fit; the maximum is {max}");
    let mut on = Checked::new(&*pool, Depth::Validate);
    let stored = accepted(on.store(&contents(1, max)));
    let zeros = accepted(on.alloc(max));
    accepted(on.write(zeros, &contents(2, max)));
    accepted(on.write(stored, &contents(3, max)));
    agreed(on.check_all(0));
    agreed(on.free_all());
}

/// Frames, half spans and spans all end at a multiple of half a frame.
pub(super) fn every_length_around_a_border_round_trips(under_test: &PoolUnderTest<'_>) {
    let pool = under_test.pool();
    let max = pool.max_len();
    let mut on = Checked::new(&*pool, Depth::Stats);
    let mut kept = VecDeque::new();
    let half = PAGE_BYTES / 2;
    let borders = (1..=max.div_ceil(half)).map(|halves| halves * half);
    for len in borders.flat_map(|border| border - 20..=border + 20).filter(|len| *len <= max) {
        kept.push_back(accepted(on.store(&contents(len as u64, len))));
        kept.push_back(accepted(on.alloc(len)));
        while on.model().payload_bytes() > under_test.expect.limit_bytes as u64 / 3 {
            let oldest = kept.pop_front().expect("payload without objects");
            accepted(on.read(oldest));
            accepted(on.free(oldest));
        }
    }
    agreed(on.check_all(100));
    agreed(on.free_all());
    agreed(on.validate());
}

pub(super) fn all_short_lengths_round_trip_side_by_side(under_test: &PoolUnderTest<'_>) {
    let pool = under_test.pool();
    let mut on = Checked::new(&*pool, Depth::Stats);
    for len in (1..=1100).chain((1..=1100).rev()) {
        accepted(on.store(&contents(len as u64, len)));
    }
    agreed(on.check_all(0));
    agreed(on.free_all());
    agreed(on.check_all(100));
}
