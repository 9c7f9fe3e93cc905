//! Models of xcfmalloc: objects in several pieces.

use std::sync::Arc;

use pagefold_frame::HeapSource;
use pagefold_pool::{Handle, HandleError, Pool, PoolBuilder, XcfmallocOptions};

use crate::{beside, model, read_pieces, store};

fn xcfmalloc() -> Arc<dyn Pool> {
    let builder = PoolBuilder::new(XcfmallocOptions::new().max_blocks(2)).limit(4 << 20);
    builder.source(Box::new(HeapSource::new())).build().expect("room").into()
}

/// The length that fills a block of so many units, with a sentinel or nearly without.
const fn units(units: usize) -> usize {
    64 * units - 8
}

/// The length of the object that [`scattered`] makes.
const SCATTERED: usize = units(5) + units(9);

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
