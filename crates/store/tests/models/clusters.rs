//! Models of clusters: each way out of one, beside the pass that makes or splits it, and beside the other page's way out.
//!
//! A cluster of a model has two pages, and a leaf four keys. A page alone takes 100 bytes and a cluster 151, so two pages
//! join, and the one that is left is split off.

use loom::thread;
use pagefold_codec::{Codec, CodecError};
use pagefold_frame::HeapSource;
use pagefold_pool::NbudOptions;
use pagefold_store::{GetError, Space, SpaceConfig, Store, TryGetError};

use super::{halves, model, model_with, put_at, put_fill};

const PAGE_LEN: usize = 100;
const CLUSTER_LEN: usize = 150;

/// Two preemptions: such a model takes less than a minute with them. Those of [`model`] take up to three.
fn model_of_two(f: impl Fn() + Sync + Send + 'static) {
    model_with(2, f);
}

/// For pages of halves, alone or in clusters.
pub(super) struct Short;

impl Codec for Short {
    fn name(&self) -> &str {
        "short"
    }
    fn compress(&self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        let len = if src.len() == 4096 { PAGE_LEN } else { CLUSTER_LEN };
        let dst = dst.get_mut(..len)?;
        dst.fill(0);
        src.chunks_exact(4096).zip(dst).for_each(|(page, byte)| *byte = page[0]);
        Some(len)
    }
    fn decompress(&self, src: &[u8], dst: &mut [u8]) -> Result<usize, CodecError> {
        dst.chunks_exact_mut(4096).zip(src).for_each(|(page, byte)| halves(*byte, page));
        Ok(dst.len())
    }
    fn metadata_bytes(&self) -> usize {
        0
    }
}

/// The pages of key 0 and 1, alone; the next pass joins them.
fn idle_pages() -> (Store, Space) {
    let options = NbudOptions::new().span_frames(1);
    let builder = Store::builder().allocator(options).source(Box::new(HeapSource::new()));
    let builder = builder.codec_with(Box::new(Short)).idle_codec_with(Box::new(Short));
    let store = builder.idle_share(5).limit(4 << 20).shrinker(false).build().expect("room");
    let space = store.space(SpaceConfig::persistent(4)).expect("room");
    put_at(&space, 0, 1);
    put_at(&space, 1, 2);
    store.idle_pass();
    (store, space)
}

fn cluster() -> (Store, Space) {
    let (store, space) = idle_pages();
    assert_eq!(store.idle_pass().joined, 2);
    assert_eq!((store.stats().idle.clusters, store.stats().idle.pages), (1, 2));
    (store, space)
}

/// A cluster of which only the page of key 0 is left; the next pass splits it. The page of key 2 keeps the leaf.
fn sparse_cluster() -> (Store, Space) {
    let (store, space) = cluster();
    put_at(&space, 2, 3);
    assert_eq!(space.remove(1), Ok(true));
    assert_eq!(store.idle_pass().split, 0);
    // Not idle, so that it does not join.
    assert_eq!(get_at(&space, 2), Some(3));
    (store, space)
}

pub(super) fn get_at(space: &Space, key: u64) -> Option<u8> {
    let (mut found, mut page) = (vec![0; 4096], vec![0; 4096]);
    match space.get_into(key, &mut found) {
        Ok(()) => {}
        Err(GetError::Absent) => return None,
        Err(error) => panic!("{error}"),
    }
    halves(found[0], &mut page);
    assert!(found == page || found == [found[0]; 4096], "torn");
    Some(found[0])
}

/// In a thread of the model.
fn beside(
    store: &Store,
    space: &Space,
    f: impl FnOnce(&Store, &Space) + Send + 'static,
) -> thread::JoinHandle<()> {
    let (store, space) = (store.clone(), space.clone());
    thread::spawn(move || f(&store, &space))
}

fn pass(store: &Store, _: &Space) {
    store.idle_pass();
}

/// What is under the keys 0 to 2, and after their removal nothing at all.
fn ends_with(store: &Store, space: &Space, expected: [Option<u8>; 3]) {
    store.validate().expect("valid");
    assert_eq!([0, 1, 2].map(|key| get_at(space, key)), expected);
    space.remove_range(0..4).expect("alive");
    ends_empty(store);
}

fn ends_empty(store: &Store) {
    let stats = store.stats();
    assert_eq!(stats.payload_bytes, 0, "an object without a key");
    assert_eq!((stats.idle.clusters, stats.idle.bytes, stats.idle.pages), (0, 0, 0));
    store.validate().expect("valid");
}

// The pass is the work of the model's first thread: a call between its look at the pages and its exchange of their words
// then takes one preemption.

#[test]
fn an_overwrite_beside_the_pass_that_makes_its_cluster_stays() {
    model(|| {
        let (store, space) = idle_pages();
        // By a word, and no object.
        let other = beside(&store, &space, |_, space| put_fill(space, 1, 9));
        store.idle_pass();
        other.join().expect("no panic");
        ends_with(&store, &space, [Some(1), Some(9), None]);
    });
}

#[test]
fn an_overwrite_by_an_object_beside_the_pass_that_makes_its_cluster_stays() {
    model(|| {
        let (store, space) = idle_pages();
        let other = beside(&store, &space, |_, space| put_at(space, 1, 9));
        store.idle_pass();
        other.join().expect("no panic");
        ends_with(&store, &space, [Some(1), Some(9), None]);
    });
}

#[test]
fn a_removal_beside_the_pass_that_makes_its_cluster_leaves_nothing() {
    model_of_two(|| {
        let (store, space) = idle_pages();
        let other = beside(&store, &space, |_, space| {
            assert_eq!(space.remove(1), Ok(true));
            assert_eq!(get_at(space, 1), None);
        });
        store.idle_pass();
        other.join().expect("no panic");
        ends_with(&store, &space, [Some(1), None, None]);
    });
}

#[test]
fn a_removal_beside_the_split_of_its_cluster_leaves_nothing() {
    model_of_two(|| {
        let (store, space) = sparse_cluster();
        let other = beside(&store, &space, |_, space| {
            assert_eq!(space.remove(0), Ok(true));
            assert_eq!(get_at(space, 0), None);
        });
        store.idle_pass();
        other.join().expect("no panic");
        ends_with(&store, &space, [None, None, Some(3)]);
    });
}

#[test]
fn an_overwrite_beside_the_split_of_its_cluster_stays() {
    model_of_two(|| {
        let (store, space) = sparse_cluster();
        let other = beside(&store, &space, |_, space| put_fill(space, 0, 9));
        store.idle_pass();
        other.join().expect("no panic");
        ends_with(&store, &space, [Some(9), None, Some(3)]);
    });
}

#[test]
fn two_pages_of_a_cluster_overwritten_at_once_free_it_once() {
    model_of_two(|| {
        let (store, space) = cluster();
        let other = beside(&store, &space, |_, space| put_at(space, 1, 8));
        put_at(&space, 0, 9);
        other.join().expect("no panic");
        let stats = store.stats();
        assert_eq!((stats.payload_bytes, stats.idle.clusters), (2 * PAGE_LEN as u64, 0));
        ends_with(&store, &space, [Some(9), Some(8), None]);
    });
}

#[test]
fn two_pages_of_a_cluster_removed_at_once_free_it_once() {
    model_of_two(|| {
        let (store, space) = cluster();
        let other = beside(&store, &space, |_, space| assert_eq!(space.remove(1), Ok(true)));
        assert_eq!(space.remove(0), Ok(true));
        other.join().expect("no panic");
        ends_empty(&store);
    });
}

#[test]
fn gets_beside_the_pass_that_makes_a_cluster_find_its_page() {
    model_of_two(|| {
        let (store, space) = idle_pages();
        let other = beside(&store, &space, pass);
        assert_eq!(get_at(&space, 0), Some(1));
        assert_eq!(get_at(&space, 0), Some(1));
        other.join().expect("no panic");
        ends_with(&store, &space, [Some(1), Some(2), None]);
    });
}

#[test]
fn a_get_beside_the_end_of_its_cluster_finds_its_page_or_none() {
    model_of_two(|| {
        let (store, space) = cluster();
        let other = beside(&store, &space, |_, space| {
            assert_eq!(space.remove(1), Ok(true));
            assert_eq!(space.remove(0), Ok(true));
            // Where the cluster was.
            put_at(space, 2, 7);
        });
        assert!(matches!(get_at(&space, 0), Some(1) | None));
        other.join().expect("no panic");
        ends_with(&store, &space, [None, None, Some(7)]);
    });
}

#[test]
fn a_get_beside_overwrites_of_its_cluster_finds_the_old_page_or_the_new_one() {
    model_of_two(|| {
        let (store, space) = cluster();
        let other = beside(&store, &space, |_, space| {
            put_at(space, 1, 8);
            put_at(space, 0, 9);
        });
        let (first, second) = (get_at(&space, 0), get_at(&space, 0));
        assert!(matches!((first, second), (Some(1), Some(1 | 9)) | (Some(9), Some(9))));
        other.join().expect("no panic");
        ends_with(&store, &space, [Some(9), Some(8), None]);
    });
}

#[test]
fn a_get_that_never_waits_beside_the_split_of_a_cluster_finds_its_page_or_says_why_not() {
    model_of_two(|| {
        let (store, space) = sparse_cluster();
        let other = beside(&store, &space, pass);
        let mut page = vec![0; 4096];
        match space.try_get(0, (&mut page[..]).try_into().expect("a page")) {
            Ok(()) => assert_eq!((page[0], page[2048]), (1, 0xfe)),
            Err(error) => assert_eq!(error, TryGetError::WouldBlock),
        }
        other.join().expect("no panic");
        ends_with(&store, &space, [Some(1), None, Some(3)]);
    });
}

/// A cluster whose page of key 0 was read twice, and a thread that lets it leave.
fn page_that_leaves() -> (Store, Space, thread::JoinHandle<()>) {
    let (store, space) = cluster();
    assert_eq!((get_at(&space, 0), get_at(&space, 0)), (Some(1), Some(1)));
    let other = beside(&store, &space, |store, _| _ = store.maintain(4096));
    (store, space, other)
}

#[test]
fn an_overwrite_beside_a_page_that_leaves_its_cluster_stays() {
    model_of_two(|| {
        let (store, space, other) = page_that_leaves();
        put_at(&space, 0, 9);
        assert_eq!(get_at(&space, 0), Some(9));
        other.join().expect("no panic");
        ends_with(&store, &space, [Some(9), Some(2), None]);
    });
}

#[test]
fn a_removal_of_the_other_page_beside_one_that_leaves_frees_the_cluster_once() {
    model_of_two(|| {
        let (store, space, other) = page_that_leaves();
        assert_eq!(space.remove(1), Ok(true));
        other.join().expect("no panic");
        assert_eq!(store.stats().idle.clusters, 0);
        assert_eq!(store.stats().payload_bytes, PAGE_LEN as u64);
        ends_with(&store, &space, [Some(1), None, None]);
    });
}

#[test]
fn the_drop_of_a_space_beside_a_pass_leaves_nothing() {
    model_of_two(|| {
        let (store, space) = idle_pages();
        let other = beside(&store, &space, Store::drop_space);
        store.idle_pass();
        other.join().expect("no panic");
        ends_empty(&store);
    });
}

#[test]
fn the_drop_of_a_space_beside_a_split_leaves_nothing() {
    model_of_two(|| {
        let (store, space) = sparse_cluster();
        let other = beside(&store, &space, Store::drop_space);
        store.idle_pass();
        other.join().expect("no panic");
        ends_empty(&store);
    });
}

#[test]
fn two_passes_at_once_lose_no_page() {
    model(|| {
        // Their codec is there: loom does not watch the `OnceLock` that has it.
        let (store, space) = cluster();
        put_at(&space, 2, 3);
        put_at(&space, 3, 4);
        store.idle_pass();
        let other = beside(&store, &space, pass);
        store.idle_pass();
        other.join().expect("no panic");
        assert_eq!(get_at(&space, 3), Some(4));
        ends_with(&store, &space, [Some(1), Some(2), Some(3)]);
    });
}
