//! A free beside another free, a store, and what moves or trims.

use crate::{
    beside,
    shape::{Object, Shape},
};

pub(crate) fn of_two_frees_one_succeeds(shape: &Shape) {
    let (pool, stays, goes) = shape.pair();
    let other = beside(&pool, move |pool| pool.free(goes.handle).is_ok());
    let mine = pool.free(goes.handle).is_ok();
    assert!(mine != other.join().expect("no panic"));
    stays.check(&*pool);
    pool.validate().expect("valid");
}

/// Both frees may be pending at once, and the reader may end before or after the other free: the unit becomes free, or
/// is the one that the packing keeps for its next object.
pub(crate) fn a_free_beside_a_pending_free_loses_neither(shape: &Shape) {
    let (pool, first, second) = shape.pair();
    let freer = beside(&pool, move |pool| second.free(pool));
    pool.read(first.handle, &mut |_| first.free(&*pool)).expect("lives");
    freer.join().expect("no panic");
    pool.validate().expect("valid");
    let stats = pool.stats();
    assert_eq!((stats.objects, stats.frame_bytes / 4096), (0, shape.frames_kept));
    pool.trim();
    assert_eq!(pool.stats().frame_bytes, 0);
}

pub(crate) fn a_store_beside_a_free_finds_the_place_or_another(shape: &Shape) {
    let (pool, stays, goes) = shape.pair();
    let freer = beside(&pool, move |pool| goes.free(pool));
    let next = Object::store(&*pool, 3, goes.len);
    freer.join().expect("no panic");
    stays.check(&*pool);
    next.check(&*pool);
    goes.check_stale(&*pool);
    pool.validate().expect("valid");
}

pub(crate) fn a_free_beside_compaction_frees_the_object_where_it_is(shape: &Shape) {
    let sparse = (shape.sparse)();
    let (pool, goes) = (&sparse.pool, sparse.target());
    let before = pool.stats().objects;
    let compactor = beside(pool, |pool| pool.compact(usize::MAX));
    goes.free(&**pool);
    compactor.join().expect("no panic");
    goes.check_stale(&**pool);
    sparse.check_others();
    pool.validate().expect("valid");
    let stats = pool.stats();
    assert_eq!((stats.objects, stats.frame_bytes / 4096), (before - 1, sparse.frames_left));
}

/// The reader ends before, beside or after compaction; the place becomes free.
pub(crate) fn a_pending_free_beside_compaction_is_not_lost(shape: &Shape) {
    let sparse = (shape.sparse)();
    let (pool, goes) = (&sparse.pool, sparse.target());
    let before = pool.stats().objects;
    let compactor = beside(pool, |pool| pool.compact(usize::MAX));
    pool.read(goes.handle, &mut |_| goes.free(&**pool)).expect("lives");
    compactor.join().expect("no panic");
    goes.check_stale(&**pool);
    sparse.check_others();
    pool.validate().expect("valid");
    let stats = pool.stats();
    assert_eq!((stats.objects, stats.frame_bytes / 4096), (before - 1, sparse.frames_left));
}

pub(crate) fn a_free_beside_migration_frees_the_object_where_it_is(shape: &Shape) {
    let (pool, stays, goes) = shape.pair();
    let migrator = beside(&pool, move |pool| pool.migrate(goes.handle));
    goes.free(&*pool);
    _ = migrator.join().expect("no panic");
    goes.check_stale(&*pool);
    stays.check(&*pool);
    pool.validate().expect("valid");
    assert_eq!(pool.stats().objects, 1);
}

pub(crate) fn a_free_of_the_last_object_beside_a_trim_leaves_no_frame(shape: &Shape) {
    let pool = (shape.pool)();
    let only = Object::store(&*pool, 1, shape.pair[0]);
    let trimmer = beside(&pool, |pool| pool.trim());
    only.free(&*pool);
    trimmer.join().expect("no panic");
    pool.trim();
    pool.validate().expect("valid");
    let stats = pool.stats();
    assert_eq!((stats.objects, stats.frame_bytes, stats.idle_frame_bytes), (0, 0, 0));
}
