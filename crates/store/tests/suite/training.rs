//! Self-training: codecs of the store's own, adopted, given up, retired; and codecs that fail.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use pagefold_store::{GetError, Page, Space, SpaceConfig, Store, StoreBuilder, TryGetError};
use pagefold_testkit::seed::Seed;
use rand::RngExt as _;

use crate::training_codec::{Gives, Learner, STRANGE, Shared, page};

pub(super) const SAMPLES: usize = 20;
const WINDOW: u64 = 20;
/// More than a store looks away, and takes until the next training is due.
const LONG: u64 = 64 * WINDOW + WINDOW + 4 * SAMPLES as u64;
/// For tests that are not about time.
const ANY_TIME: u32 = u32::MAX;

/// Puts compress, and callers train.
pub(super) fn idle(gives: Gives, shared: &Arc<Shared>) -> StoreBuilder {
    let builder = Store::builder().limit(32 << 20).staging(0).workers(0).shrinker(false);
    builder.codec_with(Learner::new(gives, shared)).training_steps(SAMPLES, WINDOW, ANY_TIME)
}

pub(super) fn made(gives: Gives) -> (Store, Space, Arc<Shared>) {
    let shared = Arc::new(Shared::default());
    let store = idle(gives, &shared).build().expect("room");
    let space = store.space(SpaceConfig::persistent(100_000)).expect("room");
    (store, space, shared)
}

fn get(space: &Space, key: u64) -> Result<Page, GetError> {
    let mut page = [0; 4096];
    space.get(key, &mut page).map(|()| page)
}

/// Puts pages of a kind under the keys, in rounds, until another codec is current; puts one round with that codec.
pub(super) fn put_until_adopted(
    store: &Store,
    space: &Space,
    kind: u8,
    keys: std::ops::Range<u64>,
) {
    let before = store.stats().training.current;
    let mut left = 2 * LONG;
    while store.stats().training.current == before {
        for key in keys.clone() {
            space.put(key, &page(kind, key)).expect("room");
        }
        store.maintain(usize::MAX);
        left = left.saturating_sub(keys.end - keys.start);
        assert!(left > 0, "{:?}", store.stats().training);
    }
    keys.for_each(|key| space.put(key, &page(kind, key)).expect("room"));
}

pub(super) fn wait_until(what: &str, done: &dyn Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_store_trains_on_its_first_pages_and_keeps_what_it_had() {
    let (store, space, shared) = made(Gives::Good);
    let needed = SAMPLES as u64;
    (0..needed - 1).for_each(|key| space.put(key, &page(1, key)).expect("room"));
    store.maintain(usize::MAX);
    assert_eq!(store.stats().training.trained, 0, "one page is missing");
    space.put(needed - 1, &page(1, needed - 1)).expect("room");
    assert_eq!(store.stats().training.trained, 0, "a put does not train");
    store.maintain(usize::MAX);
    let training = store.stats().training;
    assert_eq!((training.trained, training.adopted, training.current), (1, 1, 2));
    assert!(training.time_ns > 0);
    (needed..100).for_each(|key| space.put(key, &page(1, key)).expect("room"));
    let stats = store.stats();
    assert_eq!(stats.training.codecs.len(), 1);
    let codec = stats.training.codecs[0];
    assert_eq!((codec.id, codec.objects, codec.bytes), (2, 80, 80 * 128));
    assert_eq!(stats.spaces[0].object_bytes, 20 * 512 + 80 * 128);
    (0..100).for_each(|key| assert_eq!(get(&space, key), Ok(page(1, key)), "{key}"));
    // Values stay with the base codec, and so do pages that are values of that length no more.
    space.put_bytes(3, &page(1, 3)[..4000]).expect("room");
    assert_eq!(space.get_bytes(3).expect("there"), page(1, 3)[..4000]);
    store.validate().expect("valid");
    let (json, text) = (stats.to_json(), stats.to_prometheus());
    assert!(json.contains(r#""codecs":[{"id":2,"objects":80,"bytes":10240}]"#), "{json}");
    assert!(text.contains("pagefold_store_trained_pages{codec=\"2\"} 80\n"), "{text}");
    drop((store, space));
    assert_eq!(shared.alive.load(Ordering::Relaxed), 0);
}

#[test]
fn what_changes_its_nature_is_trained_anew_and_the_old_codec_goes_with_its_last_page() {
    let (store, space, shared) = made(Gives::Good);
    put_until_adopted(&store, &space, 1, 0..200);
    put_until_adopted(&store, &space, 2, 200..400);
    let training = store.stats().training;
    assert_eq!((training.adopted, training.current, training.codecs.len()), (2, 3, 2));
    assert_eq!((training.codecs[0].objects, training.codecs[1].objects), (200, 200));
    (0..200).for_each(|key| assert_eq!(get(&space, key), Ok(page(1, key))));
    (200..400).for_each(|key| assert_eq!(get(&space, key), Ok(page(2, key))));
    store.validate().expect("valid");

    (1..200).for_each(|key| assert_eq!(space.remove(key), Ok(true)));
    store.maintain(0);
    assert_eq!(store.stats().training.codecs.len(), 2, "one page is left");
    space.put(0, &page(2, 0)).expect("room");
    store.maintain(0);
    let training = store.stats().training;
    assert_eq!((training.codecs.len(), training.codecs[0].id, training.retired), (1, 3, 1));
    assert_eq!(shared.alive.load(Ordering::Relaxed), 1, "its memory is free");
    (200..400).for_each(|key| assert_eq!(get(&space, key), Ok(page(2, key))));
    store.validate().expect("valid");
}

#[test]
fn what_cannot_be_learned_makes_the_store_give_its_dictionary_up() {
    let (store, space, _) = made(Gives::Good);
    put_until_adopted(&store, &space, 1, 0..100);
    put_until_adopted(&store, &space, STRANGE, 100..200);
    let training = store.stats().training;
    assert_eq!((training.given_up, training.adopted, training.current), (1, 1, 1));
    (0..100).for_each(|key| assert_eq!(get(&space, key), Ok(page(1, key))));
    (100..200).for_each(|key| assert_eq!(get(&space, key), Ok(page(STRANGE, key))));
    store.validate().expect("valid");
    // And comes back when it suits again.
    put_until_adopted(&store, &space, 3, 0..200);
    store.maintain(0);
    let training = store.stats().training;
    assert_eq!((training.adopted, training.current, training.codecs.len()), (2, 3, 1));
    store.validate().expect("valid");
}

#[test]
fn pages_that_do_not_shrink_change_nothing() {
    let (store, space, _) = made(Gives::Good);
    put_until_adopted(&store, &space, 1, 0..100);
    let mut rng = Seed::for_test(0x60).rng(0);
    for key in 100..100 + LONG {
        let random: Page = std::array::from_fn(|_| rng.random());
        space.put(key, &random).expect("room");
    }
    store.maintain(usize::MAX);
    let training = store.stats().training;
    assert_eq!((training.trained, training.current), (1, 2));
    (0..100).for_each(|key| assert_eq!(get(&space, key), Ok(page(1, key))));
    store.validate().expect("valid");
}

#[test]
fn ids_come_back_for_the_whole_life_of_a_store() {
    let (store, space, shared) = made(Gives::Good);
    let mut seen = [0; 16];
    for kind in 1..=40 {
        put_until_adopted(&store, &space, kind, 0..100);
        store.maintain(0);
        let training = store.stats().training;
        seen[usize::from(training.current)] += 1;
        assert_eq!(training.codecs.len(), 1, "the last one was overwritten");
        assert_eq!(shared.alive.load(Ordering::Relaxed), 1);
        (0..100).for_each(|key| assert_eq!(get(&space, key), Ok(page(kind, key))));
    }
    assert_eq!(store.stats().training.adopted, 40);
    assert!(seen[0] == 0 && seen[1] == 0 && seen.iter().any(|times| *times > 15), "{seen:?}");
    store.validate().expect("valid");
}

#[test]
fn without_a_free_id_nothing_is_trained_until_one_comes_back() {
    let (store, space, shared) = made(Gives::Good);
    for kind in 1..=14 {
        put_until_adopted(&store, &space, kind, 0..100);
        // A page that stays.
        space.put(1000 + u64::from(kind), &page(kind, 7)).expect("room");
    }
    let trainings = shared.trainings.load(Ordering::Relaxed);
    let training = store.stats().training;
    assert_eq!((training.codecs.len(), training.adopted), (14, 14));
    for key in 0..LONG {
        space.put(key % 100, &page(99, key)).expect("room");
    }
    store.maintain(usize::MAX);
    assert_eq!(shared.trainings.load(Ordering::Relaxed), trainings);
    assert!(store.stats().training.without_id > 0);
    (1..=14).for_each(|kind| assert_eq!(get(&space, 1000 + u64::from(kind)), Ok(page(kind, 7))));
    store.validate().expect("valid");

    assert_eq!(space.remove(1005), Ok(true));
    put_until_adopted(&store, &space, 99, 0..100);
    assert_eq!(store.stats().training.current, 6, "the one that the page had");
    (0..100).for_each(|key| assert_eq!(get(&space, key), Ok(page(99, key))));
    store.validate().expect("valid");
}

#[test]
fn a_codec_that_fails_ends_training_and_nothing_else() {
    for gives in [Gives::Panic, Gives::Liar, Gives::Panicking, Gives::Broken, Gives::Changed] {
        let (store, space, shared) = made(gives);
        for key in 0..LONG {
            space.put(key, &page(u8::from(key > 100), key)).expect("room");
            store.maintain(usize::MAX);
        }
        let training = store.stats().training;
        assert_eq!((training.failures, training.adopted, training.current), (1, 0, 1), "{gives:?}");
        assert_eq!(shared.trainings.load(Ordering::Relaxed), 1, "{gives:?}");
        assert_eq!(shared.alive.load(Ordering::Relaxed), 0, "{gives:?}");
        for key in 0..LONG {
            assert_eq!(get(&space, key), Ok(page(u8::from(key > 100), key)));
        }
        store.validate().expect("valid");
    }
}

#[test]
fn a_codec_that_panics_when_it_is_released_trains_and_retires_all_the_same() {
    let shared = Arc::new(Shared::default());
    let store = idle(Gives::Unreleased, &shared).build().expect("room");
    let space = store.space(SpaceConfig::persistent(100_000)).expect("room");
    for kind in [1, 2, 3] {
        put_until_adopted(&store, &space, kind, 0..200);
    }
    store.maintain(0);
    let training = store.stats().training;
    assert!(training.adopted >= 3 && training.retired >= 2, "{training:?}");
    assert_eq!(training.failures, 0, "{training:?}");
    store.validate().expect("valid");
}

#[test]
fn what_is_no_better_is_not_adopted() {
    for gives in [Gives::Nothing, Gives::NoShorter, Gives::Slower] {
        let shared = Arc::new(Shared::default());
        let builder = idle(gives, &shared).training_steps(SAMPLES, WINDOW, 105);
        let store = builder.build().expect("room");
        let space = store.space(SpaceConfig::persistent(100_000)).expect("room");
        for key in 0..LONG {
            space.put(key, &page(1, key)).expect("room");
            store.maintain(usize::MAX);
        }
        let training = store.stats().training;
        assert_eq!((training.trained, training.adopted, training.current), (1, 0, 1), "{gives:?}");
        assert_eq!(training.failures, 0, "{gives:?}");
        assert_eq!(shared.alive.load(Ordering::Relaxed), 0);
        store.validate().expect("valid");
    }
}

#[test]
fn of_threads_that_maintain_one_trains() {
    let (store, space, shared) = made(Gives::Good);
    shared.sleeps.store(20, Ordering::Relaxed);
    (0..SAMPLES as u64).for_each(|key| space.put(key, &page(1, key)).expect("room"));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| store.maintain(usize::MAX));
        }
    });
    assert_eq!(shared.trainings.load(Ordering::Relaxed), 1);
    assert_eq!(store.stats().training.adopted, 1);
    store.validate().expect("valid");
}

#[test]
fn a_worker_trains_by_itself_and_a_paused_one_does_not() {
    for staging in [0, 64 * 4096] {
        let shared = Arc::new(Shared::default());
        let builder = idle(Gives::Good, &shared).workers(1).staging(staging);
        let store = builder.build().expect("room");
        let space = store.space(SpaceConfig::persistent(1000)).expect("room");
        wait_until("a worker", &|| store.stats().staging.workers == 1);
        store.pause_workers();
        thread::sleep(Duration::from_millis(20));
        (0..100).for_each(|key| space.put(key, &page(1, key)).expect("room"));
        store.flush();
        store.maintain(usize::MAX);
        thread::sleep(Duration::from_millis(20));
        assert_eq!(store.stats().training.trained, 0, "a store with workers trains there");
        store.resume_workers();
        wait_until("adopted", &|| store.stats().training.adopted == 1);
        (0..100).for_each(|key| assert_eq!(get(&space, key), Ok(page(1, key))));
        store.validate().expect("valid");
    }
}

#[test]
fn a_store_ends_while_it_trains() {
    let shared = Arc::new(Shared::default());
    shared.sleeps.store(50, Ordering::Relaxed);
    let store = idle(Gives::Good, &shared).workers(1).build().expect("room");
    let space = store.space(SpaceConfig::persistent(1000)).expect("room");
    (0..100).for_each(|key| space.put(key, &page(1, key)).expect("room"));
    wait_until("training", &|| shared.trainings.load(Ordering::Relaxed) == 1);
    drop(space);
    drop(store);
    assert_eq!(shared.alive.load(Ordering::Relaxed), 0);
}

#[test]
fn off_means_that_nothing_is_trained() {
    let shared = Arc::new(Shared::default());
    let store = idle(Gives::Good, &shared).self_training(false).build().expect("room");
    let space = store.space(SpaceConfig::persistent(1000)).expect("room");
    (0..1000).for_each(|key| space.put(key, &page(1, key)).expect("room"));
    store.maintain(usize::MAX);
    let training = store.stats().training;
    assert_eq!((training.on, training.trained, training.current), (false, 0, 1));
    assert_eq!(shared.trainings.load(Ordering::Relaxed), 0);
    store.validate().expect("valid");
}

#[test]
fn every_way_out_uncounts_the_pages_of_a_trained_codec() {
    let (store, space, _) = made(Gives::Good);
    put_until_adopted(&store, &space, 1, 0..100);
    let other = store.space(SpaceConfig::ephemeral(1000)).expect("room");
    (0..100).for_each(|key| other.put(key, &page(1, key)).expect("room"));
    let pages = || store.stats().training.codecs[0].objects;
    assert_eq!(pages(), 200);
    let mut found = [0; 4096];
    space.take(0, &mut found).expect("there");
    assert_eq!(found, page(1, 0));
    assert_eq!(space.remove(1), Ok(true));
    space.put_bytes(2, b"a value").expect("room");
    space.put(3, &[0; 4096]).expect("room");
    assert_eq!(space.update(4, |page| *page = self::page(1, 1004)), Ok(true));
    let version = space.get_versioned(5, &mut found).expect("there");
    assert_eq!(space.remove_if(5, version), Ok(true));
    assert_eq!((pages(), get(&space, 4)), (195, Ok(page(1, 1004))));
    store.validate().expect("valid");
    assert_eq!(store.shrink(usize::MAX).evicted, 100);
    assert_eq!(pages(), 95);
    space.resize(50).expect("fewer");
    assert_eq!(pages(), 45);
    store.validate().expect("valid");
    store.drop_space(&space);
    assert_eq!(pages(), 0);
    store.maintain(0);
    assert_eq!(store.stats().training.codecs.len(), 1, "the current one stays");
    store.validate().expect("valid");
}

#[test]
fn a_listener_may_maintain_while_a_codec_waits_to_retire() {
    let (store, space, _) = made(Gives::Good);
    put_until_adopted(&store, &space, 1, 0..100);
    put_until_adopted(&store, &space, 2, 0..100);
    assert_eq!(store.stats().training.codecs.len(), 2);
    let inner = store.clone();
    let config = SpaceConfig::ephemeral(10).on_evict(move |_| _ = inner.maintain(usize::MAX));
    let other = store.space(config).expect("room");
    other.put(1, &page(2, 1)).expect("room");
    store.shrink(usize::MAX);
    assert_eq!(store.stats().training.codecs.len(), 2, "not inside an operation");
    store.maintain(0);
    assert_eq!(store.stats().training.codecs.len(), 1);
    store.drop_space(&other);
    store.validate().expect("valid");
}

/// Writers change the kind of all pages again and again; a worker trains, and retires what they leave. Readers beside it
/// find whole pages, by `get` and `try_get`.
#[test]
fn beside_training_and_retirement_every_get_finds_a_page() {
    let shared = Arc::new(Shared::default());
    let builder = idle(Gives::Good, &shared).workers(2).staging(32 * 4096).shrinker(true);
    let store = builder.build().expect("room");
    let space = store.space(SpaceConfig::persistent(64)).expect("room");
    (0..64).for_each(|key| space.put(key, &page(1, key)).expect("room"));
    let done = AtomicBool::new(false);
    let check = |key: u64, found: &Page| {
        assert_eq!(*found, page(found[0], key), "torn, or of another codec");
    };
    thread::scope(|scope| {
        for never_waits in [false, true] {
            let (done, space) = (&done, &space);
            scope.spawn(move || {
                let (mut found, mut blocked) = ([0; 4096], 0);
                while !done.load(Ordering::Relaxed) {
                    for key in 0..64 {
                        if !never_waits {
                            space.get(key, &mut found).expect("there");
                            check(key, &found);
                            continue;
                        }
                        match space.try_get(key, &mut found) {
                            Ok(()) => check(key, &found),
                            Err(TryGetError::WouldBlock) => blocked += 1,
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
                blocked
            });
        }
        let began = Instant::now();
        let mut round = 0_u64;
        while store.stats().training.retired < 10 {
            assert!(began.elapsed() < Duration::from_secs(120), "{:?}", store.stats().training);
            let kind = u8::try_from(round / 30 % 100).expect("small");
            (0..64).for_each(|key| space.put(key, &page(kind, key)).expect("room"));
            store.flush();
            round += 1;
        }
        done.store(true, Ordering::Relaxed);
    });
    let training = store.stats().training;
    assert_eq!(training.failures, 0);
    store.validate().expect("valid");
    drop((space, store));
    assert_eq!(shared.alive.load(Ordering::Relaxed), 0);
}

/// Text of records, which no dictionary of heaps has seen.
fn records(kind: u8, number: u64) -> Page {
    let mut rng = Seed::for_test(0x61).rng(number << 8 | u64::from(kind));
    let mut record = || match kind {
        0 => format!(
            "{{\"id\": {}, \"owner\": \"user {}\", \"state\": \"{}\"}}\n",
            rng.random_range(0..1_000_000),
            rng.random_range(0..770),
            ["open", "waiting", "closed"][rng.random_range(0..3)],
        ),
        _ => format!(
            "<row key='{:x}'><cell>{}</cell><cell kind='total'>{}</cell></row>",
            rng.random_range(0..1_000_000),
            ["north", "south", "east", "west"][rng.random_range(0..4)],
            rng.random_range(0..5000),
        ),
    };
    let text: String = (0..100).map(|_| record()).collect();
    *text.as_bytes().first_chunk().expect("longer than a page")
}

#[test]
fn the_default_codec_gets_denser_on_pages_of_one_kind_and_follows_another() {
    let builder = Store::builder().limit(64 << 20).training_steps(1000, 512, ANY_TIME);
    let store = builder.build().expect("room");
    if !store.stats().training.on {
        // A build without zstd.
        return;
    }
    let space = store.space(SpaceConfig::persistent(100_000)).expect("room");
    let put = |kind, keys: std::ops::Range<u64>| {
        keys.for_each(|key| space.put(key, &records(kind, key)).expect("room"));
        store.flush();
    };
    let check = |kind, keys: std::ops::Range<u64>| {
        keys.for_each(|key| assert_eq!(get(&space, key), Ok(records(kind, key)), "{kind} {key}"));
    };
    let bytes = || store.stats().spaces[0].object_bytes;
    let adopted = || store.stats().training.adopted;
    put(0, 0..1000);
    let before = bytes();
    // A page whose thread finds the samples locked is not counted, so a thousand may not be enough.
    let mut key = 1000;
    while adopted() < 1 {
        assert!(key < 3000, "{:?}", store.stats().training);
        put(0, key..key + 10);
        key += 10;
        thread::sleep(Duration::from_millis(10));
    }
    check(0, 0..key);
    let builtin = bytes();
    put(0, key..key + 1000);
    let others = key + 1000;
    let own = bytes() - builtin;
    assert!(own * 100 <= before * 98, "{own} bytes after {before}");
    check(0, 0..others);
    store.validate().expect("valid");

    let mut key = others;
    while adopted() < 2 {
        assert!(key < 40_000, "{:?}", store.stats().training);
        put(1, key..key + 500);
        key += 500;
        thread::sleep(Duration::from_millis(10));
    }
    put(1, key..key + 500);
    check(0, 0..others);
    check(1, others..key + 500);
    let codecs = store.stats().training.codecs;
    assert_eq!(codecs.len(), 2, "{codecs:?}");
    store.validate().expect("valid");
    // Nothing that the first one made is left.
    space.remove_range(0..key).expect("alive");
    store.maintain(0);
    let training = store.stats().training;
    assert_eq!((training.codecs.len(), training.retired, training.failures), (1, 1, 0));
    check(1, key..key + 500);
    store.validate().expect("valid");
}

#[test]
fn a_space_that_is_dropped_beside_a_training_leaves_nothing() {
    for round in 0..20 {
        let shared = Arc::new(Shared::default());
        let builder = idle(Gives::Good, &shared).workers(1);
        let store = builder.training_steps(500, WINDOW, ANY_TIME).build().expect("room");
        let space = store.space(SpaceConfig::persistent(1000)).expect("room");
        (0..600 + round).for_each(|key| space.put(key, &page(1, key)).expect("room"));
        store.drop_space(&space);
        // A free beside the read of a neighbour is made up for by the reader.
        wait_until("nothing is left", &|| store.stats().payload_bytes == 0);
        store.validate().expect("valid");
        drop((space, store));
        assert_eq!(shared.alive.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn a_training_reads_what_was_put_over_its_samples() {
    let shared = Arc::new(Shared::default());
    let store = idle(Gives::Good, &shared).staging(1 << 20).idle_share(0).build().expect("room");
    let space = store.space(SpaceConfig::persistent(1000)).expect("room");
    let put_all = || {
        (0..SAMPLES as u64).for_each(|key| space.put(key, &page(1, key)).expect("room"));
    };
    put_all();
    store.flush();
    // Each sampled key has a page now that waits in staging.
    put_all();
    assert_eq!(store.stats().staging.pages, SAMPLES as u64);
    store.idle_pass();
    let training = store.stats().training;
    assert_eq!((training.trained, training.adopted), (1, 1), "{training:?}");
    store.flush();
    store.validate().expect("valid");
}
