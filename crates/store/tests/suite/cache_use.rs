//! The cache: weight, time, memory, and bad use, each with its stated outcome.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use pagefold_pool::Allocator;
use pagefold_store::{
    Cache, CacheConfig, CacheError, CacheValue, Clock, Page, ReachedLimit, SpaceConfig, Store,
};
use pagefold_testkit::{corpus::PageKind, seed::Seed};

const LIMIT: usize = 8 << 20;

#[derive(Debug, Clone, Default)]
struct Hand(Arc<AtomicU64>);

impl Clock for Hand {
    fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

fn store() -> Store {
    Store::builder().limit(LIMIT).shrinker(false).build().expect("room")
}

fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    PageKind::Random.fill(&mut Seed::new(seed).rng(0), &mut bytes);
    bytes
}

#[test]
fn values_weigh_no_more_than_they_may() {
    let store = store();
    let config = CacheConfig::new()
        .weight_max(1000)
        .weigher(|_: &u64, value: &Vec<u8>| u32::try_from(value.len()).unwrap_or(u32::MAX));
    let cache: Cache<u64, Vec<u8>> = Cache::new(&store, config).expect("room");
    for key in 0..500 {
        let len = usize::try_from(key * 37 % 300).expect("small");
        cache.insert(&key, &random(key, len)).expect("it drops pages");
        let stats = cache.stats();
        assert!(stats.weight <= 1000, "{stats:?}");
        assert!(cache.contains(&key), "the one just inserted is not the one to go");
    }
    let stats = cache.stats();
    assert!(stats.weight > 700 && stats.evictions > 300, "{stats:?}");
    // Another weight in the place of the old one.
    cache.clear();
    for len in [900, 10, 1000, 0, 999] {
        cache.insert(&7, &random(1, len)).expect("alone it fits");
        assert_eq!((cache.stats().weight, cache.len()), (len as u64, 1));
    }
    let error = cache.insert(&7, &random(1, 1001)).expect_err("too heavy");
    assert_eq!(error, CacheError::TooHeavy { weight: 1001, max: 1000 });
    assert!(!cache.contains(&7), "not the old value");
    assert_eq!(cache.stats().rejected, 1);
    assert_eq!(store.stats().payload_bytes, 0);
}

#[test]
fn a_cache_of_so_many_entries_has_so_many() {
    let store = store();
    let cache: Cache<u64, String> =
        Cache::new(&store, CacheConfig::new().weight_max(10)).expect("room");
    for key in 0..100 {
        cache.insert(&key, &key.to_string()).expect("it drops pages");
        assert_eq!(cache.len(), (key + 1).min(10));
    }
    let cache: Cache<u64, String> =
        Cache::new(&store, CacheConfig::new().entries_max(10)).expect("room");
    for key in 0..100 {
        cache.insert(&key, &key.to_string()).expect("it drops pages");
        assert_eq!(cache.get(&key), Some(key.to_string()));
        assert!(cache.len() <= 10);
    }
    assert!(cache.len() >= 9, "{}", cache.len());
    assert_eq!(cache.stats().entries, cache.space_stats().stored);
}

#[test]
fn a_value_is_gone_when_its_time_is_over() {
    let (store, hand) = (store(), Hand::default());
    let config = CacheConfig::new().time_to_live(Duration::from_millis(100)).clock(hand.clone());
    let cache: Cache<str, String> = Cache::new(&store, config).expect("room");
    let text = "text".to_owned();
    cache.insert("usual", &text).expect("room");
    cache.insert_for("short", &text, Duration::from_millis(10)).expect("room");
    cache.insert_for("none", &text, Duration::ZERO).expect("room");
    cache.insert_for("ever", &text, Duration::MAX).expect("room");
    assert!(!cache.contains("none") && cache.get("none").is_none());
    hand.0.store(9, Ordering::Relaxed);
    assert!(cache.contains("short") && cache.get("short").is_some());
    hand.0.store(10, Ordering::Relaxed);
    assert!(!cache.contains("short") && !cache.remove("short"), "it is over");
    assert!(cache.get("usual").is_some());
    // Inserted anew it begins anew.
    hand.0.store(99, Ordering::Relaxed);
    cache.insert("again", &text).expect("room");
    cache.insert("usual", &text).expect("room");
    hand.0.store(198, Ordering::Relaxed);
    assert!(cache.get("again").is_some() && cache.get("usual").is_some());
    hand.0.store(199, Ordering::Relaxed);
    assert_eq!(cache.len(), 3, "nothing has looked yet");
    assert_eq!(cache.remove_expired(), 2);
    assert_eq!((cache.len(), cache.stats().expired), (1, 4));
    hand.0.store(u64::MAX, Ordering::Relaxed);
    assert!(cache.get("ever").is_some());
    assert_eq!(cache.remove_expired(), 0);
    assert_eq!(cache.stats().evictions, 0);
}

#[test]
fn what_is_over_goes_before_what_is_not() {
    let (store, hand) = (store(), Hand::default());
    let config = CacheConfig::new().entries_max(100).weight_max(20).clock(hand.clone());
    let cache: Cache<u64, String> = Cache::new(&store, config).expect("room");
    for key in 0..20 {
        let time = Duration::from_millis(if key < 10 { 50 } else { 5000 });
        cache.insert_for(&key, &key.to_string(), time).expect("room");
        // All of them are marked.
        assert!(cache.get(&key).is_some());
    }
    hand.0.store(60, Ordering::Relaxed);
    for key in 20..30 {
        cache.insert(&key, &key.to_string()).expect("it drops pages");
    }
    let stats = cache.stats();
    assert!(stats.expired >= 9, "{stats:?}");
    assert!((11..20).filter(|key| cache.contains(key)).count() >= 8, "{stats:?}");
}

#[test]
fn the_map_counts_against_the_limit_and_goes_with_the_cache() {
    let store = store();
    let empty = store.resident();
    let cache: Cache<u64, String> = Cache::new(&store, CacheConfig::new()).expect("room");
    let made = store.resident();
    assert!(made > empty && made - empty < 200 << 10, "{}", made - empty);
    for key in 0..20_000 {
        cache.insert(&key, &String::new()).expect("room");
    }
    assert_eq!(cache.len(), 20_000);
    let map_bytes = cache.stats().map_bytes;
    assert!((20_000 * 45..20_000 * 64).contains(&map_bytes), "{map_bytes}");
    assert!((store.resident() - made) as u64 > map_bytes + 20_000 * 8);
    // Keys that come and go do not make it longer.
    for key in 20_000..200_000 {
        cache.insert(&key, &String::new()).expect("room");
        assert!(cache.remove(&(key - 20_000)));
    }
    let later = cache.stats().map_bytes;
    assert!(later <= map_bytes * 2, "{later} after {map_bytes}");
    drop(cache);
    store.shrink(0);
    assert!(store.resident() < empty + (300 << 10), "{} of {empty}", store.resident());
    assert!(store.spaces().is_empty());
    store.validate().expect("valid");
}

#[test]
fn a_cache_in_a_full_store_refuses_and_has_nothing_old() {
    let store = store();
    let cache: Cache<u64, Vec<u8>> = Cache::new(&store, CacheConfig::new()).expect("room");
    let full = store.space(SpaceConfig::persistent(10_000)).expect("room");
    cache.insert(&1, &random(1, 1000)).expect("room");
    let page = |key: u64| -> Page { random(key, 4096).try_into().expect("a page") };
    for key in 0..10_000 {
        if full.put(key, &page(key)).is_err() {
            break;
        }
    }
    assert!(full.len() > 1000);
    let mut refused = 0;
    for key in 0..100 {
        match cache.insert(&key, &random(key, 60_000)) {
            Ok(()) => {}
            Err(error) => {
                assert_eq!(error, CacheError::Full(ReachedLimit::Store));
                assert!(!cache.contains(&key) && cache.get(&key).is_none());
                refused += 1;
            }
        }
    }
    assert!(refused > 50, "{refused}");
    assert_eq!(cache.stats().rejected, refused);
    assert!(store.resident() <= LIMIT);
    // What a persistent space holds was never touched.
    let mut back = [0; 4096];
    for key in 0..full.len() {
        full.get(key, &mut back).expect("accepted");
        assert!(back == page(key));
    }
    store.drop_space(&full);
    cache.insert(&1, &random(1, 60_000)).expect("there is room again");
    assert!(cache.get(&1).is_some());
    store.validate().expect("valid");
}

#[test]
fn a_value_that_is_too_long_is_an_error() {
    for &allocator in Allocator::ALL {
        let store = Store::builder().allocator(allocator).limit(LIMIT).build().expect("room");
        let cache: Cache<u64, Vec<u8>> = Cache::new(&store, CacheConfig::new()).expect("room");
        let most = Cache::<u64, Vec<u8>>::VALUE_BYTES_MAX;
        assert_eq!(most, 65_528);
        let longest = random(1, most);
        match cache.insert(&1, &longest) {
            Ok(()) => assert!(cache.get(&1) == Some(longest)),
            Err(CacheError::TooLong { len, max }) => {
                assert!(len >= most && max < most, "{allocator}: {len} {max}");
            }
            Err(error) => panic!("{allocator}: {error}"),
        }
        cache.insert(&1, &random(2, 100)).expect("room");
        let error = cache.insert(&1, &random(1, most + 1)).expect_err("too long");
        assert_eq!(error, CacheError::TooLong { len: most + 1, max: most });
        assert!(!cache.contains(&1), "not the old value");
    }
}

/// A value that does not always decode, and panics where it is told to.
struct Odd(u8);

impl CacheValue for Odd {
    fn encode(&self, buffer: &mut Vec<u8>) {
        if self.0 == b'e' {
            panic::resume_unwind(Box::new("told to"));
        }
        buffer.push(self.0);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [b'd'] => panic::resume_unwind(Box::new("told to")),
            [b'n'] => None,
            [byte] => Some(Self(*byte)),
            _ => None,
        }
    }
}

#[test]
fn a_value_that_does_not_decode_is_a_miss_and_goes() {
    let store = store();
    let cache: Cache<u64, Odd> = Cache::new(&store, CacheConfig::new()).expect("room");
    cache.insert(&1, &Odd(b'n')).expect("room");
    assert!(cache.contains(&1));
    assert!(cache.get(&1).is_none());
    assert!(!cache.contains(&1));
    let stats = cache.stats();
    assert_eq!((stats.undecodable, stats.misses, stats.entries, stats.evictions), (1, 1, 0, 0));
}

#[test]
fn a_panic_in_a_value_leaves_the_cache_as_it_was() {
    let store = store();
    let config = CacheConfig::new().weigher(|key: &u64, _: &Odd| {
        if *key == 9 {
            panic::resume_unwind(Box::new("told to"));
        }
        1
    });
    let cache: Cache<u64, Odd> = Cache::new(&store, config).expect("room");
    let caught = |f: &dyn Fn()| assert!(panic::catch_unwind(AssertUnwindSafe(f)).is_err());
    cache.insert(&1, &Odd(b'x')).expect("room");
    caught(&|| _ = cache.insert(&1, &Odd(b'e')));
    assert_eq!(cache.get(&1).map(|odd| odd.0), Some(b'x'));
    caught(&|| _ = cache.insert(&9, &Odd(b'x')));
    cache.insert(&2, &Odd(b'd')).expect("room");
    caught(&|| _ = cache.get(&2));
    caught(&|| _ = cache.get_or_insert_with(&3, || panic::resume_unwind(Box::new("told to"))));
    assert_eq!(cache.len(), 2);
    assert!(cache.remove(&2));
    assert_eq!(cache.stats().entries, cache.space_stats().stored);
    store.validate().expect("valid");
}

#[test]
fn values_are_made_once_and_errors_are_not_kept() {
    let store = store();
    let cache: Cache<str, String> = Cache::new(&store, CacheConfig::new()).expect("room");
    let failed: Result<String, &str> = cache.get_or_try_insert_with("key", || Err("no"));
    assert_eq!(failed, Err("no"));
    assert!(!cache.contains("key"));
    let mut made = 0;
    for _ in 0..3 {
        let value = cache.get_or_insert_with("key", || {
            made += 1;
            // Nothing is held meanwhile.
            cache.insert("other", &"inside".to_owned()).expect("room");
            cache.clear();
            "made".to_owned()
        });
        assert_eq!(value, "made");
    }
    assert_eq!(made, 1);
    // What cannot be kept is made, and returned.
    let long = "x".repeat(70_000);
    assert_eq!(cache.get_or_insert_with("long", || long.clone()), long);
    assert_eq!(cache.get("long"), None);
    assert_eq!(cache.stats().rejected, 1);
}

#[test]
fn what_the_store_drops_leaves_no_entry() {
    let store = store();
    let cache: Cache<u64, Vec<u8>> = Cache::new(&store, CacheConfig::new()).expect("room");
    for key in 0..1000 {
        cache.insert(&key, &random(key, 500)).expect("room");
    }
    store.shrink(usize::MAX);
    assert_eq!((cache.len(), cache.stats().weight, cache.stats().evictions), (0, 0, 1000));
    assert_eq!(cache.get(&1), None);
    cache.insert(&1, &random(1, 500)).expect("room");
    assert!(cache.get(&1).is_some());
}

#[test]
fn an_entry_whose_value_is_gone_before_the_report_is_a_miss() {
    let store = store();
    let cache: Cache<u64, Vec<u8>> = Cache::new(&store, CacheConfig::new()).expect("room");
    let looked = Arc::new(AtomicU64::new(0));
    type Both = (Store, Cache<u64, Vec<u8>>);
    let shared: Arc<OnceLock<Both>> = Arc::default();
    let config = {
        let (shared, looked) = (Arc::clone(&shared), Arc::clone(&looked));
        SpaceConfig::ephemeral(10).limit(5000).on_evict(move |_| {
            let Some((store, cache)) = shared.get() else { return };
            // Reports wait until this returns: entries are left whose values are gone.
            store.shrink(usize::MAX);
            assert_eq!(cache.len(), 100);
            assert!((0..40).all(|key| cache.get(&key).is_none() && !cache.contains(&key)));
            assert!((40..60).all(|key| !cache.remove(&key)));
            for key in 60..80 {
                cache.insert(&key, &vec![7; 10]).expect("there is room");
                assert_eq!(cache.get(&key), Some(vec![7; 10]));
            }
            looked.fetch_add(1, Ordering::Relaxed);
        })
    };
    let other = store.space(config).expect("room");
    for key in 0..100 {
        cache.insert(&key, &random(key, 500)).expect("room");
    }
    shared.set((store.clone(), cache.clone())).expect("set once");
    other.put_bytes(0, &random(0, 4000)).expect("room");
    other.put_bytes(1, &random(1, 4000)).expect("it drops the first");
    assert_eq!(looked.load(Ordering::Relaxed), 1);
    let stats = cache.stats();
    assert_eq!((stats.entries, stats.weight, cache.space_stats().stored), (20, 20, 20));
    assert!((60..80).all(|key| cache.get(&key) == Some(vec![7; 10])));
    store.drop_space(&other);
    store.validate().expect("valid");
}

/// A clock that lets the test do something in the middle of a get, between the look into the map and the read.
#[derive(Clone, Default)]
struct Meddler(Arc<Mutex<Option<Meddling>>>);

type Meddling = Box<dyn FnOnce() + Send>;

impl Clock for Meddler {
    fn now(&self) -> Duration {
        let meddle = self.0.lock().expect("no panic").take();
        meddle.into_iter().for_each(|meddle| meddle());
        Duration::ZERO
    }
}

#[test]
fn a_slot_that_is_used_again_in_the_middle_of_a_get_gives_no_other_value() {
    let (store, meddler) = (store(), Meddler::default());
    let config = CacheConfig::new()
        .entries_max(100)
        .time_to_live(Duration::from_secs(1))
        .clock(meddler.clone());
    let cache: Cache<u64, String> = Cache::new(&store, config).expect("room");
    let [one, two] = ["one", "two"].map(str::to_owned);
    // The only vacant slot is the one that the first value had.
    cache.insert(&1, &one).expect("room");
    *meddler.0.lock().expect("no panic") = Some(Box::new({
        let (cache, two) = (cache.clone(), two.clone());
        move || {
            assert!(cache.remove(&1));
            cache.insert(&2, &two).expect("room");
        }
    }));
    assert_eq!(cache.get(&1), None, "removed meanwhile");
    assert_eq!(cache.get(&2).as_ref(), Some(&two));
    // With a new value of the key itself, that is found.
    cache.insert(&1, &one).expect("room");
    *meddler.0.lock().expect("no panic") = Some(Box::new({
        let (cache, two) = (cache.clone(), two.clone());
        move || {
            assert!(cache.remove(&1));
            cache.insert(&3, &two).expect("room");
            cache.insert(&1, &two).expect("room");
        }
    }));
    assert_eq!(cache.get(&1).as_ref(), Some(&two));
    assert_eq!(cache.stats().undecodable, 0);
}

#[test]
fn a_cache_whose_space_was_dropped_says_so() {
    let store = store();
    let config = CacheConfig::new().name("answers");
    let cache: Cache<u64, String> = Cache::new(&store, config).expect("room");
    cache.insert(&1, &"one".to_owned()).expect("room");
    assert!(Cache::<u64, String>::new(&store, CacheConfig::new().name("answers")).is_err());
    store.drop_space(&store.find_space("answers").expect("it is a space"));
    assert_eq!(cache.get(&1), None);
    assert_eq!(cache.insert(&1, &"two".to_owned()), Err(CacheError::Dropped));
    assert!(!cache.remove(&1) && !cache.contains(&1));
    cache.clear();
    assert!(cache.is_empty());
    store.validate().expect("valid");
}

#[test]
fn clones_are_one_cache_and_caches_of_a_store_are_not() {
    let store = store();
    let one: Cache<str, String> = Cache::new(&store, CacheConfig::new()).expect("room");
    let two: Cache<str, String> = Cache::new(&store, CacheConfig::new()).expect("room");
    one.insert("key", &"one".to_owned()).expect("room");
    assert_eq!(one.clone().get("key").as_deref(), Some("one"));
    assert_eq!(two.get("key"), None);
    let bytes: Cache<[u8], Box<[u8]>> = Cache::new(&store, CacheConfig::new()).expect("room");
    bytes.insert(b"key", &b"value"[..].into()).expect("room");
    assert_eq!(bytes.get(b"key").as_deref(), Some(&b"value"[..]));
    assert_eq!(store.spaces().len(), 3);
}
