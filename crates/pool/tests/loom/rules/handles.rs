//! Indices at the end of their generations: the last free retires one, also beside a trim.

use std::sync::Arc;

use pagefold_pool::{Handle, HandleError, Pool};

use crate::{beside, read, shape::Shape, store};

/// The pool, and the handles of both lives of its index.
fn last_life(shape: &Shape) -> (Arc<dyn Pool>, [Handle; 2]) {
    let pool = (shape.one_index)();
    let first = store(&*pool, 1, 100).expect("room");
    pool.free(first).expect("lives");
    let second = store(&*pool, 2, 100).expect("room");
    (pool, [first, second])
}

/// The index is retired, also if the trim took its page in between, and comes back when it is recycled.
fn is_retired(pool: &dyn Pool, handles: [Handle; 2]) {
    let stats = pool.stats();
    assert_eq!((stats.retired_indices, stats.index_capacity), (1, 1));
    pool.validate().expect("valid");
    assert!(store(pool, 3, 100).is_err(), "there is no other index");
    assert_eq!(handles.map(|handle| pool.len(handle)), [Err(HandleError::Stale); 2]);
    assert_eq!(pool.recycle_retired(), 1);
    let next = store(pool, 4, 100).expect("room");
    assert_eq!(read(pool, next, 100), Ok(4));
    pool.validate().expect("valid");
}

pub(crate) fn the_last_free_of_an_index_beside_a_trim_retires_it(shape: &Shape) {
    let (pool, handles) = last_life(shape);
    let trimmer = beside(&pool, |pool| pool.trim());
    pool.free(handles[1]).expect("lives");
    trimmer.join().expect("no panic");
    is_retired(&*pool, handles);
}

pub(crate) fn a_pending_last_free_of_an_index_beside_a_trim_retires_it(shape: &Shape) {
    let (pool, handles) = last_life(shape);
    let trimmer = beside(&pool, |pool| pool.trim());
    let freed = pool.read(handles[1], &mut |_| pool.free(handles[1]).expect("lives"));
    assert_eq!(freed, Ok(()));
    trimmer.join().expect("no panic");
    is_retired(&*pool, handles);
}
