//! A read beside what removes, replaces or moves the object.

use pagefold_pool::TryReadError;

use crate::{
    beside,
    shape::{Object, Shape},
};

pub(crate) fn a_read_beside_a_free_and_a_store_sees_the_object_or_nothing(shape: &Shape) {
    let (pool, stays, goes) = shape.pair();
    let reader = beside(&pool, move |pool| goes.check_or_stale(pool));
    goes.free(&*pool);
    // Takes the place of the freed object, or another while the reader is in it.
    let next = Object::store(&*pool, 3, goes.len);
    reader.join().expect("no panic");
    stays.check(&*pool);
    next.check(&*pool);
    goes.check_stale(&*pool);
    pool.validate().expect("valid");
}

pub(crate) fn a_read_beside_the_free_of_a_whole_frame_sees_the_object_or_nothing(shape: &Shape) {
    let pool = (shape.pool)();
    let goes = Object::store(&*pool, 2, shape.alone);
    let reader = beside(&pool, move |pool| goes.check_or_stale(pool));
    goes.free(&*pool);
    let next = Object::store(&*pool, 3, shape.alone);
    reader.join().expect("no panic");
    next.check(&*pool);
    pool.validate().expect("valid");
}

pub(crate) fn a_read_beside_an_overwrite_sees_old_or_new(shape: &Shape) {
    let (pool, stays, object) = shape.pair();
    let writer = beside(&pool, move |pool| {
        pool.write(object.handle, &vec![7; object.len]).expect("room");
    });
    let seen = object.read(&*pool).expect("lives");
    assert!(seen == object.fill || seen == 7);
    assert_eq!(pool.len(object.handle), Ok(object.len));
    writer.join().expect("no panic");
    Object { fill: 7, ..object }.check(&*pool);
    stays.check(&*pool);
    pool.validate().expect("valid");
}

pub(crate) fn a_read_beside_compaction_finds_the_object(shape: &Shape) {
    let sparse = (shape.sparse)();
    let pool = &sparse.pool;
    let compactor = beside(pool, |pool| pool.compact(usize::MAX));
    sparse.movable.iter().for_each(|object| object.check(&**pool));
    assert_eq!(pool.len(sparse.target().handle), Ok(sparse.target().len));
    compactor.join().expect("no panic");
    sparse.target().check(&**pool);
    sparse.check_others();
    pool.validate().expect("valid");
}

pub(crate) fn a_read_beside_migration_finds_the_object(shape: &Shape) {
    let (pool, stays, moves) = shape.pair();
    let migrator = beside(&pool, move |pool| pool.migrate(moves.handle));
    moves.check(&*pool);
    _ = migrator.join().expect("no panic");
    moves.check(&*pool);
    stays.check(&*pool);
    pool.validate().expect("valid");
}

/// `try_read` beside compaction may say that it would block, and never that the object is gone.
pub(crate) fn a_try_read_beside_compaction_finds_the_object_or_would_block(shape: &Shape) {
    let sparse = (shape.sparse)();
    let (pool, object) = (&sparse.pool, sparse.target());
    let compactor = beside(pool, |pool| pool.compact(usize::MAX));
    let mut seen = None;
    match pool.try_read(object.handle, &mut |slices| seen = Some(slices.parts()[0][0])) {
        Ok(()) => assert_eq!(seen, Some(object.fill)),
        Err(error) => assert_eq!((error, seen), (TryReadError::WouldBlock, None)),
    }
    compactor.join().expect("no panic");
    object.check(&**pool);
    pool.validate().expect("valid");
}
