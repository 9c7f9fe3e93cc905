//! Iteration over used keys: in order, what is there throughout once, and nothing held between two steps.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use pagefold_store::{SpaceConfig, Store};
use pagefold_testkit::seed::Seed;
use rand::RngExt;

const LIMIT: usize = 16 << 20;
const KEYS: u64 = 1 << 20;

fn store() -> Store {
    Store::builder().limit(LIMIT).shrinker(false).build().expect("room")
}

/// Says that it is over when it goes, by a failed assertion too: the other threads of a test then end.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_range_has_the_keys_that_a_set_has() {
    let store = store();
    let space = store.space(SpaceConfig::persistent(KEYS)).expect("room");
    let mut rng = Seed::for_test(0x6e).rng(0);
    let mut set = BTreeSet::from([0, 511, 512, KEYS - 1]);
    set.extend((0..300).map(|_| rng.random_range(0..KEYS)));
    set.extend((0..300).map(|_| rng.random_range(70_000..71_000)));
    for key in &set {
        space.put_bytes(*key, &key.to_ne_bytes()).expect("room");
    }
    let all: Vec<u64> = set.iter().copied().collect();
    assert_eq!(space.keys(..).collect::<Vec<_>>(), all);
    assert_eq!(space.keys(0..u64::MAX).collect::<Vec<_>>(), all);
    assert_eq!(space.keys(0..=u64::MAX).collect::<Vec<_>>(), all);
    for _ in 0..200 {
        let (a, b) = (rng.random_range(0..KEYS + 10), rng.random_range(0..KEYS + 10));
        let (low, high) = (a.min(b), a.max(b));
        let set_of = |keys: std::ops::Range<u64>| set.range(keys).copied().collect::<Vec<_>>();
        assert_eq!(space.keys(low..high).collect::<Vec<_>>(), set_of(low..high));
        assert_eq!(space.keys(low..=high).collect::<Vec<_>>(), set_of(low..high + 1));
        assert_eq!(space.keys(low..).collect::<Vec<_>>(), set_of(low..KEYS));
    }
    #[expect(clippy::reversed_empty_ranges, reason = "it is what is tested")]
    let backwards = space.keys(10..5).count();
    assert_eq!(backwards, 0);
    assert_eq!(space.keys(KEYS..).next(), None);
    assert_eq!(space.keys(u64::MAX..).next(), None);
    store.drop_space(&space);
    assert_eq!(space.keys(..).next(), None);
}

#[test]
fn what_is_there_throughout_is_seen_once_beside_puts_and_removes() {
    let store = store();
    let space = store.space(SpaceConfig::persistent(20_000)).expect("room");
    // Multiples of 7 stay; the others come and go, and whole pages of the index with them.
    let stays = |key: u64| key.is_multiple_of(7) && (key / 2048).is_multiple_of(2);
    for key in (0..20_000).filter(|key| stays(*key)) {
        space.put_bytes(key, &[1; 20]).expect("room");
    }
    let expected: Vec<u64> = (0..20_000).filter(|key| stays(*key)).collect();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..2 {
            let (space, store, done) = (&space, &store, &done);
            scope.spawn(move || {
                let mut rng = Seed::for_test(0x6f).rng(number);
                while !done.load(Ordering::Relaxed) {
                    let start = rng.random_range(0..20_000);
                    let keys = (start..(start + 600).min(20_000)).filter(|key| !stays(*key));
                    for key in keys.clone() {
                        space.put_bytes(key, &[2; 20]).expect("room");
                    }
                    keys.for_each(|key| _ = space.remove(key).expect("a key"));
                    store.shrink(0);
                }
            });
        }
        let _over = Over(&done);
        for _ in 0..150 {
            let seen: Vec<u64> = space.keys(..).collect();
            assert!(seen.is_sorted_by(|one, next| one < next), "in order, once");
            let stayed: Vec<u64> = seen.into_iter().filter(|key| stays(*key)).collect();
            assert_eq!(stayed, expected);
        }
    });
    store.validate().expect("valid");
}

#[test]
fn the_loop_may_change_what_it_goes_over() {
    let store = store();
    let space = store.space(SpaceConfig::persistent(10_000)).expect("room");
    for key in 0..3000 {
        space.put_bytes(key, &[1; 20]).expect("room");
    }
    let mut seen = 0;
    for key in space.keys(..6000) {
        seen += 1;
        assert!(space.remove(key).expect("a key"));
        // Behind the loop: not seen. Before it: seen.
        space.put_bytes(9_000 + key / 100, &[1; 20]).expect("room");
        if key < 3000 {
            space.put_bytes(key + 3000, &[1; 20]).expect("room");
        }
        assert!(space.remove_range(8_000..9_000).is_ok());
    }
    assert_eq!(seen, 6000);
    assert_eq!(space.keys(..).count(), 60);
    store.validate().expect("valid");
}
