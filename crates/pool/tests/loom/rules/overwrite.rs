//! An overwrite beside a read, another overwrite, a free, and what moves.

use pagefold_pool::{HandleError, WriteError};

use crate::{
    beside,
    shape::{Object, Shape},
};

/// The writer itself holds the object, so the new bytes get a place of their own.
pub(crate) fn an_overwrite_inside_a_read_goes_elsewhere_whole(shape: &Shape) {
    let (pool, stays, object) = shape.pair();
    let reader = beside(&pool, move |pool| object.read(pool));
    let mut written = Ok(());
    let answer = pool.read(object.handle, &mut |slices| {
        written = pool.write(object.handle, &vec![7; object.len]);
        assert!(slices.parts().iter().all(|part| part.iter().all(|&byte| byte == object.fill)));
    });
    assert_eq!((answer, written), (Ok(()), Ok(())));
    assert!(matches!(reader.join().expect("no panic"), Ok(2 | 7)));
    Object { fill: 7, ..object }.check(&*pool);
    stays.check(&*pool);
    pool.validate().expect("valid");
}

pub(crate) fn of_two_overwrites_one_is_last_and_whole(shape: &Shape) {
    let (pool, stays, object) = shape.pair();
    let other = beside(&pool, move |pool| pool.write(object.handle, &vec![8; object.len]));
    assert_eq!(pool.write(object.handle, &vec![9; object.len]), Ok(()));
    assert_eq!(other.join().expect("no panic"), Ok(()));
    assert!(matches!(object.read(&*pool), Ok(8 | 9)));
    stays.check(&*pool);
    pool.validate().expect("valid");
}

pub(crate) fn an_overwrite_beside_a_free_and_an_alloc_touches_no_other(shape: &Shape) {
    let (pool, stays, goes) = shape.pair();
    let writer = beside(&pool, move |pool| match pool.write(goes.handle, &vec![7; goes.len]) {
        Ok(()) | Err(WriteError::Handle(HandleError::Stale)) => {}
        Err(error) => panic!("{error}"),
    });
    goes.free(&*pool);
    // Not a store: there is one scratch buffer, and the writer has it.
    let next = Object { handle: pool.alloc(goes.len).expect("room"), fill: 0, len: goes.len };
    writer.join().expect("no panic");
    stays.check(&*pool);
    next.check(&*pool);
    pool.validate().expect("valid");
}

pub(crate) fn an_overwrite_beside_compaction_is_not_lost(shape: &Shape) {
    let sparse = (shape.sparse)();
    let (pool, object) = (&sparse.pool, sparse.target());
    let compactor = beside(pool, |pool| pool.compact(usize::MAX));
    pool.write(object.handle, &vec![9; object.len]).expect("room");
    compactor.join().expect("no panic");
    Object { fill: 9, ..object }.check(&**pool);
    sparse.check_others();
    pool.validate().expect("valid");
}

pub(crate) fn an_overwrite_beside_migration_is_not_lost(shape: &Shape) {
    let (pool, stays, object) = shape.pair();
    let migrator = beside(&pool, move |pool| pool.migrate(object.handle));
    pool.write(object.handle, &vec![9; object.len]).expect("room");
    _ = migrator.join().expect("no panic");
    Object { fill: 9, ..object }.check(&*pool);
    stays.check(&*pool);
    pool.validate().expect("valid");
}
