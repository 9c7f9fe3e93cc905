//! Models of the index: put against put, get, take, evict and drop of the space, puts by version, fewer keys, and nodes that
//! come, go and are reused; staged pages and their turns; clusters of idle pages; spilled pages; pages
//! on bases.
//!
//! `cargo xtask loom` runs them. The pool below is the real one, as is everything of the store; statistics are plain
//! atomics that loom does not watch, and the shrinker's thread is off.
#![cfg(loom)]

#[path = "models/bases.rs"]
mod bases;
#[path = "models/clusters.rs"]
mod clusters;
#[path = "models/spill.rs"]
mod spill;
#[path = "models/training.rs"]
mod training;

use loom::thread;
use pagefold_codec::{Codec, CodecError, Raw};
use pagefold_frame::HeapSource;
use pagefold_pool::NbudOptions;
use pagefold_store::{GetError, KeyError, PutError, Space, SpaceConfig, Store, TryGetError};

/// Explores all interleavings with one preemption, or as many as `LOOM_MAX_PREEMPTIONS` says: the models have the pool below
/// them, and with two they take ten minutes.
fn model(f: impl Fn() + Sync + Send + 'static) {
    model_with(1, f);
}

/// As [`model`], with three preemptions: for models of the index alone, whose pages are words of it. A reader that does not
/// look at a node again shows with three.
fn model_of_the_index(f: impl Fn() + Sync + Send + 'static) {
    model_with(3, f);
}

/// As [`model`], with two preemptions: a turn is short.
fn model_of_staging(f: impl Fn() + Sync + Send + 'static) {
    model_with(2, f);
}

fn model_with(preemptions: usize, f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.max_branches = 100_000;
    builder.check(f);
}

const LEN: usize = 100;

fn store() -> Store {
    let options = NbudOptions::new().span_frames(1);
    let builder = Store::builder().allocator(options).source(Box::new(HeapSource::new()));
    let builder = builder.codec_with(Box::new(Raw)).limit(4 << 20).shrinker(false);
    builder.build().expect("room")
}

/// A value that is an object of the pool, as everything but a repeated word is.
fn put(space: &Space, fill: u8) -> Result<(), PutError> {
    space.put_bytes(0, &[fill; LEN])
}

fn get(space: &Space) -> Result<u8, GetError> {
    let mut value = [0; LEN];
    let len = space.get_bytes_into(0, &mut value)?;
    assert_eq!(len, LEN);
    assert!(value.iter().all(|byte| *byte == value[0]), "torn");
    Ok(value[0])
}

/// Pages lie on the heap, because the stacks of a model are short.
fn take(space: &Space) -> bool {
    let mut page = vec![0; 4096];
    space.take(0, (&mut page[..]).try_into().expect("a page")).is_ok()
}

#[test]
fn gets_beside_a_put_never_go_back() {
    model(|| {
        let store = store();
        let space = store.space(SpaceConfig::persistent(4)).expect("room");
        put(&space, 1).expect("room");
        let writer = {
            let space = space.clone();
            thread::spawn(move || put(&space, 2).expect("room"))
        };
        let (first, second) = (get(&space).expect("there"), get(&space).expect("there"));
        assert!(first <= second, "{first} and then {second}");
        writer.join().expect("no panic");
        assert_eq!(get(&space), Ok(2));
        store.validate().expect("valid");
    });
}

#[test]
fn of_two_puts_one_stays_and_one_object_is_freed() {
    model(|| {
        let store = store();
        let space = store.space(SpaceConfig::persistent(4)).expect("room");
        let other = {
            let space = space.clone();
            thread::spawn(move || put(&space, 2).expect("room"))
        };
        put(&space, 1).expect("room");
        other.join().expect("no panic");
        assert!(matches!(get(&space), Ok(1 | 2)));
        assert_eq!(store.stats().payload_bytes, LEN as u64);
        store.validate().expect("valid");
    });
}

#[test]
fn a_put_beside_the_drop_of_its_space_leaves_nothing() {
    model(|| {
        let store = store();
        let space = store.space(SpaceConfig::persistent(4)).expect("room");
        let putter = {
            let space = space.clone();
            thread::spawn(move || match put(&space, 1) {
                Ok(()) | Err(PutError::Key(KeyError::Dropped)) => {}
                Err(error) => panic!("{error}"),
            })
        };
        store.drop_space(&space);
        assert_eq!(get(&space), Err(GetError::Key(KeyError::Dropped)));
        putter.join().expect("no panic");
        assert_eq!(get(&space), Err(GetError::Key(KeyError::Dropped)));
        assert_eq!(store.stats().payload_bytes, 0, "an object without a key");
        store.validate().expect("valid");
    });
}

#[test]
fn a_put_beside_eviction_is_there_or_dropped_and_no_object_is_freed_twice() {
    model(|| {
        let store = store();
        // Room for one object: the put of another key drops it.
        let space = store.space(SpaceConfig::ephemeral(4).limit(LEN as u64 + 8)).expect("room");
        put(&space, 1).expect("room");
        let evictor = {
            let space = space.clone();
            thread::spawn(move || space.put_bytes(1, &[3; LEN]).is_ok())
        };
        let accepted = put(&space, 2).is_ok();
        evictor.join().expect("no panic");
        let found = get(&space);
        assert!(found == Ok(2) && accepted || found == Err(GetError::Absent), "{found:?}");
        store.validate().expect("valid");
    });
}

/// A page of one repeated byte, which is a word of the index and no object; the pages lie on the heap.
fn put_fill(space: &Space, key: u64, fill: u8) {
    space.put_from(key, &vec![fill; 4096]).expect("room");
}

fn get_fill(space: &Space, key: u64) -> Option<u8> {
    let mut page = vec![0; 4096];
    match space.get_into(key, &mut page) {
        Ok(()) => Some(page[0]),
        Err(GetError::Absent) => None,
        Err(error) => panic!("{error}"),
    }
}

// A model's leaf has four keys: 0 to 3 lie in one, 4 and 64 in others.

#[test]
fn an_accepted_put_beside_the_end_of_its_leaf_stays() {
    model(|| {
        let store = store();
        let space = store.space(SpaceConfig::persistent(4)).expect("room");
        put(&space, 1).expect("room");
        let other = {
            let space = space.clone();
            // Frees the leaf, if it is empty then, and gives its page back.
            thread::spawn(move || space.remove_range(0..1).expect("alive"))
        };
        // Another key of the same leaf.
        space.put_bytes(1, &[3; LEN]).expect("room");
        other.join().expect("no panic");
        let mut value = [0; LEN];
        assert_eq!(space.get_bytes_into(1, &mut value), Ok(LEN));
        assert_eq!(value, [3; LEN]);
        store.validate().expect("valid");
    });
}

#[test]
fn a_get_beside_the_reuse_of_its_leaf_finds_its_own_page_or_none() {
    model_of_the_index(|| {
        let store = store();
        let space = store.space(SpaceConfig::persistent(100)).expect("room");
        put_fill(&space, 4, 1);
        let other = {
            let space = space.clone();
            thread::spawn(move || {
                space.remove(4).expect("a key");
                // In the node that was freed, under the same slot.
                put_fill(&space, 64, 2);
            })
        };
        assert!(matches!(get_fill(&space, 4), Some(1) | None));
        assert!(matches!(get_fill(&space, 64), Some(2) | None));
        other.join().expect("no panic");
        assert_eq!((get_fill(&space, 4), get_fill(&space, 64)), (None, Some(2)));
        store.validate().expect("valid");
    });
}

#[test]
fn a_get_beside_inner_nodes_that_come_and_go_finds_the_page_that_stays() {
    model_of_the_index(|| {
        let store = store();
        let space = store.space(SpaceConfig::persistent(100)).expect("room");
        put_fill(&space, 0, 1);
        let other = {
            let space = space.clone();
            thread::spawn(move || {
                // A node above both leaves comes, and goes.
                put_fill(&space, 64, 2);
                space.remove(64).expect("a key");
            })
        };
        assert_eq!(get_fill(&space, 0), Some(1));
        assert_eq!(get_fill(&space, 0), Some(1));
        other.join().expect("no panic");
        store.validate().expect("valid");
    });
}

#[test]
fn of_two_puts_that_make_the_same_leaf_both_stay() {
    model_of_the_index(|| {
        let store = store();
        let space = store.space(SpaceConfig::ephemeral(100)).expect("room");
        let other = {
            let space = space.clone();
            thread::spawn(move || put_fill(&space, 64, 2))
        };
        put_fill(&space, 65, 1);
        other.join().expect("no panic");
        assert_eq!((get_fill(&space, 64), get_fill(&space, 65)), (Some(2), Some(1)));
        store.validate().expect("valid");
    });
}

#[test]
fn what_can_be_dropped_is_known_above_whatever_order_it_is_told_in() {
    model(|| {
        let store = store();
        let space = store.space(SpaceConfig::ephemeral(100)).expect("room");
        // Two leaves and a node above them; the leaf of key 20, which has another lock, brings one in
        // between.
        put_fill(&space, 0, 1);
        put_fill(&space, 64, 1);
        let other = {
            let space = space.clone();
            thread::spawn(move || {
                put(&space, 2).expect("room");
                space.remove(0).expect("a key");
            })
        };
        put_fill(&space, 20, 1);
        space.put_bytes(21, &[3; LEN]).expect("room");
        other.join().expect("no panic");
        // `validate` compares what the nodes know with what is there.
        store.validate().expect("valid");
    });
}

#[test]
fn of_two_puts_by_one_version_one_is_accepted() {
    model(|| {
        let store = store();
        let space = store.space(SpaceConfig::persistent(4)).expect("room");
        let version = space.put_bytes_if_absent(0, &[1; LEN]).expect("nothing is there");
        let other = {
            let space = space.clone();
            thread::spawn(move || space.put_bytes_if(0, &[2; LEN], version).is_ok())
        };
        let mine = space.put_bytes_if(0, &[3; LEN], version).is_ok();
        let others = other.join().expect("no panic");
        assert!(mine != others);
        assert_eq!(get(&space), Ok(if mine { 3 } else { 2 }));
        store.validate().expect("valid");
    });
}

#[test]
fn a_put_beside_fewer_keys_leaves_nothing_beyond() {
    model(|| {
        let store = store();
        let space = store.space(SpaceConfig::persistent(4)).expect("room");
        let putter = {
            let space = space.clone();
            thread::spawn(move || match space.put_bytes(3, &[1; LEN]) {
                Ok(()) | Err(PutError::Key(KeyError::Beyond { key: 3, pages: 2 })) => {}
                Err(error) => panic!("{error}"),
            })
        };
        space.resize(2).expect("fewer");
        putter.join().expect("no panic");
        assert_eq!(store.stats().payload_bytes, 0, "an object beyond");
        store.validate().expect("valid");
    });
}

#[test]
fn a_page_of_one_word_is_taken_once() {
    model(|| {
        let store = store();
        let space = store.space(SpaceConfig::persistent(4)).expect("room");
        space.put_from(0, &vec![7; 4096]).expect("room");
        let other = {
            let space = space.clone();
            thread::spawn(move || take(&space))
        };
        let mine = take(&space);
        assert!(mine != other.join().expect("no panic"));
        store.validate().expect("valid");
    });
}

#[test]
fn a_get_that_never_waits_finds_the_page_or_says_why_not() {
    model(|| {
        let store = store();
        let space = store.space(SpaceConfig::persistent(4)).expect("room");
        space.put_from(0, &vec![7; 4096]).expect("room");
        let other = {
            let space = space.clone();
            thread::spawn(move || {
                // A pattern that does not fit the word: an object.
                let page = 0x0123_4567_89ab_cdef_u64.to_ne_bytes().repeat(512);
                space.put_from(0, &page).expect("room");
                space.remove(0).expect("a key");
            })
        };
        let mut page = vec![0; 4096];
        match space.try_get(0, (&mut page[..]).try_into().expect("a page")) {
            Ok(()) => {
                let pattern = 0x0123_4567_89ab_cdef_u64.to_ne_bytes();
                assert!(page[..8] == [7; 8] || page[..8] == pattern);
            }
            Err(TryGetError::WouldBlock | TryGetError::Get(GetError::Absent)) => {}
            Err(error) => panic!("{error}"),
        }
        other.join().expect("no panic");
        store.validate().expect("valid");
    });
}

/// Compresses a page of two halves to a byte.
struct Halves;

impl Codec for Halves {
    fn name(&self) -> &str {
        "halves"
    }
    fn compress(&self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        *dst.first_mut()? = src[0];
        Some(1)
    }
    fn decompress(&self, src: &[u8], dst: &mut [u8]) -> Result<usize, CodecError> {
        halves(src[0], dst);
        Ok(dst.len())
    }
    fn metadata_bytes(&self) -> usize {
        0
    }
}

fn halves(fill: u8, page: &mut [u8]) {
    page[..2048].fill(fill);
    page[2048..].fill(fill ^ 0xff);
}

/// Pages wait until a thread of the model ends their turns.
fn staging_store() -> (Store, Space) {
    let options = NbudOptions::new().span_frames(1);
    let builder = Store::builder().allocator(options).source(Box::new(HeapSource::new()));
    let builder = builder.codec_with(Box::new(Halves)).limit(4 << 20).shrinker(false);
    let store = builder.staging(2 * 4096).build().expect("room");
    let space = store.space(SpaceConfig::persistent(4)).expect("room");
    (store, space)
}

fn put_halves(space: &Space, fill: u8) {
    let mut page = vec![0; 4096];
    halves(fill, &mut page);
    space.put_from(0, &page).expect("room");
}

fn get_halves(space: &Space) -> Option<u8> {
    let (mut found, mut page) = (vec![0; 4096], vec![0; 4096]);
    match space.get_into(0, &mut found) {
        Ok(()) => {}
        Err(GetError::Absent) => return None,
        Err(error) => panic!("{error}"),
    }
    halves(found[0], &mut page);
    assert!(found == page, "torn");
    Some(found[0])
}

/// Ends all turns; then nothing waits, and `pages` pages are there, compressed.
fn flushed(store: &Store, pages: u64) {
    store.flush();
    let stats = store.stats();
    assert_eq!((stats.spaces[0].fresh, stats.spaces[0].compressed), (0, pages));
    assert_eq!(stats.payload_bytes, pages, "an object without a key");
    store.validate().expect("valid");
}

/// A page that waits, and a thread that ends its turn.
fn staged_page_in_its_turn() -> (Store, Space, thread::JoinHandle<()>) {
    let (store, space) = staging_store();
    put_halves(&space, 1);
    let worker = {
        let store = store.clone();
        thread::spawn(move || _ = store.maintain(4096))
    };
    (store, space, worker)
}

#[test]
fn an_overwrite_beside_the_turn_of_a_staged_page_stays() {
    model_of_staging(|| {
        let (store, space, worker) = staged_page_in_its_turn();
        put_halves(&space, 2);
        assert_eq!(get_halves(&space), Some(2));
        worker.join().expect("no panic");
        assert_eq!(get_halves(&space), Some(2));
        flushed(&store, 1);
        assert_eq!(get_halves(&space), Some(2));
    });
}

#[test]
fn a_removal_beside_the_turn_of_a_staged_page_leaves_nothing() {
    model_of_staging(|| {
        let (store, space, worker) = staged_page_in_its_turn();
        assert_eq!(space.remove(0), Ok(true));
        assert_eq!(get_halves(&space), None);
        worker.join().expect("no panic");
        assert_eq!(get_halves(&space), None);
        flushed(&store, 0);
    });
}

#[test]
fn gets_beside_the_turn_of_a_staged_page_find_it() {
    model_of_staging(|| {
        let (store, space, worker) = staged_page_in_its_turn();
        assert_eq!(get_halves(&space), Some(1));
        assert_eq!(get_halves(&space), Some(1));
        worker.join().expect("no panic");
        flushed(&store, 1);
    });
}

#[test]
fn of_two_flushes_neither_returns_before_the_page_is_compressed() {
    model_of_staging(|| {
        let (store, space) = staging_store();
        put_halves(&space, 1);
        let other = {
            let store = store.clone();
            thread::spawn(move || {
                store.flush();
                assert_eq!(store.stats().spaces[0].compressed, 1);
            })
        };
        store.flush();
        assert_eq!(store.stats().spaces[0].compressed, 1);
        other.join().expect("no panic");
        flushed(&store, 1);
    });
}

#[test]
fn a_staged_put_beside_the_drop_of_its_space_leaves_nothing() {
    model_of_staging(|| {
        let (store, space, worker) = staged_page_in_its_turn();
        store.drop_space(&space);
        worker.join().expect("no panic");
        assert_eq!(store.stats().payload_bytes, 0, "an object without a key");
        store.validate().expect("valid");
    });
}

#[test]
fn of_two_staged_puts_one_stays_and_has_its_turn() {
    model_of_staging(|| {
        let (store, space) = staging_store();
        let other = {
            let space = space.clone();
            thread::spawn(move || put_halves(&space, 2))
        };
        put_halves(&space, 1);
        other.join().expect("no panic");
        assert!(matches!(get_halves(&space), Some(1 | 2)));
        flushed(&store, 1);
    });
}

fn put_at(space: &Space, key: u64, fill: u8) {
    let mut page = vec![0; 4096];
    halves(fill, &mut page);
    space.put_from(key, &page).expect("room");
}
