//! Models of zsmalloc: places of zspages, pending frees, compaction across classes.

use std::sync::Arc;

use pagefold_frame::HeapSource;
use pagefold_pool::{Handle, HandleError, Pool, PoolBuilder, ZsmallocOptions};

use crate::{beside, model, read_pieces, store};

/// With five sizes, so that a model has few locks.
fn zsmalloc(lending: bool) -> Arc<dyn Pool> {
    let options = ZsmallocOptions::new().class_step(1016).chain_limit(2).class_lending(lending);
    let builder = PoolBuilder::new(options).limit(4 << 20);
    builder.source(Box::new(HeapSource::new())).build().expect("room").into()
}

/// The length that fills a place of 1048 bytes; a zspage has seven in two frames.
const PLACE: usize = 1042;

/// Two zspages of seven places, of which one holds one object and the other six. Compaction moves the one.
fn two_sparse_zspages(pool: &dyn Pool) -> (Handle, Handle) {
    let handles: Vec<Handle> =
        (1..=8).map(|fill| store(pool, fill, PLACE).expect("room")).collect();
    pool.free(handles[0]).expect("lives");
    (handles[1], handles[7])
}

#[test]
fn zsmalloc_a_read_beside_a_free_and_a_store_sees_the_object_or_nothing() {
    model(|| {
        let pool = zsmalloc(true);
        let stays = store(&*pool, 1, PLACE).expect("room");
        let goes = store(&*pool, 2, PLACE).expect("room");
        let reader = beside(&pool, move |pool| match read_pieces(pool, goes, PLACE) {
            Ok(fill) => assert_eq!(fill, 2),
            Err(error) => assert_eq!(error, HandleError::Stale),
        });
        pool.free(goes).expect("lives");
        // Takes the freed place, or another if a reader is still in it.
        let next = store(&*pool, 3, PLACE).expect("room");
        reader.join().expect("no panic");
        assert_eq!(read_pieces(&*pool, stays, PLACE), Ok(1));
        assert_eq!(read_pieces(&*pool, next, PLACE), Ok(3));
        assert_eq!(read_pieces(&*pool, goes, PLACE), Err(HandleError::Stale));
        pool.validate().expect("valid");
    });
}

#[test]
fn zsmalloc_a_read_beside_compaction_finds_the_object() {
    model(|| {
        let pool = zsmalloc(false);
        let (stays, moves) = two_sparse_zspages(&*pool);
        let compactor = beside(&pool, |pool| pool.compact(usize::MAX));
        assert_eq!(read_pieces(&*pool, moves, PLACE), Ok(8));
        compactor.join().expect("no panic");
        assert_eq!(read_pieces(&*pool, moves, PLACE), Ok(8));
        assert_eq!(read_pieces(&*pool, stays, PLACE), Ok(2));
        pool.validate().expect("valid");
    });
}

#[test]
fn zsmalloc_a_free_beside_compaction_frees_the_object_where_it_is() {
    model(|| {
        let pool = zsmalloc(false);
        let (stays, moves) = two_sparse_zspages(&*pool);
        let compactor = beside(&pool, |pool| pool.compact(usize::MAX));
        pool.free(moves).expect("lives");
        compactor.join().expect("no panic");
        assert_eq!(read_pieces(&*pool, moves, PLACE), Err(HandleError::Stale));
        assert_eq!(read_pieces(&*pool, stays, PLACE), Ok(2));
        pool.validate().expect("valid");
        assert_eq!((pool.stats().objects, pool.stats().frame_bytes), (6, 2 * 4096));
    });
}

#[test]
fn zsmalloc_an_overwrite_beside_compaction_is_not_lost() {
    model(|| {
        let pool = zsmalloc(false);
        let (_, moves) = two_sparse_zspages(&*pool);
        let compactor = beside(&pool, |pool| pool.compact(usize::MAX));
        pool.write(moves, &[9; PLACE]).expect("room");
        compactor.join().expect("no panic");
        assert_eq!(read_pieces(&*pool, moves, PLACE), Ok(9));
        pool.validate().expect("valid");
    });
}

/// The place of another class that compaction is about to take is taken by a store, or the store takes the next.
#[test]
fn zsmalloc_a_store_beside_compaction_across_classes_loses_nothing() {
    model(|| {
        let pool = zsmalloc(true);
        let wide = store(&*pool, 1, PLACE).expect("room");
        let short = store(&*pool, 2, 20).expect("room");
        let compactor = beside(&pool, |pool| pool.compact(usize::MAX));
        let next = store(&*pool, 3, PLACE).expect("room");
        compactor.join().expect("no panic");
        assert_eq!(read_pieces(&*pool, wide, PLACE), Ok(1));
        assert_eq!(read_pieces(&*pool, short, 20), Ok(2));
        assert_eq!(read_pieces(&*pool, next, PLACE), Ok(3));
        pool.validate().expect("valid");
    });
}

#[test]
fn zsmalloc_a_read_beside_an_overwrite_sees_old_or_new() {
    model(|| {
        let pool = zsmalloc(true);
        let handle = store(&*pool, 1, PLACE).expect("room");
        let writer = beside(&pool, move |pool| pool.write(handle, &[7; PLACE]).expect("room"));
        let seen = read_pieces(&*pool, handle, PLACE).expect("lives");
        assert!(seen == 1 || seen == 7);
        writer.join().expect("no panic");
        assert_eq!(read_pieces(&*pool, handle, PLACE), Ok(7));
        pool.validate().expect("valid");
    });
}

/// Both places are left pending, in any order with the reader's end, and both are freed, and the zspage with them.
#[test]
fn zsmalloc_a_free_beside_a_pending_free_loses_neither() {
    model(|| {
        let pool = zsmalloc(true);
        let first = store(&*pool, 1, PLACE).expect("room");
        let second = store(&*pool, 2, PLACE).expect("room");
        let freer = beside(&pool, move |pool| pool.free(second).expect("lives"));
        pool.read(first, &mut |_| pool.free(first).expect("lives")).expect("lives");
        freer.join().expect("no panic");
        pool.validate().expect("valid");
        assert_eq!((pool.stats().objects, pool.stats().frame_bytes), (0, 0));
    });
}

#[test]
fn zsmalloc_of_two_frees_one_succeeds() {
    model(|| {
        let pool = zsmalloc(true);
        let _stays = store(&*pool, 1, PLACE).expect("room");
        let goes = store(&*pool, 2, PLACE).expect("room");
        let other = beside(&pool, move |pool| pool.free(goes).is_ok());
        let mine = pool.free(goes).is_ok();
        assert!(mine != other.join().expect("no panic"));
        pool.validate().expect("valid");
    });
}
