//! Models of zbud: look-up, overwriting and compaction, and reclaim.

use std::sync::Arc;

use pagefold_frame::HeapSource;
use pagefold_pool::{
    Allocator, HandleError, Pool, PoolBuilder, ReclaimError, Reclaimed, WriteError,
};

use crate::{beside, model, read, store, two_sparse_spans};

fn zbud() -> Arc<dyn Pool> {
    let builder = PoolBuilder::new(Allocator::zbud()).limit(4 << 20);
    builder.source(Box::new(HeapSource::new())).build().expect("room").into()
}

/// Reclaims one frame with an evictor that frees.
fn reclaim(pool: &dyn Pool) -> Result<Reclaimed, ReclaimError> {
    // Stale: the other thread was faster, and that is as good.
    pool.reclaim(1, &mut |handle| pool.free(handle).or(Ok(())))
}

#[test]
fn zbud_a_free_beside_reclaim_only_empties_its_side() {
    model(|| {
        let pool = zbud();
        let first = store(&*pool, 1, 1900).expect("room");
        let _last = store(&*pool, 2, 1900).expect("room");
        let reclaimer = beside(&pool, reclaim);
        let freed = pool.free(first);
        let won = reclaimer.join().expect("no panic");
        assert_eq!(won, Ok(Reclaimed { frames: 1, kept: 0, deferred: false }));
        assert!(matches!(freed, Ok(()) | Err(HandleError::Stale)));
        pool.validate().expect("valid");
        assert_eq!((pool.stats().objects, pool.stats().frame_bytes), (0, 0));
    });
}

#[test]
fn zbud_the_free_of_the_last_object_beside_reclaim_frees_the_frame_once() {
    model(|| {
        let pool = zbud();
        let only = store(&*pool, 1, 1900).expect("room");
        let reclaimer = beside(&pool, reclaim);
        let freed = pool.free(only).is_ok();
        // A frame that is freed twice, or whose id is given out meanwhile, shows here.
        let next = store(&*pool, 3, 1900);
        let won = reclaimer.join().expect("no panic");
        match won {
            Ok(won) => assert_eq!((won.frames, won.kept), (1, 0)),
            Err(error) => {
                assert!(freed && error == ReclaimError::NothingToReclaim);
            }
        }
        if let Ok(next) = next {
            // The reclaimer may have come late and evicted this one.
            assert!(matches!(read(&*pool, next, 1900), Ok(3) | Err(HandleError::Stale)));
        }
        pool.validate().expect("valid");
    });
}

#[test]
fn zbud_two_reclaimers_win_a_frame_each() {
    model(|| {
        let pool = zbud();
        let handles = [1, 2].map(|fill| store(&*pool, fill, 3000).expect("room"));
        let other = beside(&pool, reclaim);
        assert!(reclaim(&*pool).is_ok());
        assert!(other.join().expect("no panic").is_ok());
        for handle in handles {
            assert_eq!(read(&*pool, handle, 3000), Err(HandleError::Stale));
        }
        pool.validate().expect("valid");
    });
}

#[test]
fn zbud_a_store_beside_a_free_finds_the_side_or_another() {
    model(|| {
        let pool = zbud();
        let stays = store(&*pool, 1, 1900).expect("room");
        let goes = store(&*pool, 2, 1900).expect("room");
        let freer = beside(&pool, move |pool| pool.free(goes).expect("lives"));
        let next = store(&*pool, 3, 1900).expect("room");
        freer.join().expect("no panic");
        assert_eq!(read(&*pool, stays, 1900), Ok(1));
        assert_eq!(read(&*pool, next, 1900), Ok(3));
        assert_eq!(read(&*pool, goes, 1900), Err(HandleError::Stale));
        pool.validate().expect("valid");
    });
}

#[test]
fn zbud_a_read_beside_a_free_and_a_store_sees_the_object_or_nothing() {
    model(|| {
        let pool = zbud();
        let _stays = store(&*pool, 1, 1900).expect("room");
        let goes = store(&*pool, 2, 1900).expect("room");
        let reader = beside(&pool, move |pool| match read(pool, goes, 1900) {
            Ok(fill) => assert_eq!(fill, 2),
            Err(error) => assert_eq!(error, HandleError::Stale),
        });
        pool.free(goes).expect("lives");
        // Fills the side, unless the reader is still in it.
        let next = store(&*pool, 3, 1900).expect("room");
        reader.join().expect("no panic");
        assert_eq!(read(&*pool, next, 1900), Ok(3));
        pool.validate().expect("valid");
    });
}

#[test]
fn zbud_a_read_beside_reclaim_keeps_the_frame() {
    model(|| {
        let pool = zbud();
        let only = store(&*pool, 1, 1900).expect("room");
        let reclaimer = beside(&pool, |pool| {
            let won = reclaim(pool);
            store(pool, 3, 1900).expect("room");
            won
        });
        match read(&*pool, only, 1900) {
            Ok(fill) => assert_eq!(fill, 1),
            Err(error) => assert_eq!(error, HandleError::Stale),
        }
        assert_eq!(reclaimer.join().expect("no panic").map(|won| won.frames), Ok(1));
        pool.validate().expect("valid");
        assert_eq!(pool.stats().frame_bytes, 4096);
    });
}

#[test]
fn zbud_a_read_beside_compaction_finds_the_object() {
    model(|| {
        let pool = zbud();
        let handles = two_sparse_spans(&*pool);
        let compactor = beside(&pool, |pool| pool.compact(usize::MAX));
        assert_eq!(read(&*pool, handles[0], 1900), Ok(1));
        assert_eq!(read(&*pool, handles[1], 1900), Ok(4));
        compactor.join().expect("no panic");
        assert_eq!(read(&*pool, handles[0], 1900), Ok(1));
        assert_eq!(read(&*pool, handles[1], 1900), Ok(4));
        pool.validate().expect("valid");
    });
}

#[test]
fn zbud_a_free_beside_compaction_frees_the_object_where_it_is() {
    model(|| {
        let pool = zbud();
        let handles = two_sparse_spans(&*pool);
        let (first, second) = (handles[0], handles[1]);
        let compactor = beside(&pool, |pool| pool.compact(usize::MAX));
        pool.free(second).expect("lives");
        compactor.join().expect("no panic");
        assert_eq!(read(&*pool, second, 1900), Err(HandleError::Stale));
        assert_eq!(read(&*pool, first, 1900), Ok(1));
        pool.validate().expect("valid");
        assert_eq!((pool.stats().objects, pool.stats().frame_bytes), (1, 4096));
    });
}

#[test]
fn zbud_a_read_beside_an_overwrite_sees_old_or_new() {
    model(|| {
        let pool = zbud();
        let handle = store(&*pool, 1, 100).expect("room");
        let writer = beside(&pool, move |pool| pool.write(handle, &[7; 100]).expect("room"));
        let seen = read(&*pool, handle, 100).expect("lives");
        assert!(seen == 1 || seen == 7);
        writer.join().expect("no panic");
        assert_eq!(read(&*pool, handle, 100), Ok(7));
        pool.validate().expect("valid");
    });
}

#[test]
fn zbud_a_write_beside_a_free_and_an_alloc_touches_no_other_object() {
    model(|| {
        let pool = zbud();
        let stays = store(&*pool, 1, 1900).expect("room");
        let goes = store(&*pool, 2, 1900).expect("room");
        let writer = beside(&pool, move |pool| match pool.write(goes, &[7; 1900]) {
            Ok(()) | Err(WriteError::Handle(HandleError::Stale)) => {}
            Err(error) => panic!("{error}"),
        });
        pool.free(goes).expect("lives");
        // Not a store: there is one scratch buffer, and the writer has it.
        let next = pool.alloc(1900).expect("room");
        writer.join().expect("no panic");
        assert_eq!(read(&*pool, stays, 1900), Ok(1));
        assert_eq!(read(&*pool, next, 1900), Ok(0));
        pool.validate().expect("valid");
    });
}

#[test]
fn zbud_an_overwrite_beside_compaction_is_not_lost() {
    model(|| {
        let pool = zbud();
        let handles = two_sparse_spans(&*pool);
        let compactor = beside(&pool, |pool| pool.compact(usize::MAX));
        let last = handles[1];
        pool.write(last, &[7; 1900]).expect("room");
        compactor.join().expect("no panic");
        assert_eq!(read(&*pool, handles[0], 1900), Ok(1));
        assert_eq!(read(&*pool, last, 1900), Ok(7));
        pool.validate().expect("valid");
    });
}
