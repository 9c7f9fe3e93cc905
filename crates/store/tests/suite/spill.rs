//! A store with a backing: more data than memory.

use std::{sync::Arc, thread};

use pagefold_store::{
    GetError, Page, Space, SpaceConfig, Store, TryGetError,
    spill::{EXTENT_BYTES_MIN, FileBacking, Spill},
};
use pagefold_testkit::{corpus::Mix, seed::Seed};
use rand::RngExt as _;

fn file() -> Spill {
    let directory = std::env::temp_dir();
    let backing = FileBacking::new(&directory, EXTENT_BYTES_MIN).expect("a file");
    Spill::builder(backing).extent_bytes(EXTENT_BYTES_MIN).build().expect("sensible")
}

fn pages(count: usize) -> Vec<Page> {
    let pages = Mix::PROCESS.pages(&mut Seed::for_test(0x70).rng(0), count);
    pages.iter().map(|page| page.as_slice().try_into().expect("a page")).collect()
}

fn page(pages: &[Page], key: u64, version: u64) -> Page {
    let mut page = pages[usize::try_from(key).expect("small") % pages.len()];
    page[..16].copy_from_slice(&[key.to_le_bytes(), version.to_le_bytes()].concat());
    page
}

fn get(space: &Space, key: u64) -> Result<Page, GetError> {
    let mut page = [0; 4096];
    space.get(key, &mut page).map(|()| page)
}

#[test]
fn ten_times_more_than_memory_comes_back() {
    let pages = pages(2000);
    let store = Store::builder().limit(12 << 20).spill(file()).build().expect("room");
    let space = store.space(SpaceConfig::persistent(100_000)).expect("room");
    let count = 40_000;
    for key in 0..count {
        space.put(key, &page(&pages, key, 0)).expect("room in the backing");
        assert!(store.resident() <= store.limit());
    }
    store.validate().expect("valid");
    assert!(space.stats().spilled > count / 2, "{:?}", space.stats());
    let mut waits = 0;
    for key in 0..count {
        assert!(get(&space, key) == Ok(page(&pages, key, 0)), "page {key}");
        let mut back = [0; 4096];
        match space.try_get(key, &mut back) {
            Ok(()) => assert!(back == page(&pages, key, 0)),
            Err(TryGetError::WouldBlock) => waits += 1,
            Err(error) => panic!("{error} of page {key}"),
        }
    }
    assert!(waits > count / 4, "{waits}");
    for key in (0..count).step_by(3) {
        space.put(key, &page(&pages, key, 1)).expect("room");
    }
    for key in (1..count).step_by(3) {
        let mut back = [0; 4096];
        space.take(key, &mut back).expect("there");
        assert!(back == page(&pages, key, 0));
        assert_eq!(get(&space, key), Err(GetError::Absent));
    }
    store.validate().expect("valid");
    for key in (0..count).step_by(3) {
        assert!(get(&space, key) == Ok(page(&pages, key, 1)), "page {key}");
        assert!(
            get(&space, key + 2).is_err() || get(&space, key + 2) == Ok(page(&pages, key + 2, 0))
        );
    }
    space.remove_range(0..count).expect("alive");
    assert_eq!(store.stats().stored, 0);
    store.validate().expect("valid");
}

#[test]
fn threads_overwrite_read_and_remove_beside_the_spiller() {
    let pages = Arc::new(pages(500));
    let store = Store::builder().limit(10 << 20).spill(file());
    let store = store.idle_share(100).idle_interval(std::time::Duration::from_millis(20));
    let store = store.build().expect("room");
    let space = store.space(SpaceConfig::persistent(100_000)).expect("room");
    thread::scope(|scope| {
        for me in 0..4_u64 {
            let (space, pages, store) = (&space, &pages, &store);
            scope.spawn(move || {
                let mut rng = Seed::for_test(0x71).rng(me);
                let mut known = vec![None; 6000];
                for step in 1..40_000_u64 {
                    let at = rng.random_range(0..known.len());
                    let key = at as u64 * 4 + me;
                    match rng.random_range(0..10) {
                        0..5 => {
                            space.put(key, &page(pages, key, step)).expect("room in the backing");
                            known[at] = Some(step);
                        }
                        5..8 => {
                            let expected = known[at].map(|step| page(pages, key, step));
                            assert!(get(space, key).ok() == expected, "page {key}");
                        }
                        8 => {
                            let mut back = [0; 4096];
                            let taken = space.take(key, &mut back).is_ok().then_some(back);
                            assert!(taken == known[at].take().map(|step| page(pages, key, step)));
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
    let stats = store.stats();
    assert!(stats.spaces[0].spilled > 0, "{:?}", stats.spaces[0]);
}
