//! A store with a backing: more data than memory.

use std::{
    collections::HashMap,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use pagefold_store::{
    GetError, Page, Space, SpaceConfig, Store, TryGetError,
    spill::{EXTENT_BYTES_MIN, FileBacking, Spill},
};
use pagefold_testkit::{
    backing::{FaultyBacking, HANGS, READ_FAULTS, ReadFault, WRITE_FAULTS, WriteFault},
    corpus::Mix,
    seed::Seed,
};
use rand::{RngExt as _, seq::IndexedRandom as _};

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
    let store = store.idle_share(100).idle_interval(Duration::from_millis(20));
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

/// A store over a backing that fails as asked, without rests, and half of its pages in there.
fn over(backing: &Arc<FaultyBacking>, count: u64, pages: &[Page]) -> (Store, Space) {
    let builder = Spill::builder(Arc::clone(backing)).extent_bytes(EXTENT_BYTES_MIN);
    let spill = builder.without_rests().read_deadline(HANGS / 4).build().expect("sensible");
    let store = Store::builder().limit(8 << 20).spill(spill).idle_share(0);
    let store = store.build().expect("room");
    let space = store.space(SpaceConfig::persistent(count)).expect("room");
    for key in 0..count {
        space.put(key, &page(pages, key, 0)).expect("room in the backing");
    }
    at_rest(&store);
    (store, space)
}

/// Until the spiller writes, cleans and discards no more: it would meet the faults that are meant for a get.
fn at_rest(store: &Store) {
    let until = Instant::now() + Duration::from_secs(60);
    let done = || {
        let backing = store.stats().spill.expect("a backing").backing;
        (backing.writes, backing.discards, backing.undiscarded, backing.extents)
    };
    let (mut last, mut same) = (done(), 0);
    while same < 4 && Instant::now() < until {
        thread::sleep(Duration::from_millis(50));
        let now = done();
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
}

/// A key whose page is in the backing.
fn spilled_key(space: &Space, count: u64) -> u64 {
    let mut back = [0; 4096];
    let is_spilled =
        |key: &u64| matches!(space.try_get(*key, &mut back), Err(TryGetError::WouldBlock));
    (0..count).find(is_spilled).expect("one is spilled")
}

#[test]
fn a_read_that_fails_is_an_error_of_its_key_and_no_other() {
    let (pages, count) = (pages(500), 10_000);
    for cached in [true, false] {
        let backing = Arc::new(FaultyBacking::new(cached));
        let (store, space) = over(&backing, count, &pages);
        for fault in READ_FAULTS {
            // A page that is read twice comes back.
            let key = spilled_key(&space, count);
            backing.fail_read(fault);
            let error = get(&space, key);
            let expected = match fault {
                ReadFault::Fails | ReadFault::Panics => {
                    Err(GetError::Io(std::io::ErrorKind::Other))
                }
                ReadFault::TimesOut => Err(GetError::Timeout),
                // What the slot had before may be what it has.
                ReadFault::Replayed | ReadFault::Misdirected if error.is_ok() => error.clone(),
                _ => Err(GetError::Corrupt),
            };
            assert!(error == expected, "{fault:?}: {:?}", error.map(|_| "a page"));
            backing.disarm();
            // On a machine at work elsewhere the backing may take longer than the deadline.
            let again = std::iter::repeat_with(|| get(&space, key));
            let again = again.take(20).find(|got| *got != Err(GetError::Timeout));
            let there = again.is_some_and(|got| got == Ok(page(&pages, key, 0)));
            assert!(there, "it is there after {fault:?}");
        }
        if !cached {
            let key = spilled_key(&space, count);
            backing.fail_read(ReadFault::Hangs);
            assert_eq!(get(&space, key).map(drop), Err(GetError::Timeout));
        }
        store.validate().expect("valid");
    }
}

#[test]
fn a_dead_backing_delays_no_get_of_a_page_in_memory_and_loses_nothing() {
    let (pages, count) = (pages(500), 10_000);
    let backing = Arc::new(FaultyBacking::new(false));
    let (store, space) = over(&backing, count, &pages);
    backing.fail_all(Some(WriteFault::Fails), Some(ReadFault::Fails));
    let (mut there, mut away) = (0, 0);
    for key in 0..count {
        match get(&space, key) {
            Ok(found) => {
                assert!(found == page(&pages, key, 0));
                there += 1;
            }
            Err(error) => {
                assert_eq!(error, GetError::Io(std::io::ErrorKind::Other));
                away += 1;
            }
        }
    }
    assert!(there > 500 && away > 500, "{there} {away}");
    // What no longer fits is refused, and what was there stays.
    let mut refused = 0;
    for key in 0..count {
        refused += u64::from(space.put(key, &page(&pages, key + 1, 1)).is_err());
    }
    assert!(refused > 0, "the backing takes nothing");
    assert!(store.resident() <= store.limit());
    backing.fail_all(None, None);
    for key in 0..count {
        let found = get(&space, key).expect("the backing is back");
        assert!(found == page(&pages, key, 0) || found == page(&pages, key + 1, 1), "page {key}");
    }
    store.validate().expect("valid");
    for key in 0..count {
        space.put(key, &page(&pages, key, 2)).expect("room again");
    }
    store.validate().expect("valid");
}

#[test]
fn random_operations_with_every_fault_give_the_right_page_or_an_error() {
    let pages = pages(300);
    let mut seen = 0;
    for seed in 0..4 {
        let backing = Arc::new(FaultyBacking::new(seed % 2 == 0));
        let (store, space) = over(&backing, 8000, &pages);
        let mut rng = Seed::for_test(0x72).rng(seed);
        let mut known: HashMap<u64, u64> = (0..8000).map(|key| (key, 0)).collect();
        let mut lies = false;
        for step in 1..20_000_u64 {
            let key = rng.random_range(0..8000);
            match rng.random_range(0..60) {
                0 => {
                    let fault = *WRITE_FAULTS.choose(&mut rng).expect("some");
                    lies |= !matches!(fault, WriteFault::Fails | WriteFault::NoSpace);
                    backing.fail_write(fault);
                }
                1 => backing.fail_read(*READ_FAULTS.choose(&mut rng).expect("some")),
                2..25 => {
                    // A put is refused while the backing fails.
                    if space.put(key, &page(&pages, key, step)).is_ok() {
                        known.insert(key, step);
                    }
                }
                25..30 => {
                    assert_eq!(space.remove(key), Ok(known.remove(&key).is_some()));
                }
                _ => {
                    let expected = known.get(&key).map(|step| page(&pages, key, *step));
                    match get(&space, key) {
                        Ok(found) => assert!(Some(found) == expected, "page {key}"),
                        Err(GetError::Absent) => assert!(expected.is_none(), "page {key} is lost"),
                        Err(GetError::Io(_) | GetError::Timeout | GetError::Corrupt) => {
                            seen += 1;
                            backing.disarm();
                            if !lies {
                                assert!(Some(get(&space, key).expect("healed")) == expected);
                            }
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        }
        backing.disarm();
        store.validate().expect("valid");
        space.remove_range(0..8000).expect("alive");
        store.validate().expect("valid");
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn a_page_that_is_read_twice_comes_back_to_memory_if_there_is_room() {
    let (pages, count) = (pages(500), 10_000);
    let backing = Arc::new(FaultyBacking::new(true));
    let (store, space) = over(&backing, count, &pages);
    let is_spilled = |key| {
        let mut back = [0; 4096];
        matches!(space.try_get(key, &mut back), Err(TryGetError::WouldBlock))
    };
    space.remove_range(count / 2..count).expect("alive");
    store.shrink(usize::MAX);
    // The look of `try_get` marks it too.
    let (key, other) = (spilled_key(&space, count / 2), count / 4);
    assert!(get(&space, key) == Ok(page(&pages, key, 0)));
    assert!(!is_spilled(key));
    let before = space.stats().spilled;
    assert!(get(&space, other) == Ok(page(&pages, other, 0)));
    assert_eq!(space.stats().spilled, before, "once");
    assert!(get(&space, key) == Ok(page(&pages, key, 0)));
    store.validate().expect("valid");
    let others: Vec<u64> = (0..count / 2).filter(|&other| is_spilled(other)).take(200).collect();
    let mut into = vec![[0; 4096]; others.len()];
    let results = space.get_many(others.iter().copied().zip(&mut into));
    for ((key, page_of), result) in others.iter().zip(&into).zip(results) {
        assert!(result.is_ok() && *page_of == page(&pages, *key, 0), "page {key}");
    }
    store.validate().expect("valid");
}

#[test]
fn a_dropped_space_and_a_dropped_store_leave_nothing_in_the_backing() {
    let (pages, count) = (pages(500), 8000);
    let backing = Arc::new(FaultyBacking::new(true));
    let (store, space) = over(&backing, count, &pages);
    assert!(backing.slots() > 10);
    store.drop_space(&space);
    drop(space);
    store.validate().expect("valid");
    let spilled = || store.stats().spill.expect("a backing");
    assert_eq!((spilled().pages, spilled().backing.live_objects), (0, 0));
    // The spiller may be at one that it finds empty.
    let began = Instant::now();
    while spilled().backing.extents > 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", spilled());
        thread::sleep(Duration::from_millis(1));
    }
    // The spiller gives free slots back; it rests when there is nothing to write.
    let space = store.space(SpaceConfig::persistent(count)).expect("room");
    for key in 0..count {
        space.put(key, &page(&pages, key, 0)).expect("room");
    }
    drop((space, store));
    // A thread that reads ends by itself.
    let began = Instant::now();
    while Arc::strong_count(&backing) > 1 {
        assert!(began.elapsed() < Duration::from_secs(60), "a thread has it");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn an_ephemeral_space_spills_before_it_drops() {
    let (pages, count) = (pages(500), 10_000);
    let backing = Arc::new(FaultyBacking::new(true));
    let builder = Spill::builder(Arc::clone(&backing)).extent_bytes(EXTENT_BYTES_MIN);
    // Room for 64 extents.
    let spill = builder.limit(4 << 20).build().expect("sensible");
    let store = Store::builder().limit(8 << 20).spill(spill).build().expect("room");
    let space = store.space(SpaceConfig::ephemeral(count)).expect("room");
    for key in 0..count {
        space.put(key, &page(&pages, key, 0)).expect("an ephemeral space takes all");
    }
    let stats = space.stats();
    assert!(stats.spilled > 1000 && stats.evicted > 0, "{stats:?}");
    let is_there = |key: &u64| match get(&space, *key) {
        Ok(found) => {
            assert!(found == page(&pages, *key, 0));
            true
        }
        Err(error) => {
            assert_eq!(error, GetError::Absent);
            false
        }
    };
    // The spiller may be at its last extent.
    let until = Instant::now() + Duration::from_secs(20);
    while (0..count).filter(is_there).count() as u64 != count - space.stats().evicted {
        assert!(Instant::now() < until, "{:?}", space.stats());
    }
    store.validate().expect("valid");
}
