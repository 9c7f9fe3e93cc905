//! Models of spilled pages: the exchange of their words, the move of their extent, and their way back, each beside puts, removals and gets.
//!
//! A thread of the model writes and cleans extents. The backing is in memory and answers at once.

use std::sync::Arc;

use loom::thread;
use pagefold_frame::HeapSource;
use pagefold_pool::NbudOptions;
use pagefold_store::{
    GetError, Space, SpaceConfig, Store,
    spill::{EXTENT_BYTES_MIN, HeapBacking, Spill},
};

use super::{
    clusters::{Short, get_at},
    model_with, put_at, put_fill, take,
};

/// In words. Gather, codec and exchange in one call are more than loom gives a thread.
const STACK: usize = 1 << 14;

/// One preemption.
fn model(f: impl Fn() + Sync + Send + 'static) {
    model_in_a_thread(1, f);
}

/// Two preemptions: such a model takes seconds.
fn model_of_two(f: impl Fn() + Sync + Send + 'static) {
    model_in_a_thread(2, f);
}

/// Loom's first thread has a short stack.
fn model_in_a_thread(preemptions: usize, f: impl Fn() + Sync + Send + 'static) {
    let f = Arc::new(f);
    model_with(preemptions, move || {
        let f = Arc::clone(&f);
        let thread = thread::Builder::new().stack_size(STACK).spawn(move || f());
        thread.expect("a model has few threads").join().expect("no panic");
    });
}

/// In another thread of the model.
fn beside<R: Send + 'static>(
    store: &Store,
    space: &Space,
    f: impl FnOnce(&Store, &Space) -> R + Send + 'static,
) -> thread::JoinHandle<R> {
    let (store, space) = (store.clone(), space.clone());
    let thread = thread::Builder::new().stack_size(STACK).spawn(move || f(&store, &space));
    thread.expect("a model has few threads")
}

/// The pages of key 0 and 1, in memory. `clusters`: the next pass joins them.
fn pages(clusters: bool) -> (Store, Space) {
    let spill = Spill::builder(HeapBacking::default()).extent_bytes(EXTENT_BYTES_MIN);
    let spill = spill.encrypts(false).limit(4 * EXTENT_BYTES_MIN as u64).build();
    let options = NbudOptions::new().span_frames(1);
    let builder = Store::builder().allocator(options).source(Box::new(HeapSource::new()));
    let builder = builder.codec_with(Box::new(Short)).limit(4 << 20).shrinker(false);
    let builder = builder.spill(spill.expect("sensible"));
    let builder =
        if clusters { builder.idle_codec_with(Box::new(Short)).idle_share(5) } else { builder };
    let store = builder.build().expect("room");
    let space = store.space(SpaceConfig::persistent(4)).expect("room");
    put_at(&space, 0, 1);
    put_at(&space, 1, 2);
    if clusters {
        store.idle_pass();
    }
    (store, space)
}

/// As [`pages`], each in an extent: cleaning moves both to a third one.
fn spilled_pages() -> (Store, Space) {
    let (store, space) = pages(false);
    space.remove(1).expect("a key");
    assert!(store.spill_extent());
    put_at(&space, 1, 2);
    assert!(store.spill_extent());
    assert_eq!((space.stats().spilled, extents(&store)), (2, 2));
    (store, space)
}

/// As [`spilled_pages`], in a cluster.
fn spilled_cluster() -> (Store, Space) {
    let (store, space) = pages(true);
    assert_eq!(store.idle_pass().joined, 2);
    assert!(store.spill_extent());
    assert_eq!((space.stats().spilled, live(&store)), (2, 1));
    // Another sparse extent, so that cleaning moves both.
    put_at(&space, 2, 3);
    assert!(store.spill_extent());
    (store, space)
}

/// Live objects of the backing.
fn live(store: &Store) -> u64 {
    store.stats().spill.expect("a backing").backing.live_objects
}

fn extents(store: &Store) -> u64 {
    store.stats().spill.expect("a backing").backing.extents
}

fn spill(store: &Store, _: &Space) {
    store.spill_extent();
}

fn clean(store: &Store, _: &Space) {
    store.clean_extent();
}

/// What is under the keys 0 to 2, and after their removal nothing at all: each object was released once.
fn ends_with(store: &Store, space: &Space, expected: [Option<u8>; 3]) {
    // It compares the live objects with the words, and what is counted with what is there.
    store.validate().expect("valid");
    assert_eq!([0, 1, 2].map(|key| get_at(space, key)), expected);
    space.remove_range(0..4).expect("alive");
    ends_empty(store);
}

fn ends_empty(store: &Store) {
    let stats = store.stats();
    assert_eq!(stats.payload_bytes, 0, "an object without a key");
    assert_eq!((live(store), extents(store)), (0, 0), "an object without a word");
    assert_eq!(stats.spill.expect("a backing").backing.corrupt, 0);
    store.validate().expect("valid");
}

#[test]
fn an_overwrite_beside_the_spill_of_its_page_stays() {
    model_of_two(|| {
        let (store, space) = pages(false);
        let other = beside(&store, &space, |_, space| put_fill(space, 1, 9));
        store.spill_extent();
        other.join().expect("no panic");
        ends_with(&store, &space, [Some(1), Some(9), None]);
    });
}

#[test]
fn an_overwrite_by_an_object_beside_the_spill_of_its_page_stays() {
    model(|| {
        let (store, space) = pages(false);
        let other = beside(&store, &space, |_, space| put_at(space, 1, 9));
        store.spill_extent();
        other.join().expect("no panic");
        ends_with(&store, &space, [Some(1), Some(9), None]);
    });
}

#[test]
fn a_removal_beside_the_spill_of_its_page_leaves_nothing() {
    model_of_two(|| {
        let (store, space) = pages(false);
        let other = beside(&store, &space, |_, space| {
            assert_eq!(space.remove(1), Ok(true));
            assert_eq!(get_at(space, 1), None);
        });
        store.spill_extent();
        other.join().expect("no panic");
        ends_with(&store, &space, [Some(1), None, None]);
    });
}

#[test]
fn a_page_that_is_taken_beside_its_spill_is_taken_once() {
    model(|| {
        let (store, space) = pages(false);
        let other = beside(&store, &space, |_, space| assert!(take(space)));
        store.spill_extent();
        other.join().expect("no panic");
        assert!(!take(&space));
        ends_with(&store, &space, [None, Some(2), None]);
    });
}

#[test]
fn of_two_threads_that_take_a_spilled_page_one_has_it() {
    model_of_two(|| {
        let (store, space) = spilled_pages();
        let other = beside(&store, &space, |_, space| take(space));
        let own = take(&space);
        assert!(own != other.join().expect("no panic"));
        ends_with(&store, &space, [None, Some(2), None]);
    });
}

#[test]
fn the_drop_of_a_space_beside_a_spill_leaves_nothing() {
    model(|| {
        let (store, space) = pages(false);
        let other = beside(&store, &space, Store::drop_space);
        store.spill_extent();
        other.join().expect("no panic");
        assert_eq!(live(&store), 0);
        ends_empty(&store);
    });
}

#[test]
fn gets_beside_the_spill_of_their_page_find_it() {
    model_of_two(|| {
        let (store, space) = pages(false);
        let other = beside(&store, &space, spill);
        assert_eq!(get_at(&space, 0), Some(1));
        assert_eq!(get_at(&space, 0), Some(1));
        other.join().expect("no panic");
        ends_with(&store, &space, [Some(1), Some(2), None]);
    });
}

#[test]
fn a_get_beside_the_move_of_its_object_and_the_reuse_of_its_slot_finds_its_page() {
    model(|| {
        let (store, space) = spilled_pages();
        let other = beside(&store, &space, |store, space| {
            // Both objects go to a third slot, and the page of key 2 to the first one, where that of key 0 was.
            assert!(store.clean_extent());
            put_at(space, 2, 3);
            assert!(store.spill_extent());
        });
        // One look: a page that is read twice would leave the extent.
        assert_eq!(get_at(&space, 0), Some(1));
        other.join().expect("no panic");
        ends_with(&store, &space, [Some(1), Some(2), Some(3)]);
    });
}

#[test]
fn a_get_beside_the_end_of_its_object_and_the_reuse_of_its_slot_finds_its_page_or_none() {
    model_of_two(|| {
        let (store, space) = spilled_pages();
        let other = beside(&store, &space, |store, space| {
            assert_eq!(space.remove(0), Ok(true));
            assert_eq!(space.remove(1), Ok(true));
            put_at(space, 2, 3);
            assert!(store.spill_extent());
        });
        assert!(matches!(get_at(&space, 0), Some(1) | None));
        other.join().expect("no panic");
        ends_with(&store, &space, [None, None, Some(3)]);
    });
}

#[test]
fn an_overwrite_beside_the_move_of_its_object_stays() {
    model_of_two(|| {
        let (store, space) = spilled_pages();
        let other = beside(&store, &space, |_, space| put_fill(space, 1, 9));
        store.clean_extent();
        other.join().expect("no panic");
        ends_with(&store, &space, [Some(1), Some(9), None]);
    });
}

#[test]
fn a_removal_beside_the_move_of_its_object_leaves_nothing() {
    model_of_two(|| {
        let (store, space) = spilled_pages();
        let other = beside(&store, &space, |_, space| {
            assert_eq!(space.remove(0), Ok(true));
            assert_eq!(get_at(space, 0), None);
        });
        store.clean_extent();
        other.join().expect("no panic");
        ends_with(&store, &space, [None, Some(2), None]);
    });
}

/// Spilled pages of which that of key 0 comes back with the next get.
fn page_that_comes_back() -> (Store, Space) {
    let (store, space) = spilled_pages();
    assert_eq!(get_at(&space, 0), Some(1));
    assert_eq!(space.stats().spilled, 2);
    (store, space)
}

#[test]
fn an_overwrite_beside_a_page_that_comes_back_stays() {
    model_of_two(|| {
        let (store, space) = page_that_comes_back();
        let other = beside(&store, &space, |_, space| put_fill(space, 0, 9));
        assert!(matches!(get_at(&space, 0), Some(1 | 9)));
        other.join().expect("no panic");
        ends_with(&store, &space, [Some(9), Some(2), None]);
    });
}

#[test]
fn a_removal_beside_a_page_that_comes_back_leaves_nothing() {
    model_of_two(|| {
        let (store, space) = page_that_comes_back();
        let other = beside(&store, &space, |_, space| assert_eq!(space.remove(0), Ok(true)));
        assert!(matches!(get_at(&space, 0), Some(1) | None));
        other.join().expect("no panic");
        ends_with(&store, &space, [None, Some(2), None]);
    });
}

#[test]
fn a_page_that_comes_back_for_two_gets_comes_once() {
    model(|| {
        let (store, space) = page_that_comes_back();
        let other = beside(&store, &space, |_, space| assert_eq!(get_at(space, 0), Some(1)));
        assert_eq!(get_at(&space, 0), Some(1));
        other.join().expect("no panic");
        assert_eq!(store.stats().spill.expect("a backing").returned, 1);
        assert_eq!((live(&store), space.stats().spilled), (1, 1));
        ends_with(&store, &space, [Some(1), Some(2), None]);
    });
}

#[test]
fn a_page_that_comes_back_beside_the_move_of_its_object_is_there_once() {
    model_of_two(|| {
        let (store, space) = page_that_comes_back();
        let other = beside(&store, &space, clean);
        assert_eq!(get_at(&space, 0), Some(1));
        other.join().expect("no panic");
        ends_with(&store, &space, [Some(1), Some(2), None]);
    });
}

#[test]
fn two_pages_of_a_spilled_cluster_removed_at_once_release_it_once() {
    model_of_two(|| {
        let (store, space) = spilled_cluster();
        let other = beside(&store, &space, |_, space| assert_eq!(space.remove(1), Ok(true)));
        assert_eq!(space.remove(0), Ok(true));
        other.join().expect("no panic");
        assert_eq!(live(&store), 1);
        ends_with(&store, &space, [None, None, Some(3)]);
    });
}

#[test]
fn a_removal_beside_the_move_of_its_cluster_leaves_the_other_page() {
    model_of_two(|| {
        let (store, space) = spilled_cluster();
        let other = beside(&store, &space, |_, space| assert_eq!(space.remove(1), Ok(true)));
        assert!(store.clean_extent());
        other.join().expect("no panic");
        assert_eq!(live(&store), 2);
        ends_with(&store, &space, [Some(1), None, Some(3)]);
    });
}

#[test]
fn a_removal_beside_the_spill_of_its_cluster_leaves_the_other_page() {
    model_of_two(|| {
        let (store, space) = pages(true);
        assert_eq!(store.idle_pass().joined, 2);
        let other = beside(&store, &space, |_, space| assert_eq!(space.remove(1), Ok(true)));
        store.spill_extent();
        other.join().expect("no panic");
        ends_with(&store, &space, [Some(1), None, None]);
    });
}

#[test]
fn a_get_that_never_waits_beside_a_spill_finds_its_page_or_says_why_not() {
    use pagefold_store::TryGetError;
    model_of_two(|| {
        let (store, space) = pages(false);
        let other = beside(&store, &space, spill);
        let mut page = vec![0; 4096];
        match space.try_get(0, (&mut page[..]).try_into().expect("a page")) {
            Ok(()) => assert_eq!((page[0], page[2048]), (1, 0xfe)),
            Err(error) => assert_eq!(error, TryGetError::WouldBlock),
        }
        other.join().expect("no panic");
        ends_with(&store, &space, [Some(1), Some(2), None]);
    });
}

#[test]
fn two_threads_that_spill_at_once_write_each_page_once() {
    model(|| {
        let (store, space) = pages(false);
        let other = beside(&store, &space, spill);
        store.spill_extent();
        other.join().expect("no panic");
        assert_eq!(live(&store), 2);
        assert_eq!(space.get_into(3, &mut vec![0; 4096]), Err(GetError::Absent));
        ends_with(&store, &space, [Some(1), Some(2), None]);
    });
}
