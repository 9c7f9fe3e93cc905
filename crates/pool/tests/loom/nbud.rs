//! Models of nbud: spans beside frees, overwriting and compaction.

use std::sync::Arc;

use loom::thread;
use pagefold_frame::HeapSource;
use pagefold_pool::{HandleError, NbudOptions, Pool, PoolBuilder};

use crate::{model, read, store, two_sparse_spans};

fn pool() -> Arc<dyn Pool> {
    let builder = PoolBuilder::new(NbudOptions::new().span_frames(1)).limit(4 << 20);
    builder.source(Box::new(HeapSource::new())).build().expect("room").into()
}

#[test]
fn a_read_beside_a_free_sees_the_object_or_nothing() {
    model(|| {
        let pool = pool();
        let stays = store(&*pool, 1, 100).expect("room");
        let goes = store(&*pool, 2, 100).expect("room");
        let reader = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || match read(&*pool, goes, 100) {
                Ok(fill) => assert_eq!(fill, 2),
                Err(error) => assert_eq!(error, HandleError::Stale),
            })
        };
        pool.free(goes).expect("lives");
        // Takes the freed place, or another if a reader is still in it.
        let next = store(&*pool, 3, 100).expect("room");
        reader.join().expect("no panic");
        assert_eq!(read(&*pool, stays, 100), Ok(1));
        assert_eq!(read(&*pool, next, 100), Ok(3));
        assert_eq!(read(&*pool, goes, 100), Err(HandleError::Stale));
        pool.validate().expect("valid");
    });
}

#[test]
fn of_two_frees_one_succeeds() {
    model(|| {
        let pool = pool();
        let _stays = store(&*pool, 1, 100).expect("room");
        let goes = store(&*pool, 2, 100).expect("room");
        let other = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || pool.free(goes).is_ok())
        };
        let mine = pool.free(goes).is_ok();
        assert!(mine != other.join().expect("no panic"));
        pool.validate().expect("valid");
    });
}

#[test]
fn a_read_beside_compaction_finds_the_object() {
    model(|| {
        let pool = pool();
        let handles = two_sparse_spans(&*pool);
        let compactor = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || pool.compact(usize::MAX))
        };
        assert_eq!(read(&*pool, handles[0], 1900), Ok(1));
        assert_eq!(read(&*pool, handles[1], 1900), Ok(4));
        compactor.join().expect("no panic");
        assert_eq!(read(&*pool, handles[0], 1900), Ok(1));
        assert_eq!(read(&*pool, handles[1], 1900), Ok(4));
        pool.validate().expect("valid");
    });
}

#[test]
fn a_free_beside_compaction_frees_the_object_where_it_is() {
    model(|| {
        let pool = pool();
        let handles = two_sparse_spans(&*pool);
        let (first, second) = (handles[0], handles[1]);
        let compactor = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || pool.compact(usize::MAX))
        };
        pool.free(second).expect("lives");
        compactor.join().expect("no panic");
        assert_eq!(read(&*pool, second, 1900), Err(HandleError::Stale));
        assert_eq!(read(&*pool, first, 1900), Ok(1));
        pool.validate().expect("valid");
        assert_eq!(pool.stats().objects, 1);
    });
}

#[test]
fn a_read_beside_an_overwrite_sees_old_or_new() {
    model(|| {
        let pool = pool();
        let handle = store(&*pool, 1, 100).expect("room");
        let writer = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || pool.write(handle, &[7; 100]).expect("room"))
        };
        let seen = read(&*pool, handle, 100).expect("lives");
        assert!(seen == 1 || seen == 7);
        writer.join().expect("no panic");
        assert_eq!(read(&*pool, handle, 100), Ok(7));
        pool.validate().expect("valid");
    });
}

#[test]
fn a_read_beside_the_free_of_a_run_sees_the_object_or_nothing() {
    model(|| {
        let pool = pool();
        let goes = store(&*pool, 2, 4096).expect("room");
        let reader = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || match read(&*pool, goes, 4096) {
                Ok(fill) => assert_eq!(fill, 2),
                Err(error) => assert_eq!(error, HandleError::Stale),
            })
        };
        pool.free(goes).expect("lives");
        let next = store(&*pool, 3, 4096).expect("room");
        reader.join().expect("no panic");
        assert_eq!(read(&*pool, next, 4096), Ok(3));
        pool.validate().expect("valid");
    });
}
