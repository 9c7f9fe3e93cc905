//! Self-training and the limit: the room that a training takes, and who waits for it.

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
};

use pagefold_store::SpaceConfig;
use pagefold_testkit::seed::Seed;
use rand::RngExt as _;

use crate::{
    training::{SAMPLES, idle, made, put_until_adopted, wait_until},
    training_codec::{Gives, Shared, page},
};

#[test]
fn a_store_without_room_trains_later() {
    let (store, space, shared) = made(Gives::Good);
    shared.train_bytes.store(32 << 20, Ordering::Relaxed);
    for key in 0..200 {
        space.put(key, &page(1, key)).expect("room");
        store.maintain(usize::MAX);
        assert!(store.resident() <= 32 << 20);
    }
    let training = store.stats().training;
    assert_eq!(training.trained, 0);
    assert!((2..=6).contains(&training.without_room), "less often each time: {training:?}");
    assert_eq!(store.stats().spaces[0].evicted, 0);
    shared.train_bytes.store(1 << 20, Ordering::Relaxed);
    let before = store.stats().metadata_bytes;
    put_until_adopted(&store, &space, 1, 0..200);
    let more = store.stats().metadata_bytes - before;
    assert!((8192..1 << 20).contains(&more), "the codec is charged, the training is over: {more}");
    store.validate().expect("valid");
}

#[test]
fn what_training_takes_counts_against_the_limit_and_drops_nothing() {
    let shared = Arc::new(Shared::default());
    shared.sleeps.store(200, Ordering::Relaxed);
    shared.train_bytes.store(4 << 20, Ordering::Relaxed);
    let store = idle(Gives::Good, &shared).build().expect("room");
    let space = store.space(SpaceConfig::ephemeral(100_000)).expect("room");
    (0..100).for_each(|key| space.put(key, &page(1, key)).expect("room"));
    let before = store.resident();
    thread::scope(|scope| {
        let trains = scope.spawn(|| store.maintain(usize::MAX));
        wait_until("training", &|| shared.trainings.load(Ordering::Relaxed) == 1);
        assert!(store.resident() >= before + (4 << 20));
        trains.join().expect("no panic");
    });
    assert!(store.resident() < before + (1 << 20));
    assert_eq!((store.stats().training.adopted, store.stats().spaces[0].evicted), (1, 0));
    store.validate().expect("valid");
}

#[test]
fn for_the_room_that_a_training_has_no_put_is_refused() {
    for high in [95, 100] {
        let shared = Arc::new(Shared::default());
        shared.sleeps.store(300, Ordering::Relaxed);
        shared.train_bytes.store(20 << 20, Ordering::Relaxed);
        let builder = idle(Gives::Nothing, &shared).workers(1).idle_share(0).shrinker(true);
        let store = builder.watermarks(90, high).build().expect("room");
        let space = store.space(SpaceConfig::persistent(100_000)).expect("room");
        let first = SAMPLES as u64;
        (0..first).for_each(|key| space.put(key, &page(1, key)).expect("room"));
        wait_until("a training", &|| shared.trainings.load(Ordering::Relaxed) == 1);
        let mut rng = Seed::for_test(0x62).rng(0);
        // Three quarters of the limit, incompressible.
        let pages = first..first + (24 << 20) / 4096;
        for key in pages.clone() {
            let mut page = [0; 4096];
            rng.fill(&mut page[..]);
            space.put(key, &page).expect("room that a training has for a moment");
        }
        assert_eq!(store.stats().stored, pages.end);
        assert!(store.resident() <= store.limit());
        store.validate().expect("valid");
    }
}

/// An ephemeral space does not wait: it drops what its puts need, and the shrinker drops nothing for a training.
#[test]
fn the_shrinker_drops_no_page_for_a_training() {
    let shared = Arc::new(Shared::default());
    shared.sleeps.store(300, Ordering::Relaxed);
    shared.train_bytes.store(20 << 20, Ordering::Relaxed);
    let builder = idle(Gives::Nothing, &shared).workers(1).idle_share(0).shrinker(true);
    let store = builder.build().expect("room");
    let space = store.space(SpaceConfig::ephemeral(100_000)).expect("room");
    let first = SAMPLES as u64;
    let mut rng = Seed::for_test(0x63).rng(0);
    let mut put = |keys: std::ops::Range<u64>| {
        for key in keys {
            let mut page = [0; 4096];
            rng.fill(&mut page[..]);
            space.put(key, &page).expect("ephemeral");
        }
    };
    let many = first + (9 << 20) / 4096;
    put(first..many);
    (0..first).for_each(|key| space.put(key, &page(1, key)).expect("ephemeral"));
    wait_until("a training", &|| shared.trainings.load(Ordering::Relaxed) == 1);
    // Above the high watermark puts wake the shrinker.
    put(many..many + 350);
    assert!(store.resident() > store.limit() / 100 * 95);
    wait_until("its end", &|| store.stats().training.trained == 1);
    assert_eq!((store.stats().stored, space.stats().evicted), (many + 350, 0));
    store.validate().expect("valid");
}
