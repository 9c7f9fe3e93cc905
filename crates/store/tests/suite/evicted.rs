//! What a space reports of the pages that it drops: each once, nothing else, from outside of every lock.

use std::{
    cell::Cell,
    collections::BTreeSet,
    sync::{
        Arc, Barrier, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use pagefold_store::{
    GetError, Page, PreviousValue, PutError, ReachedLimit, Space, SpaceConfig, Store, StoreBuilder,
};
use pagefold_testkit::{corpus::PageKind, seed::Seed, watchdog};

const LIMIT: usize = 8 << 20;

fn builder() -> StoreBuilder {
    Store::builder().limit(LIMIT).shrinker(false)
}

fn random_page(seed: u64) -> Page {
    PageKind::Random.page(&mut Seed::new(seed).rng(0)).try_into().expect("a page")
}

/// A space, and the keys that it reported.
fn recorded(store: &Store, config: SpaceConfig) -> (Space, Arc<Mutex<Vec<u64>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let config = {
        let seen = Arc::clone(&seen);
        config.on_evict(move |key| seen.lock().expect("no panic").push(key))
    };
    (store.space(config).expect("room"), seen)
}

#[test]
fn each_page_dropped_for_room_is_reported_once_and_nothing_else_is() {
    const KEYS: u64 = 5000;
    let store = builder().build().expect("room");
    let (space, seen) = recorded(&store, SpaceConfig::ephemeral(KEYS));
    for key in 0..KEYS {
        space.put(key, &random_page(key)).expect("it drops pages");
    }
    let there = |key: &u64| space.contains(*key).expect("a key");
    let check = |gone_otherwise: &BTreeSet<u64>| {
        let mut seen = seen.lock().expect("no panic").clone();
        assert_eq!(seen.len() as u64, space.stats().evicted);
        seen.sort_unstable();
        let absent: Vec<u64> =
            (0..KEYS).filter(|key| !there(key) && !gone_otherwise.contains(key)).collect();
        assert_eq!(seen, absent, "reported, and gone");
        seen.len()
    };
    assert!(check(&BTreeSet::new()) > 2000);

    // What a call takes out by intent is not reported, nor is what is put over.
    let mut left = (0..KEYS).filter(there);
    let [over, removed, taken] = [(); 3].map(|()| left.next().expect("some are left"));
    space.put(over, &[7; 4096]).expect("room");
    assert!(space.remove(removed).expect("a key"));
    space.take(taken, &mut [0; 4096]).expect("there");
    let first = taken + 1;
    let range: BTreeSet<u64> = (first..first + 500).filter(there).collect();
    space.remove_range(first..first + 500).expect("alive");
    let gone = &range | &BTreeSet::from([removed, taken]);
    let before = check(&gone);
    store.shrink(4 << 20);
    let after_shrink = check(&gone);
    assert!(after_shrink > before);
    store.set_limit(LIMIT / 4).expect("it drops what does not fit");
    assert!(check(&gone) > after_shrink);
    let reported = seen.lock().expect("no panic").len();
    store.drop_space(&space);
    assert_eq!(seen.lock().expect("no panic").len(), reported);
    store.validate().expect("valid");
}

#[test]
fn the_old_value_of_a_refused_overwrite_is_reported() {
    let store = builder().build().expect("room");
    let (space, seen) = recorded(&store, SpaceConfig::ephemeral(10).limit(1000));
    // A page that takes no memory makes no room either, so it is there to the last.
    space.put(3, &[7; 4096]).expect("room");
    let full = PutError::Full { limit: ReachedLimit::Space, previous: PreviousValue::Dropped };
    assert_eq!(space.put(3, &random_page(1)), Err(full));
    assert_eq!(*seen.lock().expect("no panic"), [3]);
    // Nothing was under this one.
    let full = PutError::Full { limit: ReachedLimit::Space, previous: PreviousValue::Absent };
    assert_eq!(space.put(4, &random_page(1)), Err(full));
    assert_eq!(*seen.lock().expect("no panic"), [3]);
    // A persistent space keeps the old value.
    let (space, seen) = recorded(&store, SpaceConfig::persistent(10).limit(1000));
    space.put_bytes(3, b"short").expect("room");
    space.put(3, &random_page(1)).expect_err("above the limit");
    assert!(seen.lock().expect("no panic").is_empty());
    assert_eq!(space.get_bytes(3).expect("there"), b"short");
}

#[test]
fn a_page_is_gone_when_it_is_reported() {
    let store = builder().build().expect("room");
    let space: Arc<OnceLock<Space>> = Arc::default();
    let (wrong, reports) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let config = {
        let (space, wrong, reports) =
            (Arc::clone(&space), Arc::clone(&wrong), Arc::clone(&reports));
        SpaceConfig::ephemeral(5000).on_evict(move |key| {
            let got = space.get().map(|space| space.get(key, &mut [0; 4096]));
            let is_gone = got == Some(Err(GetError::Absent));
            wrong.fetch_add(u64::from(!is_gone), Ordering::Relaxed);
            reports.fetch_add(1, Ordering::Relaxed);
        })
    };
    let space = space.get_or_init(|| store.space(config).expect("room"));
    for key in 0..5000 {
        space.put(key, &random_page(key)).expect("it drops pages");
    }
    assert!(reports.load(Ordering::Relaxed) > 2000);
    assert_eq!(wrong.load(Ordering::Relaxed), 0);
    // The listener holds a handle of its own space.
    store.drop_space(space);
}

#[test]
fn everything_may_be_called_from_inside_a_listener() {
    watchdog::within(Duration::from_secs(120), "a listener that uses the store", || {
        let store = builder().build().expect("room");
        let other = store.space(SpaceConfig::ephemeral(10_000).name("other")).expect("room");
        let calls = Arc::new(AtomicU64::new(0));
        let config = {
            let (store, other, calls) = (store.clone(), other.clone(), Arc::clone(&calls));
            SpaceConfig::ephemeral(10_000).on_evict(move |key| {
                let number = calls.fetch_add(1, Ordering::Relaxed);
                if number > 2000 {
                    // A listener that gives what was dropped a new place for ever would never end.
                    return;
                }
                other.put(key, &random_page(key)).expect("it drops pages");
                let got = other.get(key, &mut [0; 4096]);
                assert!(matches!(got, Ok(()) | Err(GetError::Absent)));
                if number.is_multiple_of(100) {
                    store.compact(1 << 20);
                    store.shrink(1 << 16);
                    let _ = (store.stats(), other.stats());
                    drop(store.space(SpaceConfig::persistent(10).name(number.to_string())));
                    store.set_limit(LIMIT).expect("as it is");
                }
            })
        };
        let space = store.space(config).expect("room");
        for key in 0..5000 {
            space.put(key, &random_page(key)).expect("it drops pages");
        }
        assert!(calls.load(Ordering::Relaxed) > 2000 && other.stats().puts > 1000);
        assert_eq!(space.stats().listener_panics, 0);
        store.validate().expect("valid");
        store.drop_space(&space);
    });
}

#[test]
fn more_threads_than_contexts_may_put_from_inside_a_listener() {
    thread_local! {
        static WAITED: Cell<bool> = const { Cell::new(false) };
    }
    const THREADS: u64 = 40;
    watchdog::within(Duration::from_secs(120), "puts inside of puts", || {
        let store = builder().build().expect("room");
        let other = store.space(SpaceConfig::ephemeral(THREADS)).expect("room");
        let barrier = Arc::new(Barrier::new(40));
        let config = {
            let (other, barrier) = (other.clone(), Arc::clone(&barrier));
            SpaceConfig::ephemeral(THREADS * 10_000).on_evict(move |key| {
                if !WAITED.replace(true) {
                    // All threads are inside of a put now.
                    barrier.wait();
                    other.put(key % THREADS, &random_page(key)).expect("it drops pages");
                    other.put_bytes(key % THREADS, &[1; 100]).expect("it drops pages");
                }
            })
        };
        let space = store.space(config).expect("room");
        thread::scope(|scope| {
            for number in 0..THREADS {
                let space = &space;
                scope.spawn(move || {
                    for key in (0..10_000).map(|step| step * THREADS + number) {
                        if WAITED.get() {
                            return;
                        }
                        space.put(key, &random_page(key)).expect("it drops pages");
                    }
                    panic!("nothing was dropped");
                });
            }
        });
        store.validate().expect("valid");
    });
}

#[test]
fn a_listener_that_panics_is_counted_and_the_shrinker_goes_on() {
    let builder = Store::builder().limit(LIMIT).watermarks(50, 70);
    let store = builder.build().expect("room");
    let calls = Arc::new(AtomicU64::new(0));
    let quiet = Arc::new(AtomicBool::new(false));
    let config = {
        let (calls, quiet) = (Arc::clone(&calls), Arc::clone(&quiet));
        SpaceConfig::ephemeral(10_000).on_evict(move |_| {
            calls.fetch_add(1, Ordering::Relaxed);
            if !quiet.load(Ordering::Relaxed) {
                // Without the message of the panic hook, thousands of times.
                std::panic::resume_unwind(Box::new("told to"));
            }
        })
    };
    let space = store.space(config).expect("room");
    for round in 0..2 {
        quiet.store(round == 1, Ordering::Relaxed);
        let before = store.stats().work.shrinker_steps;
        let mut key = 0;
        // Until the shrinker's thread, too, has dropped something in this round.
        while store.stats().work.shrinker_steps < before + 20 {
            space.put(key % 10_000, &random_page(key)).expect("it drops pages");
            key += 1;
        }
    }
    let stats = space.stats();
    assert!(stats.listener_panics > 0 && stats.listener_panics < stats.evicted, "{stats:?}");
    assert!(store.stats().to_prometheus().contains("pagefold_store_listener_panics_total{"));
}
