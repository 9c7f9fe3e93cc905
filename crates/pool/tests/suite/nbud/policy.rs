//! Append or fill: what becomes of holes.

use pagefold_pool::{FillPolicy, Handle, Pool};

use super::{check, frames, pool, store};

/// With its slot, a sixteenth of a span.
const LEN: usize = 1016;
/// No hole of one object holds it: the span's objects slide together first.
const LONGER: usize = 1100;

/// A pool of full spans.
fn full_spans(policy: FillPolicy) -> (Box<dyn Pool>, Vec<Handle>) {
    let pool = pool(4, policy);
    let handles = (0..1600).map(|key| store(&*pool, key, LEN)).collect();
    (pool, handles)
}

/// Frees one object in `one_in`, and returns how many.
fn punch(pool: &dyn Pool, handles: &[Handle], one_in: usize) -> u64 {
    let holes = handles.iter().step_by(one_in);
    holes.clone().for_each(|handle| pool.free(*handle).expect("alive"));
    holes.len() as u64
}

/// Stores seven longer objects for eight that were freed; returns their number, the frames that they took and the bytes
/// that moved for them.
fn refill(pool: &dyn Pool, holes: u64) -> (u64, u64, u64) {
    let before = pool.stats();
    let objects = holes * 7 / 8;
    let handles: Vec<Handle> = (0..objects).map(|key| store(pool, key, LONGER)).collect();
    (0..).zip(handles).for_each(|(key, handle)| check(pool, handle, key, LONGER));
    let after = pool.stats();
    assert_eq!(pool.validate(), Ok(()));
    let frames = (after.frame_bytes - before.frame_bytes) / 4096;
    (objects, frames, after.moved_bytes - before.moved_bytes)
}

#[test]
fn appending_leaves_holes_and_moves_nothing() {
    let (pool, handles) = full_spans(FillPolicy::Append);
    let (objects, frames, moved) = refill(&*pool, punch(&*pool, &handles, 2));
    assert!(frames >= objects * LONGER as u64 / 4096, "{frames} frames for {objects} objects");
    assert_eq!(moved, 0);
}

#[test]
fn filling_first_takes_no_span_while_there_are_holes() {
    let (pool, handles) = full_spans(FillPolicy::Tight);
    let (objects, frames, moved) = refill(&*pool, punch(&*pool, &handles, 2));
    // The span that is open is not filled.
    assert!(frames <= 4, "{frames} frames for {objects} objects");
    assert!(moved > objects * LEN as u64 / 2, "objects slid together: {moved} bytes");
}

#[test]
fn few_holes_are_left_alone() {
    let (pool, handles) = full_spans(FillPolicy::Auto);
    // Below 8 of 1000 bytes.
    let (objects, _, moved) = refill(&*pool, punch(&*pool, &handles, 400));
    assert_eq!((objects, moved), (3, 0));
}

#[test]
fn many_holes_are_filled() {
    let (pool, handles) = full_spans(FillPolicy::Auto);
    let (objects, frames, moved) = refill(&*pool, punch(&*pool, &handles, 2));
    assert!(frames * 4096 < objects * LONGER as u64 / 20, "{frames} frames for {objects} objects");
    assert!(moved > objects * LEN as u64 / 2, "objects slid together: {moved} bytes");
}

#[test]
fn at_the_limit_appending_fills_holes_too() {
    let pool = pool(4, FillPolicy::Append);
    let mut handles = Vec::new();
    while let Ok(handle) = pool.store(&[7; LEN]) {
        handles.push(handle);
    }
    let full = frames(&*pool);
    let holes = punch(&*pool, &handles, 3);
    let fitted = (0..holes).take_while(|_| pool.store(&[8; LEN]).is_ok()).count() as u64;
    // A span is listed by its room in steps, so that the last hole of some is not found.
    assert!(fitted * 4 >= holes * 3, "{fitted} of {holes} objects found a hole");
    assert!(frames(&*pool) <= full);
    assert_eq!(pool.validate(), Ok(()));
}
