//! xcfmalloc: objects in one or two blocks, in frames of 64 units.

use std::sync::Arc;

use pagefold_pool::{Allocator, Handle, HandleError, Pool, XcfmallocOptions};

use crate::{
    beside, model, read,
    shape::{Object, Shape, Sparse, build, build_with_one_index},
    store,
};

/// The object that goes has 14 units of the first frame and 16 of another; the object alone needs two frames.
pub(crate) const SHAPE: Shape = Shape {
    pool: || build(xcfmalloc()),
    one_index: || build_with_one_index(xcfmalloc()),
    pair: [units(50), units(30)],
    alone: 5000,
    sparse: || {
        let pool = build(xcfmalloc());
        let (handle, [short, long]) = scattered(&*pool);
        let fixed = |(handle, size)| Object { handle, fill: 1, len: units(size) };
        Sparse {
            pool,
            movable: vec![Object { handle, fill: 7, len: SCATTERED }],
            fixed: [(short, 1), (long, 49)].map(fixed).to_vec(),
            frames_left: 1,
        }
    },
    frames_kept: 0,
};

fn xcfmalloc() -> Allocator {
    XcfmallocOptions::new().max_blocks(2).into()
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
fn scattered(pool: &dyn Pool) -> (Handle, [Handle; 2]) {
    let [first, between, second, after] = carve(pool, [5, 1, 20, 38]);
    let [five, short, nine, long] = carve(pool, [5, 1, 9, 49]);
    [first, second].into_iter().for_each(|handle| pool.free(handle).expect("lives"));
    let scattered = store(pool, 7, SCATTERED).expect("room");
    [five, nine, between, after].into_iter().for_each(|handle| pool.free(handle).expect("lives"));
    (scattered, [short, long])
}

#[test]
fn a_free_beside_a_move_of_the_whole_object_frees_it_where_it_is() {
    model(2, || {
        let pool: Arc<dyn Pool> = build(xcfmalloc());
        let [moves, goes] = carve(&*pool, [12, 52]);
        let [_, hole, _] = carve(&*pool, [22, 20, 22]);
        [goes, hole].into_iter().for_each(|handle| pool.free(handle).expect("lives"));
        let compactor = beside(&pool, |pool| pool.compact(usize::MAX));
        pool.free(moves).expect("lives");
        compactor.join().expect("no panic");
        assert_eq!(read(&*pool, moves, units(12)), Err(HandleError::Stale));
        pool.validate().expect("valid");
        assert_eq!(pool.stats().objects, 2);
    });
}

#[test]
fn an_overwrite_beside_a_reader_goes_elsewhere_whole() {
    // In two frames, the old bytes and the new ones.
    const LONG: usize = 5000;
    model(2, || {
        let pool: Arc<dyn Pool> = build(xcfmalloc());
        let handle = store(&*pool, 2, LONG).expect("room");
        let reader = beside(&pool, move |pool| read(pool, handle, LONG));
        // The object is held here, so the new bytes get blocks of their own, and side words change.
        let mut written = Ok(());
        pool.read(handle, &mut |_| written = pool.write(handle, &[7; LONG])).expect("lives");
        assert_eq!(written, Ok(()));
        assert!(matches!(reader.join().expect("no panic"), Ok(2 | 7)));
        assert_eq!(read(&*pool, handle, LONG), Ok(7));
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
fn a_read_beside_a_move_of_the_second_block_finds_it() {
    model(2, || {
        let pool: Arc<dyn Pool> = build(xcfmalloc());
        let handle = second_block_apart(&*pool);
        let compactor = beside(&pool, |pool| {
            pool.compact(usize::MAX);
            // Unless the reader kept it from moving, this lies where it was, in a frame of the same id.
            store(pool, 3, units(5)).expect("room")
        });
        assert_eq!(read(&*pool, handle, SCATTERED), Ok(7));
        let next = compactor.join().expect("no panic");
        assert_eq!(read(&*pool, handle, SCATTERED), Ok(7));
        assert_eq!(read(&*pool, next, units(5)), Ok(3));
        pool.validate().expect("valid");
    });
}

#[test]
fn a_move_of_the_second_block_touches_no_successor() {
    model(2, || {
        let pool: Arc<dyn Pool> = build(xcfmalloc());
        let handle = second_block_apart(&*pool);
        let compactor = beside(&pool, |pool| pool.compact(usize::MAX));
        pool.free(handle).expect("lives");
        // One of them gets the index, and with it the side words.
        let next = [3, 4, 5].map(|fill| store(&*pool, fill, units(2)).expect("room"));
        compactor.join().expect("no panic");
        assert_eq!(read(&*pool, handle, SCATTERED), Err(HandleError::Stale));
        for (fill, handle) in (3..).zip(next) {
            assert_eq!(read(&*pool, handle, units(2)), Ok(fill));
        }
        pool.validate().expect("valid");
    });
}
