//! A full store: what gives as much as it takes is accepted, what grows is refused at once, and neither new pages nor
//! growing ones use up what overwriting needs.

use std::thread;

use pagefold_codec::CodecSpec;
use pagefold_pool::Allocator;
use pagefold_store::{Page, PreviousValue, PutError, ReachedLimit, Space, SpaceConfig, Store};
use pagefold_testkit::{corpus::Mix, seed::Seed};
use rand::{Rng, RngExt as _};

const LIMIT: usize = 16 << 20;

fn store(allocator: Allocator) -> Store {
    let codec = "lz4".parse().expect("a codec");
    let builder = Store::builder().allocator(allocator).codec(codec).limit(LIMIT);
    builder.shrinker(false).build().expect("room")
}

/// A store that tries each new page, so that each hole is filled.
fn eager_store(allocator: Allocator) -> Store {
    let codec = "lz4".parse().expect("a codec");
    let builder = Store::builder().allocator(allocator).codec(codec).limit(LIMIT);
    builder.accept_threshold(100).shrinker(false).build().expect("room")
}

/// A page whose first `random` bytes do not compress.
fn page(rng: &mut impl Rng, random: usize) -> Page {
    let mut page = [0; 4096];
    rng.fill_bytes(&mut page[..random]);
    page
}

/// Puts pages under keys from `first` on until one is refused; the keys in use.
fn fill(space: &Space, first: u64, mut next: impl FnMut(u64) -> Page) -> u64 {
    let mut key = first;
    while space.put(key, &next(key)).is_ok() {
        key += 1;
    }
    key
}

#[test]
fn an_overwrite_that_gives_what_it_takes_succeeds_whatever_grew_before() {
    for &allocator in Allocator::ALL {
        let store = store(allocator);
        let space = store.space(SpaceConfig::persistent(100_000)).expect("room");
        let mut rng = Seed::for_test(0xa1).rng(0);
        let raw = |key: u64| key.is_multiple_of(2);
        let len = |key| if raw(key) { 4096 } else { 2000 };
        let keys = fill(&space, 0, |key| page(&mut rng, len(key)));
        assert!(keys > 2000, "{allocator}: {keys}");
        // Raw pages over half ones grow: some fit, the others are refused.
        let grown = (0..200).map(|step| 2 * step + 1);
        let accepted = grown.filter(|&key| space.put(key, &page(&mut rng, 4096)).is_ok()).count();
        assert!(accepted < 200, "{allocator}: everything fitted");
        for round in 0..3 {
            for key in (0..keys).filter(|&key| raw(key)) {
                let put = space.put(key, &page(&mut rng, 4096));
                assert_eq!(put, Ok(()), "{allocator}: round {round}, key {key} of {keys}");
            }
        }
        // Half pages over half pages, those that did not grow.
        let codec = CodecSpec::Lz4.build().expect("in this build");
        let compressed =
            |page: &Page| codec.compress(page, &mut [0; 4096]).expect("half of it is zero");
        let mut old = [0; 4096];
        for key in (401..keys).filter(|&key| !raw(key)) {
            space.get(key, &mut old).expect("there");
            let new = page(&mut rng, 2000);
            // One page in thousands has a match by chance, and is a byte shorter than the one to come.
            if compressed(&new) <= compressed(&old) {
                assert_eq!(space.put(key, &new), Ok(()), "{allocator}: key {key} of {keys}");
            }
        }
        assert!(store.resident() <= LIMIT);
        store.validate().expect("valid");
    }
}

#[test]
fn new_pages_of_another_thread_do_not_take_the_reserve() {
    for &allocator in Allocator::ALL {
        let store = eager_store(allocator);
        let space = store.space(SpaceConfig::persistent(200_000)).expect("room");
        let mut rng = Seed::for_test(0xa2).rng(0);
        let keys = fill(&space, 0, |_| page(&mut rng, 4096));
        thread::scope(|scope| {
            let other = space.clone();
            let putter = scope.spawn(move || {
                let mut rng = Seed::for_test(0xa2).rng(1);
                // Small and large ones, so that each hole is tried.
                (0..4000_u64)
                    .filter(|step| {
                        let len =
                            [4096, 3000, 1000, 100][usize::try_from(step % 4).expect("small")];
                        other.put(100_000 + step, &page(&mut rng, len)).is_ok()
                    })
                    .count()
            });
            for step in 0..2000 {
                let key = step % keys;
                let put = space.put(key, &page(&mut rng, 4096));
                assert_eq!(put, Ok(()), "{allocator}: key {key} of {keys}");
            }
            putter.join().expect("no panic");
        });
        assert!(store.resident() <= LIMIT);
        store.validate().expect("valid");
    }
}

#[test]
fn long_values_are_overwritten_by_their_like() {
    for allocator in [Allocator::nbud(), Allocator::xcfmalloc()] {
        for len in [9_000, 32_768, 65_536] {
            let store = eager_store(allocator);
            let space = store.space(SpaceConfig::persistent(100_000)).expect("room");
            let mut rng = Seed::for_test(0xa3).rng(len as u64);
            let mut value = |len: usize| {
                let mut value = vec![0; len];
                rng.fill_bytes(&mut value);
                value
            };
            let mut keys = 0;
            loop {
                match space.put_bytes(keys, &value(len)) {
                    Ok(()) => keys += 1,
                    Err(PutError::Full { .. }) => break,
                    // xcfmalloc takes two frames.
                    Err(error) => {
                        assert!(matches!(error, PutError::TooLong { .. }), "{error}");
                        break;
                    }
                }
            }
            // And every hole that there is.
            let mut small = 50_000;
            while space.put_bytes(small, &value(100)).is_ok() {
                small += 1;
            }
            for round in 0..2 {
                for key in 0..keys {
                    let put = space.put_bytes(key, &value(len));
                    assert_eq!(
                        put,
                        Ok(()),
                        "{allocator}: {len} bytes, round {round}, key {key} of {keys}"
                    );
                }
            }
            store.validate().expect("valid");
        }
    }
}

#[test]
fn a_refused_overwrite_that_grows_moves_nothing() {
    let store = store(Allocator::nbud());
    let space = store.space(SpaceConfig::persistent(100_000)).expect("room");
    let mut rng = Seed::for_test(0xa4).rng(0);
    let keys = fill(&space, 0, |_| page(&mut rng, 2000));
    let mut refused = 0;
    let before = loop {
        let moved = store.stats().work.moved_bytes;
        if refused == 100 {
            break moved;
        }
        let key = rng.random_range(0..keys);
        match space.put(key, &page(&mut rng, 4096)) {
            Ok(()) => {}
            Err(PutError::Full { previous: PreviousValue::Kept, .. }) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    };
    for _ in 0..500 {
        let key = rng.random_range(0..keys);
        let put = space.put(key, &page(&mut rng, 4096));
        if let Err(error) = put {
            let expected =
                PutError::Full { limit: ReachedLimit::Threshold, previous: PreviousValue::Kept };
            assert_eq!(error, expected);
        }
    }
    assert_eq!(store.stats().work.moved_bytes, before);
}

#[test]
fn an_ephemeral_page_never_keeps_a_persistent_one_out() {
    for shrinker in [false, true] {
        let codec = "raw".parse().expect("a codec");
        let builder = Store::builder().codec(codec).limit(LIMIT).shrinker(shrinker);
        let store = builder.build().expect("room");
        let mut rng = Seed::for_test(0xa5).rng(0);
        let persistent = store.space(SpaceConfig::persistent(100_000)).expect("room");
        let ephemeral = store.space(SpaceConfig::ephemeral(100_000)).expect("room");
        let keys = fill(&persistent, 0, |_| page(&mut rng, 4096));
        let refused = persistent.put(keys, &page(&mut rng, 4096));
        let full =
            PutError::Full { limit: ReachedLimit::Threshold, previous: PreviousValue::Absent };
        assert_eq!(refused, Err(full), "closed until enough has gone");
        persistent.remove_range(0..u64::MAX).expect("alive");
        // Ephemeral pages take its place, as many as there is room for.
        for key in 0..keys {
            ephemeral.put(key, &page(&mut rng, 4096)).expect("room");
        }
        for key in 0..2000 {
            assert_eq!(persistent.put(key, &page(&mut rng, 4096)), Ok(()), "shrinker: {shrinker}");
        }
        store.validate().expect("valid");
    }
}

#[test]
fn the_threshold_ends_when_an_ephemeral_page_can_go() {
    let codec = "raw".parse().expect("a codec");
    let store = Store::builder().codec(codec).limit(LIMIT).shrinker(false).build().expect("room");
    let mut rng = Seed::for_test(0xa6).rng(0);
    let persistent = store.space(SpaceConfig::persistent(100_000)).expect("room");
    let ephemeral = store.space(SpaceConfig::ephemeral(100_000)).expect("room");
    let keys = fill(&persistent, 0, |_| page(&mut rng, 4096));
    // Little goes, and an ephemeral page takes its place at once.
    persistent.remove_range(0..20).expect("alive");
    for key in 0..10 {
        ephemeral.put(key, &page(&mut rng, 4096)).expect("room");
    }
    assert_eq!(persistent.put(0, &page(&mut rng, 4096)), Ok(()), "{keys} keys");
}

#[test]
fn mixed_overwriting_at_the_limit_stays_within_it_and_loses_nothing() {
    for &allocator in Allocator::ALL {
        let store = store(allocator);
        let space = store.space(SpaceConfig::persistent(100_000)).expect("room");
        let mut rng = Seed::for_test(0xa7).rng(0);
        let pages: Vec<Page> = Mix::PROCESS
            .pages(&mut rng, 300)
            .iter()
            .map(|bytes| bytes[..].try_into().expect("a page"))
            .collect();
        let mut model: Vec<usize> = Vec::new();
        while space.put(model.len() as u64, &pages[model.len() % 300]).is_ok() {
            model.push(model.len() % 300);
        }
        for _ in 0..5000 {
            let key = rng.random_range(0..model.len());
            let new = rng.random_range(0..300);
            match space.put(key as u64, &pages[new]) {
                Ok(()) => model[key] = new,
                Err(PutError::Full { previous: PreviousValue::Kept, .. }) => {}
                Err(error) => panic!("{error}"),
            }
            assert!(store.resident() <= LIMIT);
        }
        let mut back = [0; 4096];
        for (key, &page) in (0..).zip(&model) {
            space.get(key, &mut back).expect("there");
            assert!(back == pages[page], "{allocator}: key {key}");
        }
        store.validate().expect("valid");
    }
}
