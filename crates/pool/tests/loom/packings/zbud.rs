//! zbud: two objects a frame, and reclaim, which the other packings do not have.

use std::sync::Arc;

use pagefold_pool::{Allocator, HandleError, Pool, ReclaimError, Reclaimed};

use super::two_halves;
use crate::{
    beside, model, read,
    shape::{Shape, build, build_with_one_index},
    store,
};

pub(crate) const SHAPE: Shape = Shape {
    pool: || build(Allocator::zbud()),
    one_index: || build_with_one_index(Allocator::zbud()),
    pair: [1900, 1900],
    alone: 3000,
    sparse: || two_halves(Allocator::zbud()),
    frames_kept: 0,
};

fn zbud() -> Arc<dyn Pool> {
    build(Allocator::zbud())
}

/// Reclaims one frame with an evictor that frees.
fn reclaim(pool: &dyn Pool) -> Result<Reclaimed, ReclaimError> {
    // A stale handle: the other thread freed the object first.
    pool.reclaim(1, &mut |handle| pool.free(handle).or(Ok(())))
}

#[test]
fn a_free_beside_reclaim_only_empties_its_side() {
    model(2, || {
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
fn the_free_of_the_last_object_beside_reclaim_frees_the_frame_once() {
    model(2, || {
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
fn two_reclaimers_win_a_frame_each() {
    model(2, || {
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
fn a_read_beside_reclaim_keeps_the_frame() {
    model(2, || {
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
