//! Spans, runs, and objects that slide together.

use pagefold_pool::FillPolicy;

use super::{check, frames, pool, store};

#[test]
fn short_objects_share_a_span() {
    for span_frames in [1, 2, 4, 8, 16] {
        let pool = pool(span_frames, FillPolicy::Auto);
        let handles: Vec<_> = (0..30).map(|key| store(&*pool, key, 100)).collect();
        assert_eq!(frames(&*pool), u64::from(span_frames));
        (0..).zip(handles).for_each(|(key, handle)| check(&*pool, handle, key, 100));
    }
}

/// What would need another frame for its slot has frames of its own, and so has what is longer than half a span.
#[test]
fn objects_that_find_no_company_have_runs_of_their_own() {
    for (len, run) in [(4089, 1), (4096, 1), (8185, 2), (8192, 2), (8193, 3), (65_536, 16)] {
        let pool = pool(4, FillPolicy::Auto);
        let shared = store(&*pool, 1, 100);
        let alone = store(&*pool, 2, len);
        assert_eq!(frames(&*pool), 4 + run, "{len} bytes");
        check(&*pool, alone, 2, len);
        pool.free(alone).expect("alive");
        assert_eq!(frames(&*pool), 4, "{len} bytes");
        check(&*pool, shared, 1, 100);
    }
}

/// Whatever is free in a span is one piece, once its objects slid together.
#[test]
fn objects_slide_together_for_one_that_no_hole_holds() {
    let pool = pool(1, FillPolicy::Tight);
    // Two spans of four objects: the second is open, the first is listed by its room.
    let handles: Vec<_> = (0..8).map(|key| store(&*pool, key, 1000)).collect();
    [0, 2].iter().for_each(|at: &usize| pool.free(handles[*at]).expect("alive"));
    let before = pool.stats();
    let long = store(&*pool, 9, 2000);
    let after = pool.stats();
    assert_eq!((before.frame_bytes, after.frame_bytes), (2 * 4096, 2 * 4096));
    // Only the one between the two holes.
    assert_eq!(after.moved_bytes - before.moved_bytes, 1000);
    [1, 3].iter().for_each(|at: &usize| check(&*pool, handles[*at], *at as u64, 1000));
    check(&*pool, long, 9, 2000);
    assert_eq!(pool.validate(), Ok(()));
}

/// Six objects of 2500 bytes leave 7 % of four frames empty, and sixteen of them 2 % of ten: so longer spans follow.
#[test]
fn spans_become_longer_for_objects_that_are_alike() {
    let pool = pool(4, FillPolicy::Auto);
    let handles: Vec<_> = (0..1500).map(|key| store(&*pool, key, 2500)).collect();
    let density = pool.stats().density();
    assert!(density > 0.96, "a density of {density:.3}");
    (0..).zip(handles).for_each(|(key, handle)| check(&*pool, handle, key, 2500));
}
