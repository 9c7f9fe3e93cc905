//! Bad use, each with its stated outcome, and what is allowed though it looks bad.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use pagefold_store::{
    CgroupLimit, GetError, KeyError, LimitFn, LimitSource, Page, PutError, SpaceConfig, Store,
    StoreBuildError, eviction::RandomOrder,
};
use pagefold_testkit::{corpus::PageKind, seed::Seed, watchdog};

const LIMIT: usize = 8 << 20;

fn store() -> Store {
    Store::builder().limit(LIMIT).build().expect("room")
}

fn random_page(seed: u64) -> Page {
    PageKind::Random.page(&mut Seed::new(seed).rng(0)).try_into().expect("a page")
}

#[test]
fn a_page_of_the_wrong_length_is_an_error() {
    let space = store().space(SpaceConfig::persistent(10)).expect("room");
    for len in [0, 1, 4095, 4097] {
        assert_eq!(space.put_from(0, &vec![1; len]), Err(PutError::WrongLength { len }));
        space.put(1, &[1; 4096]).expect("room");
        let got = space.get_into(1, &mut vec![0; len]);
        assert_eq!(got, Err(GetError::WrongLength { len: 4096, given: len }));
    }
}

#[test]
fn a_key_beyond_the_space_is_an_error() {
    let space = store().space(SpaceConfig::persistent(10)).expect("room");
    let mut page = [0; 4096];
    for key in [10, 11, u64::MAX] {
        let beyond = KeyError::Beyond { key, pages: 10 };
        assert_eq!(space.put(key, &page), Err(beyond.into()));
        assert_eq!(space.get(key, &mut page), Err(beyond.into()));
        assert_eq!(space.try_get(key, &mut page), Err(beyond.into()));
        assert_eq!(space.take(key, &mut page), Err(beyond.into()));
        assert_eq!(space.remove(key), Err(beyond));
        assert_eq!(space.contains(key), Err(beyond));
        assert_eq!(space.put_bytes(key, &[]), Err(beyond.into()));
        assert_eq!(space.get_bytes(key), Err(beyond.into()));
    }
    assert_eq!(space.remove_range(0..u64::MAX), Ok(0), "a range may end beyond");
    let empty = store().space(SpaceConfig::persistent(0)).expect("room");
    assert_eq!(empty.put(0, &page), Err(KeyError::Beyond { key: 0, pages: 0 }.into()));
}

#[test]
fn a_space_may_have_as_many_keys_as_there_are_numbers() {
    let store = store();
    let before = store.resident();
    let space = store.space(SpaceConfig::persistent(u64::MAX)).expect("room");
    assert!(store.resident() - before <= 32 << 10, "keys without a page take nothing");
    for key in [0, u64::MAX / 2, u64::MAX - 1] {
        space.put(key, &[7; 4096]).expect("room");
        assert_eq!(space.contains(key), Ok(true));
    }
    let beyond = KeyError::Beyond { key: u64::MAX, pages: u64::MAX };
    assert_eq!(space.put(u64::MAX, &[7; 4096]), Err(beyond.into()));
    assert_eq!(space.remove_range(0..u64::MAX), Ok(3));
}

#[test]
fn senseless_settings_are_errors() {
    let share = |builder: pagefold_store::StoreBuilder| {
        let error = builder.limit(LIMIT).build().expect_err("senseless");
        assert!(matches!(error, StoreBuildError::Share { .. }), "{error}");
    };
    share(Store::builder().accept_threshold(0));
    share(Store::builder().accept_threshold(101));
    share(Store::builder().watermarks(0, 50));
    share(Store::builder().watermarks(60, 50));
    share(Store::builder().watermarks(60, 101));
    let source = Box::new(LimitFn::new(|_| None));
    let error =
        Store::builder().shrinker(false).limit_source(source).build().expect_err("no thread");
    assert!(matches!(error, StoreBuildError::LimitSourceWithoutShrinker), "{error}");
}

#[test]
#[should_panic(expected = "dropped by its own store")]
fn a_space_of_another_store_is_not_dropped() {
    let space = store().space(SpaceConfig::persistent(1)).expect("room");
    store().drop_space(&space);
}

#[test]
fn everything_may_be_called_from_inside_a_statistics_callback() {
    watchdog::within(Duration::from_secs(60), "a callback that puts", || {
        let store = store();
        let spaces = [1, 2, 3].map(|_| store.space(SpaceConfig::ephemeral(10_000)).expect("room"));
        let mut seen = 0;
        store.visit_stats(&mut |_| {
            // What is put here shows in what follows.
            for key in 0..3000 {
                spaces[2].put(key, &random_page(key)).expect("it drops pages");
            }
            store.compact(1 << 20);
            store.shrink(1 << 20);
            store.set_limit(LIMIT).expect("as it is");
            store.drop_space(&spaces[1]);
            let _ = (store.stats(), spaces[0].stats());
            let late = store.space(SpaceConfig::persistent(10)).expect("room");
            late.put(0, &[1; 4096]).expect("room");
            seen += 1;
        });
        assert_eq!(seen, 2, "the one that was dropped is left out, and the late ones are gone");
        store.validate().expect("valid");
    });
}

#[test]
fn a_space_goes_with_its_last_handle_and_a_store_with_its_last_space() {
    let store = store();
    let space = store.space(SpaceConfig::persistent(100)).expect("room");
    let other = space.clone();
    space.put(0, &random_page(0)).expect("room");
    drop(space);
    assert_eq!(store.stats().payload_bytes, 4096, "a handle is left");
    let mut page = [0; 4096];
    other.get(0, &mut page).expect("there");
    drop(other);
    assert_eq!(store.stats().payload_bytes, 0);
    let space = store.space(SpaceConfig::persistent(100)).expect("room");
    drop(store);
    space.put(0, &random_page(1)).expect("a space keeps its store alive");
    space.get(0, &mut page).expect("there");
}

#[test]
fn a_space_may_be_dropped_while_it_is_read_and_written() {
    let seed = 9;
    for round in 0..20 {
        let store = store();
        let space = store.space(SpaceConfig::persistent(2000)).expect("room");
        thread::scope(|scope| {
            for number in 0..3 {
                let space = space.clone();
                scope.spawn(move || {
                    let mut page = [0; 4096];
                    for key in (0..2000).cycle() {
                        let dropped = if number == 0 {
                            let mine = random_page(seed + key);
                            space.put(key, &mine) == Err(PutError::Key(KeyError::Dropped))
                        } else {
                            match space.get(key, &mut page) {
                                Ok(()) => assert!(page == random_page(seed + key), "{key}"),
                                Err(GetError::Absent) => {}
                                Err(error) => assert_eq!(error, KeyError::Dropped.into()),
                            }
                            space.contains(key).is_err()
                        };
                        if dropped {
                            break;
                        }
                    }
                });
            }
            thread::sleep(Duration::from_millis(5 + round));
            store.drop_space(&space);
        });
        assert_eq!(store.stats().payload_bytes, 0, "an object without a key");
        store.validate().expect("valid");
    }
}

#[test]
fn another_order_fits_behind_the_trait() {
    let store = store();
    // Every key is put once, in an order that jumps about, so that no part of the space is fuller than another.
    const KEYS: u64 = 4096;
    let config = SpaceConfig::ephemeral(KEYS).order(Box::new(RandomOrder::new(1)));
    let space = store.space(config).expect("room");
    let key_of = |step: u64| step * 2_654_435_761 % KEYS;
    for step in 0..KEYS {
        space.put(key_of(step), &random_page(step)).expect("it drops pages");
        // All have been read, which means nothing to this order.
        let got = space.get(key_of(step), &mut [0; 4096]);
        assert!(
            matches!(got, Ok(()) | Err(GetError::Absent)),
            "the shrinker may be quick: {got:?}"
        );
    }
    let mut page = [0; 4096];
    let mut there = [0, 0];
    for step in 0..KEYS {
        match space.get(key_of(step), &mut page) {
            Ok(()) => {
                assert!(page == random_page(step), "{step}");
                there[usize::from(step >= KEYS / 2)] += 1;
            }
            Err(error) => assert_eq!(error, GetError::Absent),
        }
    }
    let [early, late] = there;
    assert!(early > 50 && late > early, "more of the late ones, some of the early: {there:?}");
    assert!(space.stats().evicted > 1500);
    store.validate().expect("valid");
}

/// Waits for something that another thread is to do.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < until, "{what}: not within 30 s");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_shrinker_keeps_a_store_below_its_high_watermark() {
    let store = Store::builder().limit(LIMIT).watermarks(50, 70).build().expect("room");
    let space = store.space(SpaceConfig::ephemeral(10_000)).expect("room");
    for key in 0..5000 {
        space.put(key, &random_page(key)).expect("it drops pages");
    }
    // Where it stopped last, puts may have filled up to the high one again, which did not wake it.
    eventually("below the high watermark", || store.resident() <= LIMIT / 100 * 70);
    assert!(store.stats().work.shrinker_steps > 0);
    assert!(space.len() > 500, "it stops there: {}", space.len());
}

#[test]
fn a_limit_source_moves_the_limit() {
    let wanted = Arc::new(AtomicUsize::new(LIMIT / 2));
    let source = {
        let wanted = Arc::clone(&wanted);
        LimitFn::new(move |_| Some(wanted.load(Ordering::Relaxed)))
    };
    let store = Store::builder().limit(LIMIT).limit_source(Box::new(source)).build().expect("room");
    let space = store.space(SpaceConfig::ephemeral(10_000)).expect("room");
    for key in 0..3000 {
        space.put(key, &random_page(key)).expect("it drops pages");
    }
    eventually("the lower limit", || store.limit() == LIMIT / 2);
    assert!(store.resident() <= LIMIT / 2);
    wanted.store(2 * LIMIT, Ordering::Relaxed);
    eventually("the higher limit", || store.limit() == 2 * LIMIT);
}

#[test]
fn a_store_ends_from_inside_its_own_limit_source() {
    // The source holds the last handle of a space, and drops it in the shrinker's thread.
    let held: Arc<Mutex<Option<pagefold_store::Space>>> = Arc::default();
    let done = Arc::new(AtomicBool::new(false));
    let source = {
        let (held, done) = (Arc::clone(&held), Arc::clone(&done));
        LimitFn::new(move |_| {
            if let Some(space) = held.lock().expect("no panic").take() {
                drop(space);
                done.store(true, Ordering::Relaxed);
            }
            None
        })
    };
    let store = Store::builder().limit(LIMIT).limit_source(Box::new(source)).build().expect("room");
    let space = store.space(SpaceConfig::persistent(10)).expect("room");
    drop(store);
    *held.lock().expect("no panic") = Some(space);
    eventually("the end", || done.load(Ordering::Relaxed));
}

#[test]
fn a_cgroup_leaves_half_of_its_room_and_takes_some_back_under_pressure() {
    use pagefold_sys::cgroup::Cgroup;

    let root = std::env::temp_dir().join(format!("pagefold-limit-{}", std::process::id()));
    let group = root.join("group");
    std::fs::create_dir_all(&group).expect("a temporary directory");
    let write = |name: &str, text: &str| std::fs::write(group.join(name), text).expect("writable");
    write("memory.current", "1000000\n");
    write("memory.high", "3000000\n");
    write("memory.max", "max\n");
    write("memory.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n");
    let mut limit = CgroupLimit::of(Cgroup::at(&root, &group), 100_000, 1_500_000);
    assert_eq!(limit.limit(400_000), Some(1_400_000), "half of the two million that are free");
    assert_eq!(limit.limit(800_000), Some(1_500_000), "not above its maximum");
    write("memory.pressure", "some avg10=12.00 avg60=0.00 avg300=0.00 total=0\n");
    assert_eq!(limit.limit(800_000), Some(600_000));
    assert_eq!(limit.limit(8_000), Some(100_000), "not below its minimum");
    write("memory.high", "max\n");
    write("memory.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n");
    assert_eq!(limit.limit(800_000), None, "no bound, no change");
    std::fs::remove_dir_all(&root).expect("ours");
}
