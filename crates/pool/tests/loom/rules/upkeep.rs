//! Compaction and trimming beside a store, and beside themselves.

use crate::{
    beside,
    shape::{Object, Shape},
};

/// The store takes the hole that compaction aims at, or another.
pub(crate) fn a_store_beside_compaction_loses_nothing(shape: &Shape) {
    let sparse = (shape.sparse)();
    let pool = &sparse.pool;
    let compactor = beside(pool, |pool| pool.compact(usize::MAX));
    let next = Object::store(&**pool, 5, sparse.target().len);
    compactor.join().expect("no panic");
    next.check(&**pool);
    sparse.target().check(&**pool);
    sparse.check_others();
    pool.validate().expect("valid");
}

/// The trim takes an idle frame away, or the store has it.
pub(crate) fn a_store_beside_a_trim_keeps_its_frame(shape: &Shape) {
    let pool = (shape.pool)();
    Object::store(&*pool, 1, shape.alone).free(&*pool);
    let trimmer = beside(&pool, |pool| pool.trim());
    let next = Object::store(&*pool, 2, shape.alone);
    trimmer.join().expect("no panic");
    next.check(&*pool);
    pool.validate().expect("valid");
}

pub(crate) fn two_compactors_lose_nothing(shape: &Shape) {
    let sparse = (shape.sparse)();
    let pool = &sparse.pool;
    let other = beside(pool, |pool| pool.compact(usize::MAX));
    pool.compact(usize::MAX);
    other.join().expect("no panic");
    sparse.target().check(&**pool);
    sparse.check_others();
    pool.validate().expect("valid");
}
