//! The cache against a map: exactly where there is room for all, and never another value where there is not.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use pagefold_pool::Allocator;
use pagefold_store::{Cache, CacheConfig, CacheError, Clock, Store};
use pagefold_testkit::{corpus::PageKind, seed::Seed};
use rand::{Rng, RngExt};

/// A clock that the test moves, in milliseconds.
#[derive(Debug, Clone, Default)]
struct Hand(Arc<AtomicU64>);

impl Clock for Hand {
    fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

fn store_of(allocator: Allocator, limit: usize) -> Store {
    Store::builder().allocator(allocator).limit(limit).shrinker(false).build().expect("room")
}

/// A value that says whose it is, and which: key, number, and bytes that follow from both.
fn value_of(key: u64, number: u64, len: usize) -> Vec<u8> {
    let mut value = vec![0; 16 + len];
    let kind = PageKind::ALL[usize::try_from((key ^ number) % 4).expect("small")];
    kind.fill(&mut Seed::new(key ^ number << 32).rng(0), &mut value);
    value[..8].copy_from_slice(&key.to_le_bytes());
    value[8..16].copy_from_slice(&number.to_le_bytes());
    value
}

/// The number of a value, which is the right one for its key.
fn checked(key: u64, value: &[u8]) -> u64 {
    let number = u64::from_le_bytes(value[8..16].try_into().expect("8 bytes"));
    assert!(value == value_of(key, number, value.len() - 16), "another value for key {key}");
    number
}

fn some_len(rng: &mut impl Rng) -> usize {
    match rng.random_range(0..20) {
        0 => rng.random_range(0..60_000),
        1 => 4096 - 24 + rng.random_range(0..3),
        2..8 => rng.random_range(0..200),
        _ => rng.random_range(0..3000),
    }
}

/// What the map knows of a key.
#[derive(Debug, Clone)]
struct Known {
    value: Vec<u8>,
    until: Option<u64>,
}

/// Random operations on a cache and a map. With `exact` there is room for everything.
fn walk(store: &Store, exact: bool, seed: u64) {
    const KEYS: u64 = 400;
    let hand = Hand::default();
    let cache: Cache<u64, Vec<u8>> =
        Cache::new(store, CacheConfig::new().clock(hand.clone())).expect("room");
    let mut map: HashMap<u64, Known> = HashMap::new();
    let mut rng = Seed::for_test(seed).rng(0);
    let is_good = |known: &Known, now: u64| known.until.is_none_or(|until| now < until);
    for number in 0..6000 {
        let key = rng.random_range(0..KEYS);
        let now = hand.0.load(Ordering::Relaxed);
        match rng.random_range(0..100) {
            0..35 => {
                let value = value_of(key, number, some_len(&mut rng));
                let time = rng.random_bool(0.3).then(|| rng.random_range(0..2000));
                let inserted = match time {
                    Some(time) => cache.insert_for(&key, &value, Duration::from_millis(time)),
                    None => cache.insert(&key, &value),
                };
                match inserted {
                    Ok(()) => {
                        let until = time.map(|time| now + time);
                        map.insert(key, Known { value, until });
                    }
                    Err(error) => {
                        // xcfmalloc and zbud do not take the longest values.
                        let is_long = matches!(error, CacheError::TooLong { .. });
                        assert!(!exact || is_long, "{error}");
                        assert!(!cache.contains(&key), "an old value after a failed insert");
                        map.remove(&key);
                    }
                }
            }
            35..75 => {
                let expected = map.get(&key).filter(|known| is_good(known, now));
                match (cache.get(&key), expected) {
                    (Some(value), Some(known)) => assert!(value == known.value, "key {key}"),
                    (None, None) => {}
                    (Some(_), None) => panic!("key {key} came from nowhere"),
                    (None, Some(_)) => {
                        assert!(!exact, "key {key} is lost");
                        map.remove(&key);
                    }
                }
            }
            75..85 => {
                let known = map.remove(&key).is_some_and(|known| is_good(&known, now));
                let removed = cache.remove(&key);
                assert!(removed == known || known && !exact, "key {key}");
            }
            85..93 => {
                let known = map.get(&key).is_some_and(|known| is_good(known, now));
                let there = cache.contains(&key);
                assert!(there == known || known && !exact, "key {key}");
            }
            93..96 => hand.0.store(now + rng.random_range(0..500), Ordering::Relaxed),
            96..97 => _ = store.compact(1 << 20),
            97..98 if !exact => _ = store.shrink(64 << 10),
            98 if rng.random_bool(0.2) => {
                cache.clear();
                assert!(cache.is_empty());
                map.clear();
            }
            _ => {
                let before = map.len();
                // Those that a get has come upon are gone already, from the cache alone.
                let removed = cache.remove_expired();
                map.retain(|_, known| is_good(known, now));
                assert!(removed <= (before - map.len()) as u64);
                assert!(!exact || cache.len() == map.len() as u64);
            }
        }
        assert!(store.resident() <= store.limit());
    }
    cache.remove_expired();
    let stats = cache.stats();
    assert_eq!(stats.entries, cache.space_stats().stored, "an entry a value, and the reverse");
    assert_eq!(stats.weight, stats.entries, "one each");
    assert_eq!(stats.undecodable, 0);
    if exact {
        assert_eq!(stats.evictions, 0);
    } else {
        assert!(stats.evictions > 20, "{stats:?}");
    }
    store.validate().expect("valid");
    cache.clear();
    assert_eq!((cache.len(), cache.stats().weight), (0, 0));
    assert_eq!(store.stats().payload_bytes, 0);
}

#[test]
fn with_room_for_all_it_is_a_map() {
    for &allocator in Allocator::ALL {
        walk(&store_of(allocator, 64 << 20), true, 0xcac4e);
    }
}

#[test]
fn without_room_for_all_it_forgets_and_never_errs() {
    // zbud takes no values longer than a frame: those are refused.
    for &allocator in Allocator::ALL {
        walk(&store_of(allocator, 2 << 20), false, 0xcac4f);
    }
}

/// Counts a writer out when it goes, by a failed assertion too: the other threads of the test then end.
struct Writing<'a>(&'a AtomicU64);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn a_get_finds_what_was_inserted_before_it_began_or_later_or_nothing() {
    const KEYS: u64 = 64;
    const WRITERS: u64 = 2;
    let store = Store::builder().limit(4 << 20).watermarks(60, 80).build().expect("room");
    let cache: Cache<u64, Vec<u8>> = Cache::new(&store, CacheConfig::new()).expect("room");
    let noise: Cache<u64, Vec<u8>> =
        Cache::new(&store, CacheConfig::new().weight_max(600)).expect("room");
    // One writer a key, so that the order of what was accepted is that of the numbers.
    let accepted: Vec<AtomicU64> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
    let (writing, hits) = (AtomicU64::new(WRITERS), AtomicU64::new(0));
    thread::scope(|scope| {
        let (store, cache, noise) = (&store, &cache, &noise);
        let (accepted, writing, hits) = (&accepted[..], &writing, &hits);
        for writer in 0..WRITERS {
            scope.spawn(move || {
                let _writing = Writing(writing);
                let mut rng = Seed::for_test(0x3e4d).rng(writer);
                for number in 1..6000 {
                    let key = rng.random_range(0..KEYS / WRITERS) * WRITERS + writer;
                    let at = &accepted[usize::try_from(key).expect("small")];
                    if rng.random_bool(0.1) {
                        cache.remove(&key);
                        assert!(cache.get(&key).is_none(), "this thread alone inserts it");
                    } else if cache.insert(&key, &value_of(key, number, some_len(&mut rng))).is_ok()
                    {
                        at.store(number, Ordering::SeqCst);
                    }
                }
            });
        }
        for reader in 0..2 {
            scope.spawn(move || {
                let mut rng = Seed::for_test(0x3e4d).rng(10 + reader);
                while writing.load(Ordering::SeqCst) > 0 {
                    let key = rng.random_range(0..KEYS);
                    let at = &accepted[usize::try_from(key).expect("small")];
                    let before = at.load(Ordering::SeqCst);
                    if let Some(value) = cache.get(&key) {
                        let number = checked(key, &value);
                        assert!(number >= before, "key {key}: {number} after {before}");
                        hits.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        // Values of another cache take the slots' frames, and all that may be dropped is dropped now and then.
        scope.spawn(move || {
            let mut rng = Seed::for_test(0x3e4d).rng(20);
            while writing.load(Ordering::SeqCst) > 0 {
                let key = rng.random_range(0..5000);
                let _ = noise.insert(&key, &value_of(key, key, some_len(&mut rng)));
                noise.get(&key).iter().for_each(|value| _ = checked(key, value));
                match rng.random_range(0..200) {
                    0 => _ = store.shrink(usize::MAX),
                    1 => cache.clear(),
                    2..10 => _ = store.compact(256 << 10),
                    _ => {}
                }
                assert!(store.resident() <= store.limit());
            }
        });
    });
    assert!(hits.load(Ordering::Relaxed) > 100, "{:?}", cache.stats());
    for cache in [&cache, &noise] {
        let stats = cache.stats();
        assert_eq!(stats.undecodable, 0);
        // The shrinker may be in the middle of a report.
        store.set_limit(store.limit()).expect("as it is");
        cache.clear();
        assert_eq!((cache.len(), cache.stats().weight, cache.space_stats().stored), (0, 0, 0));
    }
    assert_eq!(store.stats().payload_bytes, 0);
    store.validate().expect("valid");
}

#[test]
fn what_is_got_all_the_time_stays() {
    let store = store_of(Allocator::nbud(), 4 << 20);
    let cache: Cache<u64, Vec<u8>> = Cache::new(&store, CacheConfig::new()).expect("room");
    // 100 that are got all the time, among 20 000 that are inserted once: ten times what fits.
    let mut missed = 0;
    for key in 0..20_000 {
        cache.insert(&key, &value_of(key, 1, 1500)).expect("it drops pages");
        let usual = 1_000_000 + key % 100;
        match cache.get(&usual) {
            Some(value) => assert_eq!(checked(usual, &value), 1),
            None => {
                missed += 1;
                cache.insert(&usual, &value_of(usual, 1, 1500)).expect("it drops pages");
            }
        }
    }
    let stats = cache.stats();
    assert!(stats.evictions > 10_000, "{stats:?}");
    assert!(missed < 1000, "missed {missed} of 20 000");
    store.validate().expect("valid");
}
