//! A store outlives its pool's handles: when all of their generations are used up, they come back.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use pagefold_pool::Allocator;
use pagefold_store::{GetError, Page, PutIfError, SpaceConfig, Store};
use pagefold_testkit::seed::Seed;
use rand::{Rng as _, RngExt as _};

/// A store whose pool has 512 handles of 16 generations: 8192 objects in a life without taking them back.
fn store(allocator: Allocator, shrinker: bool) -> Store {
    let codec = "raw".parse().expect("a codec");
    let builder = Store::builder().allocator(allocator).handle_table(512, 4);
    let builder = builder.codec(codec).limit(8 << 20).shrinker(shrinker);
    builder.build().expect("room")
}

fn page(number: u64) -> Page {
    let mut page = [0; 4096];
    Seed::for_test(0x11fe).rng(0).fill_bytes(&mut page);
    page[..8].copy_from_slice(&number.to_le_bytes());
    page
}

#[test]
fn a_store_never_runs_out_of_handles() {
    for &allocator in Allocator::ALL {
        for shrinker in [false, true] {
            let store = store(allocator, shrinker);
            let space = store.space(SpaceConfig::persistent(300)).expect("room");
            let mut model: HashMap<u64, u64> = HashMap::new();
            let mut rng = Seed::for_test(0x11ff).rng(0);
            for number in 0..60_000_u64 {
                let key = rng.random_range(0..300);
                match rng.random_range(0..8) {
                    0 => assert_eq!(space.remove(key), Ok(model.remove(&key).is_some())),
                    _ => {
                        let put = space.put(key, &page(number));
                        assert_eq!(put, Ok(()), "{allocator}, shrinker {shrinker}: put {number}");
                        model.insert(key, number);
                    }
                }
                if number % 512 == 0 {
                    store.shrink(1 << 20);
                }
            }
            let mut back = [0; 4096];
            for key in 0..300 {
                match model.get(&key) {
                    Some(&number) => {
                        space.get(key, &mut back).expect("there");
                        assert!(back == page(number));
                    }
                    None => assert_eq!(space.get(key, &mut back), Err(GetError::Absent)),
                }
            }
            store.validate().expect("valid");
        }
    }
}

#[test]
fn a_version_from_before_handles_came_back_matches_nothing() {
    let store = store(Allocator::nbud(), false);
    let space = store.space(SpaceConfig::persistent(300)).expect("room");
    space.put(7, &page(0)).expect("room");
    let mut back = [0; 4096];
    let version = space.get_versioned(7, &mut back).expect("there");
    for number in 0..20_000 {
        space.put(number % 7, &page(number)).expect("room");
    }
    assert_eq!(space.put_if(7, &page(1), version), Err(PutIfError::Conflict));
    let version = space.get_versioned(7, &mut back).expect("there");
    assert!(back == page(0));
    space.put_if(7, &page(1), version).expect("still that version");
}

#[test]
fn readers_beside_handles_that_come_back_find_their_own_pages() {
    let store = store(Allocator::nbud(), true);
    let space = store.space(SpaceConfig::persistent(300)).expect("room");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut back = [0; 4096];
            while !done.load(Ordering::Relaxed) {
                for key in 0..300 {
                    match space.get(key, &mut back) {
                        Ok(()) => {
                            let number = u64::from_le_bytes(back[..8].try_into().expect("eight"));
                            assert_eq!(number % 300, key, "another key's page");
                            assert!(back == page(number));
                        }
                        Err(error) => assert_eq!(error, GetError::Absent),
                    }
                }
            }
        });
        let put = (0..50_000_u64).try_for_each(|number| space.put(number % 300, &page(number)));
        done.store(true, Ordering::Relaxed);
        assert_eq!(put, Ok(()));
    });
    store.validate().expect("valid");
}
