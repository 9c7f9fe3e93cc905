//! Values in a backing.

use std::{
    thread,
    time::{Duration, Instant},
};

use pagefold_store::{
    Cache, CacheConfig, GetError, Space, SpaceConfig, Store, TryGetError,
    spill::{FileBacking, Spill},
};
use pagefold_testkit::{corpus::Mix, seed::Seed};
use rand::{RngExt as _, seq::IndexedRandom as _};

const EXTENT_BYTES: usize = 256 << 10;

fn file() -> Spill {
    let directory = std::env::temp_dir();
    let backing = FileBacking::new(&directory, EXTENT_BYTES).expect("a file");
    Spill::builder(backing).extent_bytes(EXTENT_BYTES).build().expect("sensible")
}

fn store() -> Store {
    Store::builder().limit(8 << 20).spill(file()).build().expect("room")
}

/// Of every length that differs for the store, compressible and not.
fn value(key: u64, version: u64) -> Vec<u8> {
    let lens =
        [0, 1, 31, 32, 33, 100, 300, 1000, 3000, 4095, 4096, 4097, 9000, 30_000, 65_535, 65_536];
    let len = lens[usize::try_from((key + version) % 16).expect("small")];
    let mut rng = Seed::for_test(0x72).rng(key << 20 | version);
    let mut value: Vec<u8> = if key.is_multiple_of(3) {
        (0..len).map(|_| rng.random()).collect()
    } else {
        format!("value {key} of version {version}; ").bytes().cycle().take(len).collect()
    };
    let head: Vec<u8> = [key.to_le_bytes(), version.to_le_bytes()].concat();
    let marked = len.min(head.len());
    value[..marked].copy_from_slice(&head[..marked]);
    value
}

fn fill(space: &Space, keys: std::ops::Range<u64>) {
    for key in keys {
        space.put_bytes(key, &value(key, 0)).expect("room in the backing");
    }
}

fn is_spilled(space: &Space, key: u64) -> bool {
    matches!(space.form_of(key), Some("spilled" | "spilled value"))
}

#[test]
fn values_of_every_length_leave_memory_and_come_back() {
    let store = store();
    let space = store.space(SpaceConfig::persistent(100_000)).expect("room");
    let count = 6000;
    fill(&space, 0..count);
    assert!(store.resident() <= store.limit());
    store.validate().expect("valid");
    let spilled: Vec<u64> = (0..count).filter(|&key| is_spilled(&space, key)).collect();
    let is_value = |key: &&u64| space.form_of(**key) == Some("spilled value");
    for len in [32, 33, 100, 300, 1000, 3000, 4095, 4097, 9000, 30_000, 65_535, 65_536] {
        let of_len = |key: &u64| value(*key, 0).len() == len;
        assert!(spilled.iter().filter(is_value).any(of_len), "{len}");
    }
    let short = |key: &u64| value(*key, 0).len() < 31;
    assert!(!spilled.iter().any(short), "short values cost more outside than in memory");
    for key in 0..count {
        let expected = value(key, 0);
        assert_eq!(space.value_len(key), Ok(expected.len()), "of {key}");
        if is_spilled(&space, key) && !expected.is_empty() {
            let (len, given) = (expected.len(), expected.len() - 1);
            let reads = store.stats().spill.expect("a backing").fetches;
            let mut short = vec![0; given];
            assert_eq!(
                space.get_bytes_into(key, &mut short),
                Err(GetError::WrongLength { len, given })
            );
            assert_eq!(store.stats().spill.expect("a backing").fetches, reads, "memory knows it");
            let mut exact = vec![0; len];
            assert_eq!(space.try_get_bytes(key, &mut exact), Err(TryGetError::WouldBlock));
            assert_eq!(space.get_into(key, &mut exact), Ok(()));
            assert!(exact == expected, "value {key}");
            assert!(space.get_into(key, &mut short).is_err());
        }
        assert!(space.get_bytes(key) == Ok(expected), "value {key}");
    }
    store.validate().expect("valid");
    for (key, got) in (0..count).zip(space.get_bytes_many(0..count)) {
        assert!(got == Ok(value(key, 0)), "value {key}");
    }
    let mut all = b"before ".to_vec();
    assert_eq!(space.get_append(spilled[0], &mut all), Ok(value(spilled[0], 0).len()));
    assert!(all == [b"before ", &value(spilled[0], 0)[..]].concat());
    for key in 0..count {
        match key % 3 {
            0 => assert!(space.take_bytes(key) == Ok(value(key, 0)), "value {key}"),
            1 => assert_eq!(space.update_bytes(key, |old| *old = value(key, 1)), Ok(true)),
            _ => assert_eq!(space.remove(key), Ok(true)),
        }
    }
    store.validate().expect("valid");
    for key in 0..count {
        let expected = if key % 3 == 1 { Ok(value(key, 1)) } else { Err(GetError::Absent) };
        assert!(space.get_bytes(key) == expected, "value {key}");
    }
    drop(space);
    assert_eq!(store.stats().spill.expect("a backing").backing.live_objects, 0);
    store.validate().expect("valid");
}

#[test]
fn a_value_that_is_read_twice_has_an_object_in_memory_again() {
    let store = store();
    let space = store.space(SpaceConfig::persistent(100_000)).expect("room");
    fill(&space, 0..4000);
    let spilled: Vec<u64> =
        (0..4000).filter(|&key| space.form_of(key) == Some("spilled value")).collect();
    // Room below the high watermark.
    (0..4000).filter(|key| !spilled.contains(key)).for_each(|key| _ = space.remove(key));
    let (raw, coded) =
        (spilled.iter().find(|key| **key % 3 == 0), spilled.iter().find(|key| **key % 3 == 1));
    for &key in [raw, coded].into_iter().flatten() {
        // The spiller may be at its last extent, and frames that are free are not given back yet.
        let until = Instant::now() + Duration::from_secs(20);
        while space.form_of(key) != Some("value") {
            assert!(space.get_bytes(key) == Ok(value(key, 0)));
            assert!(Instant::now() < until, "{key}: {:?}", store.stats());
            store.shrink(0);
        }
        assert!(space.get_bytes(key) == Ok(value(key, 0)));
        let mut back = vec![0; 65_536];
        // A long one in several pieces is `WouldBlock` in memory too.
        if let Ok(len) = space.try_get_bytes(key, &mut back) {
            assert!(back[..len] == value(key, 0));
        }
    }
    assert!(raw.is_some() && coded.is_some());
    store.validate().expect("valid");
}

#[test]
fn threads_put_take_and_read_values_beside_the_spiller() {
    let store = store();
    let space = store.space(SpaceConfig::persistent(100_000)).expect("room");
    thread::scope(|scope| {
        for me in 0..3_u64 {
            let (space, store) = (&space, &store);
            scope.spawn(move || {
                let mut rng = Seed::for_test(0x73).rng(me);
                let mut known = vec![None; 2000];
                for step in 1..8000_u64 {
                    let at = rng.random_range(0..known.len());
                    let key = at as u64 * 3 + me;
                    match rng.random_range(0..10) {
                        0..5 => {
                            space.put_bytes(key, &value(key, step)).expect("room in the backing");
                            known[at] = Some(step);
                        }
                        5..8 => {
                            let expected = known[at].map(|step| value(key, step));
                            assert!(space.get_bytes(key).ok() == expected, "value {key}");
                        }
                        8 => {
                            let expected = known[at].take().map(|step| value(key, step));
                            assert!(space.take_bytes(key).ok() == expected, "value {key}");
                        }
                        _ => {
                            let there = known[at].take().is_some();
                            assert_eq!(space.remove(key), Ok(there));
                        }
                    }
                }
                assert!(store.resident() <= store.limit());
            });
        }
    });
    store.validate().expect("valid");
    assert!(store.stats().spill.expect("a backing").spilled > 0);
}

#[test]
fn a_cache_with_a_backing_keeps_more_than_memory_has() {
    let store = store();
    let cache: Cache<u64, Vec<u8>> = Cache::new(&store, CacheConfig::new()).expect("room");
    let mut rng = Seed::for_test(0x74).rng(0);
    let pages = Mix::PROCESS.pages(&mut rng, 300);
    let made = |key: u64, page: &[u8]| [&key.to_le_bytes()[..], page].concat();
    let chosen: Vec<&Vec<u8>> =
        (0..12_000).map(|_| pages.choose(&mut rng).expect("some")).collect();
    for (key, page) in (0..).zip(&chosen) {
        cache.insert(&key, &made(key, page)).expect("room in the backing");
    }
    for (key, page) in (0..).zip(&chosen) {
        assert!(cache.get(&key) == Some(made(key, page)), "value {key}");
    }
    assert_eq!(cache.stats().evictions, 0);
    assert!(store.stats().spill.expect("a backing").pages > 6000);
    store.validate().expect("valid");
}
