//! zsmalloc: zspages of places of one size, and classes that lend places to each other.

use std::sync::Arc;

use pagefold_pool::{Allocator, Pool, ZsmallocOptions};

use crate::{
    beside, model,
    shape::{Object, Shape, Sparse, build, build_with_one_index},
};

pub(crate) const SHAPE: Shape = Shape {
    pool: || build(zsmalloc(true)),
    one_index: || build_with_one_index(zsmalloc(true)),
    pair: [PLACE, PLACE],
    alone: 4096,
    sparse: two_sparse_zspages,
    frames_kept: 0,
};

/// With five sizes, so that a model has few locks.
fn zsmalloc(lending: bool) -> Allocator {
    ZsmallocOptions::new().class_step(1016).chain_limit(2).class_lending(lending).into()
}

/// The length that fills a place of 1048 bytes; a zspage has seven in two frames.
const PLACE: usize = 1042;

/// Two zspages of seven places, of which one holds one object and the other six. Compaction moves the one.
fn two_sparse_zspages() -> Sparse {
    let pool = build(zsmalloc(false));
    let mut fixed: Vec<Object> = (1..=7).map(|fill| Object::store(&*pool, fill, PLACE)).collect();
    let moves = Object::store(&*pool, 8, PLACE);
    fixed.remove(0).free(&*pool);
    Sparse { pool, movable: vec![moves], fixed, frames_left: 2 }
}

/// The place of another class that compaction is about to take is taken by a store, or the store takes the next.
#[test]
fn a_store_beside_compaction_across_classes_loses_nothing() {
    model(2, || {
        let pool: Arc<dyn Pool> = build(zsmalloc(true));
        let wide = Object::store(&*pool, 1, PLACE);
        let short = Object::store(&*pool, 2, 20);
        let compactor = beside(&pool, |pool| pool.compact(usize::MAX));
        let next = Object::store(&*pool, 3, PLACE);
        compactor.join().expect("no panic");
        [wide, short, next].iter().for_each(|object| object.check(&*pool));
        pool.validate().expect("valid");
    });
}
