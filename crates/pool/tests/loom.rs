//! Models of handle look-up against free, overwriting and compaction, on the real pool.
//!
//! `cargo xtask loom` runs them. Tables are short, there is one shard, caches are small; the code is the same.
#![cfg(loom)]

use std::sync::Arc;

use loom::thread;
use pagefold_frame::HeapSource;
use pagefold_pool::{
    AllocError, Allocator, Handle, HandleError, Pool, PoolBuilder, ReclaimError, Reclaimed,
    WriteError,
};

/// Explores all interleavings with up to two preemptions, or as many as `LOOM_MAX_PREEMPTIONS` says.
fn model(f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(2));
    builder.max_branches = 100_000;
    builder.check(f);
}

fn pool() -> Arc<dyn Pool> {
    let builder = PoolBuilder::new(Allocator::Nbud).limit(4 << 20).span_frames(1);
    builder.source(Box::new(HeapSource::new())).build().expect("room").into()
}

fn store(pool: &dyn Pool, fill: u8, len: usize) -> Result<Handle, AllocError> {
    pool.store(&vec![fill; len])
}

/// The object's fill, all of whose bytes must be the same and as many as expected.
fn read(pool: &dyn Pool, handle: Handle, len: usize) -> Result<u8, HandleError> {
    let mut fill = 0;
    pool.read(handle, &mut |slices| {
        let bytes = slices.contiguous().expect("one piece");
        assert_eq!(bytes.len(), len);
        assert!(bytes.iter().all(|&byte| byte == bytes[0]));
        fill = bytes[0];
    })?;
    Ok(fill)
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

/// Two spans with a hole each, so that compaction empties one into the other.
fn two_sparse_spans(pool: &dyn Pool) -> Vec<Handle> {
    let mut handles: Vec<Handle> =
        (1..=4).map(|fill| store(pool, fill, 1900).expect("room")).collect();
    pool.free(handles.remove(1)).expect("lives");
    pool.free(handles.remove(1)).expect("lives");
    handles
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

// zbud

fn zbud() -> Arc<dyn Pool> {
    let builder = PoolBuilder::new(Allocator::Zbud).limit(4 << 20);
    builder.source(Box::new(HeapSource::new())).build().expect("room").into()
}

/// Runs `f` in a thread of its own.
fn beside<R: 'static>(
    pool: &Arc<dyn Pool>,
    f: impl FnOnce(&dyn Pool) -> R + 'static,
) -> thread::JoinHandle<R> {
    let pool = Arc::clone(pool);
    thread::spawn(move || f(&*pool))
}

/// Reclaims one frame with an evictor that frees.
fn reclaim(pool: &dyn Pool) -> Result<Reclaimed, ReclaimError> {
    // Stale: the other thread was faster, and that is as good.
    pool.reclaim(1, Some(&mut |handle| pool.free(handle).or(Ok(()))))
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

// xcfmalloc

fn xcfmalloc() -> Arc<dyn Pool> {
    let builder = PoolBuilder::new(Allocator::Xcfmalloc).limit(4 << 20).max_blocks(2);
    builder.source(Box::new(HeapSource::new())).build().expect("room").into()
}

/// The length that fills a block of so many units, with a sentinel or nearly without.
const fn units(units: usize) -> usize {
    64 * units - 8
}

/// The length of the object that [`scattered`] makes.
const SCATTERED: usize = units(5) + units(9);

/// As [`read`], of an object in any number of pieces.
fn read_pieces(pool: &dyn Pool, handle: Handle, len: usize) -> Result<u8, HandleError> {
    let mut fill = 0;
    pool.read(handle, &mut |slices| {
        assert_eq!(slices.len(), len);
        fill = slices.parts()[0][0];
        assert!(slices.parts().iter().all(|part| part.iter().all(|&byte| byte == fill)));
    })?;
    Ok(fill)
}

/// Stores objects that fill one frame, and returns them.
fn carve<const N: usize>(pool: &dyn Pool, sizes: [usize; N]) -> [Handle; N] {
    sizes.map(|size| store(pool, 1, units(size)).expect("room"))
}

/// An object in two blocks of a sparse frame, beside a frame that has a hole for each of them. Compaction moves the
/// second block first, and then the first one.
fn scattered(pool: &dyn Pool) -> Handle {
    let [first, between, second, after] = carve(pool, [5, 1, 20, 38]);
    let [five, _, nine, _] = carve(pool, [5, 1, 9, 49]);
    [first, second].into_iter().for_each(|handle| pool.free(handle).expect("lives"));
    let scattered = store(pool, 7, SCATTERED).expect("room");
    [five, nine, between, after].into_iter().for_each(|handle| pool.free(handle).expect("lives"));
    scattered
}

#[test]
fn xcfmalloc_a_read_beside_a_free_and_a_store_sees_the_object_or_nothing() {
    model(|| {
        let pool = xcfmalloc();
        let stays = store(&*pool, 1, units(50)).expect("room");
        // 14 units of the first frame, and 16 of another.
        let goes = store(&*pool, 2, units(30)).expect("room");
        let reader = beside(&pool, move |pool| match read_pieces(pool, goes, units(30)) {
            Ok(fill) => assert_eq!(fill, 2),
            Err(error) => assert_eq!(error, HandleError::Stale),
        });
        pool.free(goes).expect("lives");
        let next = store(&*pool, 3, units(30)).expect("room");
        reader.join().expect("no panic");
        assert_eq!(read_pieces(&*pool, stays, units(50)), Ok(1));
        assert_eq!(read_pieces(&*pool, next, units(30)), Ok(3));
        assert_eq!(read_pieces(&*pool, goes, units(30)), Err(HandleError::Stale));
        pool.validate().expect("valid");
    });
}

#[test]
fn xcfmalloc_of_two_frees_one_succeeds() {
    model(|| {
        let pool = xcfmalloc();
        let _stays = store(&*pool, 1, units(50)).expect("room");
        let goes = store(&*pool, 2, units(30)).expect("room");
        let other = beside(&pool, move |pool| pool.free(goes).is_ok());
        let mine = pool.free(goes).is_ok();
        assert!(mine != other.join().expect("no panic"));
        pool.validate().expect("valid");
    });
}

#[test]
fn xcfmalloc_a_read_beside_compaction_finds_the_object() {
    model(|| {
        let pool = xcfmalloc();
        let handle = scattered(&*pool);
        let compactor = beside(&pool, |pool| pool.compact(usize::MAX));
        assert_eq!(read_pieces(&*pool, handle, SCATTERED), Ok(7));
        assert_eq!(pool.len(handle), Ok(SCATTERED));
        compactor.join().expect("no panic");
        assert_eq!(read_pieces(&*pool, handle, SCATTERED), Ok(7));
        pool.validate().expect("valid");
    });
}

#[test]
fn xcfmalloc_a_free_beside_compaction_frees_every_block_once() {
    model(|| {
        let pool = xcfmalloc();
        let handle = scattered(&*pool);
        let compactor = beside(&pool, |pool| pool.compact(usize::MAX));
        pool.free(handle).expect("lives");
        compactor.join().expect("no panic");
        assert_eq!(read_pieces(&*pool, handle, SCATTERED), Err(HandleError::Stale));
        pool.validate().expect("valid");
        assert_eq!((pool.stats().objects, pool.stats().split_objects), (2, 0));
    });
}

#[test]
fn xcfmalloc_a_free_beside_a_move_of_the_whole_object_frees_it_where_it_is() {
    model(|| {
        let pool = xcfmalloc();
        let [moves, goes] = carve(&*pool, [12, 52]);
        let [_, hole, _] = carve(&*pool, [22, 20, 22]);
        [goes, hole].into_iter().for_each(|handle| pool.free(handle).expect("lives"));
        let compactor = beside(&pool, |pool| pool.compact(usize::MAX));
        pool.free(moves).expect("lives");
        compactor.join().expect("no panic");
        assert_eq!(read_pieces(&*pool, moves, units(12)), Err(HandleError::Stale));
        pool.validate().expect("valid");
        assert_eq!(pool.stats().objects, 2);
    });
}

#[test]
fn xcfmalloc_a_read_beside_an_overwrite_sees_old_or_new() {
    model(|| {
        let pool = xcfmalloc();
        let _stays = store(&*pool, 1, units(50)).expect("room");
        let handle = store(&*pool, 2, units(30)).expect("room");
        let writer = beside(&pool, move |pool| {
            pool.write(handle, &[7; units(30)]).expect("room");
        });
        let seen = read_pieces(&*pool, handle, units(30)).expect("lives");
        assert!(seen == 2 || seen == 7);
        assert_eq!(pool.len(handle), Ok(units(30)));
        writer.join().expect("no panic");
        assert_eq!(read_pieces(&*pool, handle, units(30)), Ok(7));
        pool.validate().expect("valid");
    });
}

#[test]
fn xcfmalloc_an_overwrite_beside_a_reader_goes_elsewhere_whole() {
    // In two frames, the old bytes and the new ones.
    const LONG: usize = 5000;
    model(|| {
        let pool = xcfmalloc();
        let handle = store(&*pool, 2, LONG).expect("room");
        let reader = beside(&pool, move |pool| read_pieces(pool, handle, LONG));
        // The object is held here, so the new bytes get blocks of their own, and side words change.
        let mut written = Ok(());
        pool.read(handle, &mut |_| written = pool.write(handle, &[7; LONG])).expect("lives");
        assert_eq!(written, Ok(()));
        assert!(matches!(reader.join().expect("no panic"), Ok(2 | 7)));
        assert_eq!(read_pieces(&*pool, handle, LONG), Ok(7));
        pool.validate().expect("valid");
    });
}

#[test]
fn xcfmalloc_an_overwrite_beside_compaction_is_not_lost() {
    model(|| {
        let pool = xcfmalloc();
        let handle = scattered(&*pool);
        let compactor = beside(&pool, |pool| pool.compact(usize::MAX));
        pool.write(handle, &[9; SCATTERED]).expect("room");
        compactor.join().expect("no panic");
        assert_eq!(read_pieces(&*pool, handle, SCATTERED), Ok(9));
        pool.validate().expect("valid");
    });
}

/// An object whose second block is alone in its frame, and for which there is a hole elsewhere. Its first block stays
/// when compaction moves it, so its entry says the same before and after.
fn second_block_apart(pool: &dyn Pool) -> Handle {
    let [short, beside_short] = carve(pool, [5, 59]);
    let [long, _] = carve(pool, [9, 55]);
    let [hole, _] = carve(pool, [5, 59]);
    [short, long].into_iter().for_each(|handle| pool.free(handle).expect("lives"));
    let apart = store(pool, 7, SCATTERED).expect("room");
    [beside_short, hole].into_iter().for_each(|handle| pool.free(handle).expect("lives"));
    apart
}

#[test]
fn xcfmalloc_a_read_beside_a_move_of_the_second_block_finds_it() {
    model(|| {
        let pool = xcfmalloc();
        let handle = second_block_apart(&*pool);
        let compactor = beside(&pool, |pool| {
            pool.compact(usize::MAX);
            // Unless the reader kept it from moving, this lies where it was, in a frame of the same id.
            store(pool, 3, units(5)).expect("room")
        });
        assert_eq!(read_pieces(&*pool, handle, SCATTERED), Ok(7));
        let next = compactor.join().expect("no panic");
        assert_eq!(read_pieces(&*pool, handle, SCATTERED), Ok(7));
        assert_eq!(read_pieces(&*pool, next, units(5)), Ok(3));
        pool.validate().expect("valid");
    });
}

#[test]
fn xcfmalloc_a_move_of_the_second_block_touches_no_successor() {
    model(|| {
        let pool = xcfmalloc();
        let handle = second_block_apart(&*pool);
        let compactor = beside(&pool, |pool| pool.compact(usize::MAX));
        pool.free(handle).expect("lives");
        // One of them gets the index, and with it the side words.
        let next = [3, 4, 5].map(|fill| store(&*pool, fill, units(2)).expect("room"));
        compactor.join().expect("no panic");
        assert_eq!(read_pieces(&*pool, handle, SCATTERED), Err(HandleError::Stale));
        for (fill, handle) in (3..).zip(next) {
            assert_eq!(read_pieces(&*pool, handle, units(2)), Ok(fill));
        }
        pool.validate().expect("valid");
    });
}

// zsmalloc

/// With five sizes, so that a model has few locks.
fn zsmalloc(lending: bool) -> Arc<dyn Pool> {
    let builder = PoolBuilder::new(Allocator::Zsmalloc).limit(4 << 20).class_step(1016);
    let builder = builder.chain_limit(2).class_lending(lending);
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

// Handles at their end

/// A pool with one index that lives twice, and the object of its second life.
fn last_life(allocator: Allocator) -> (Arc<dyn Pool>, [Handle; 2]) {
    let builder = PoolBuilder::new(allocator).limit(4 << 20).span_frames(1).handle_table(1, 1);
    let pool: Arc<dyn Pool> =
        builder.source(Box::new(HeapSource::new())).build().expect("room").into();
    let first = store(&*pool, 1, 100).expect("room");
    pool.free(first).expect("lives");
    let second = store(&*pool, 2, 100).expect("room");
    (pool, [first, second])
}

/// The index is retired, whatever became of its page in between, and comes back when it is recycled.
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

fn the_last_free_of_an_index_beside_a_trim_retires_it(allocator: Allocator) {
    model(move || {
        let (pool, handles) = last_life(allocator);
        let trimmer = beside(&pool, |pool| pool.trim());
        pool.free(handles[1]).expect("lives");
        trimmer.join().expect("no panic");
        is_retired(&*pool, handles);
    });
}

fn a_pending_last_free_of_an_index_beside_a_trim_retires_it(allocator: Allocator) {
    model(move || {
        let (pool, handles) = last_life(allocator);
        let trimmer = beside(&pool, |pool| pool.trim());
        let freed = pool.read(handles[1], &mut |_| pool.free(handles[1]).expect("lives"));
        assert_eq!(freed, Ok(()));
        trimmer.join().expect("no panic");
        is_retired(&*pool, handles);
    });
}

macro_rules! for_every_packing {
    ($($rule:ident),+ $(,)?) => {
        mod at_their_end_in_nbud {
            $( #[test] fn $rule() { super::$rule(super::Allocator::Nbud); } )+
        }
        mod at_their_end_in_zbud {
            $( #[test] fn $rule() { super::$rule(super::Allocator::Zbud); } )+
        }
        mod at_their_end_in_xcfmalloc {
            $( #[test] fn $rule() { super::$rule(super::Allocator::Xcfmalloc); } )+
        }
        mod at_their_end_in_zsmalloc {
            $( #[test] fn $rule() { super::$rule(super::Allocator::Zsmalloc); } )+
        }
    };
}

for_every_packing!(
    the_last_free_of_an_index_beside_a_trim_retires_it,
    a_pending_last_free_of_an_index_beside_a_trim_retires_it,
);
