//! Spaces come and go: names, handles that are found, spaces that the store keeps, and other numbers of keys.

use std::{
    collections::HashSet,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use pagefold_store::{GetError, KeyError, Page, PutError, Space, SpaceConfig, SpaceError, Store};
use pagefold_testkit::{corpus::PageKind, seed::Seed};
use rand::RngExt;

const LIMIT: usize = 8 << 20;

fn store() -> Store {
    Store::builder().limit(LIMIT).shrinker(false).build().expect("room")
}

fn random_page(seed: u64) -> Page {
    PageKind::Random.page(&mut Seed::new(seed).rng(0)).try_into().expect("a page")
}

/// Says that it is over when it goes, by a failed assertion too: the other threads of a test then end.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn no_two_spaces_have_one_name() {
    let store = store();
    let one = store.space(SpaceConfig::persistent(10).name("one")).expect("room");
    let resident = store.resident();
    let error = store.space(SpaceConfig::ephemeral(10).name("one")).expect_err("taken");
    assert!(matches!(&error, SpaceError::NameTaken { name } if name == "one"), "{error}");
    assert_eq!(store.resident(), resident, "what was charged for it is given back");
    let unnamed: Vec<Space> =
        (0..3).map(|_| store.space(SpaceConfig::persistent(10)).expect("room")).collect();
    let names: Vec<&str> = unnamed.iter().map(|space| space.name()).collect();
    assert_eq!(names, ["persistent", "persistent-2", "persistent-3"]);
    let error = store.space(SpaceConfig::persistent(10).name("persistent-2"));
    assert!(matches!(error, Err(SpaceError::NameTaken { .. })));
    store.drop_space(&unnamed[1]);
    let again = store.space(SpaceConfig::persistent(10)).expect("room");
    assert_eq!(again.name(), "persistent-2", "free again");
    drop(one);
    store.space(SpaceConfig::persistent(10).name("one")).expect("free again");
}

#[test]
fn no_two_spaces_make_one_series_for_prometheus() {
    let store = store();
    let spaces: Vec<Space> = (0..3)
        .flat_map(|_| [SpaceConfig::persistent(10), SpaceConfig::ephemeral(10)])
        .map(|config| store.space(config).expect("room"))
        .collect();
    let text = store.stats().to_prometheus();
    let mut series = HashSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, _) = line.rsplit_once(' ').expect("a name and a number");
        assert!(series.insert(name), "twice: {name}");
    }
    let of_stored = series.iter().filter(|name| name.starts_with("pagefold_store_stored{"));
    assert_eq!(of_stored.count(), spaces.len());
}

#[test]
fn spaces_are_listed_and_found_while_they_live() {
    let store = store();
    let one = store.space(SpaceConfig::persistent(10).name("one")).expect("room");
    let two = store.space(SpaceConfig::ephemeral(10).name("two")).expect("room");
    one.put_bytes(3, b"one").expect("room");
    let names =
        || -> Vec<String> { store.spaces().iter().map(|space| space.name().to_owned()).collect() };
    assert_eq!(names(), ["one", "two"]);
    let found = store.find_space("one").expect("there");
    assert_eq!(found.get_bytes(3).expect("there"), b"one");
    assert!(store.find_space("three").is_none());
    // A handle that was found keeps the space as any other does.
    drop(one);
    assert_eq!(found.get_bytes(3).expect("there"), b"one");
    drop(found);
    assert_eq!(names(), ["two"]);
    assert!(store.find_space("one").is_none());
    assert_eq!(store.stats().payload_bytes, 0);
    let also_two = store.find_space("two").expect("there");
    store.drop_space(&two);
    assert!(store.find_space("two").is_none() && store.spaces().is_empty());
    assert_eq!(also_two.put_bytes(0, b"late"), Err(KeyError::Dropped.into()));
}

#[test]
fn a_kept_space_stays_without_a_handle_and_goes_with_its_store() {
    let witness = Arc::new(());
    let config = |name: &str| {
        let witness = Arc::clone(&witness);
        let config = SpaceConfig::ephemeral(10).name(name).keep();
        config.on_evict(move |_| _ = Arc::strong_count(&witness))
    };
    let store = store();
    for name in ["one", "two"] {
        let space = store.space(config(name)).expect("room");
        space.put_bytes(1, name.as_bytes()).expect("room");
    }
    assert_eq!(store.spaces().len(), 2);
    let one = store.find_space("one").expect("kept");
    assert_eq!(one.get_bytes(1).expect("kept"), b"one");
    let error = store.space(config("one")).expect_err("it is there");
    assert!(matches!(error, SpaceError::NameTaken { .. }), "{error}");
    store.validate().expect("valid");
    store.drop_space(&one);
    drop(one);
    assert!(store.find_space("one").is_none());
    assert_eq!(Arc::strong_count(&witness), 2, "the space two is left");
    drop(store);
    assert_eq!(Arc::strong_count(&witness), 1, "nothing is left");
}

#[test]
fn a_kept_space_keeps_its_store_only_while_there_is_a_handle() {
    let store = store();
    drop(store.space(SpaceConfig::persistent(10).name("kept").keep()).expect("room"));
    let space = store.find_space("kept").expect("kept");
    drop(store);
    space.put_bytes(1, b"value").expect("a space keeps its store alive");
    assert_eq!(space.get_bytes(1).expect("there"), b"value");
}

#[test]
fn a_listener_that_holds_its_own_space_goes_when_that_is_dropped() {
    let witness = Arc::new(());
    let cell: Arc<OnceLock<Space>> = Arc::default();
    let config = {
        let (cell, witness) = (Arc::clone(&cell), Arc::clone(&witness));
        SpaceConfig::ephemeral(10).on_evict(move |_| _ = (cell.get(), &witness))
    };
    let store = store();
    cell.set(store.space(config).expect("room")).expect("set once");
    let space = cell.get().expect("set").clone();
    drop(cell);
    assert_eq!(Arc::strong_count(&witness), 2);
    store.drop_space(&space);
    assert_eq!(Arc::strong_count(&witness), 1);
}

#[test]
fn a_space_may_be_found_while_its_last_handle_goes() {
    let store = store();
    let done = AtomicBool::new(false);
    let last = thread::scope(|scope| {
        for number in 0..2_u8 {
            let (store, done) = (&store, &done);
            scope.spawn(move || {
                let mut found = 0;
                while !done.load(Ordering::Relaxed) || found == 0 {
                    let Some(space) = store.find_space("space") else { continue };
                    found += 1;
                    match space.put_bytes(number.into(), &[number; 100]) {
                        Ok(()) => {
                            // The space may be dropped after the put.
                            match space.get_bytes(number.into()) {
                                Ok(got) => assert_eq!(got, [number; 100]),
                                Err(error) => assert_eq!(error, KeyError::Dropped.into()),
                            }
                        }
                        Err(error) => assert_eq!(error, KeyError::Dropped.into()),
                    }
                }
            });
        }
        let _over = Over(&done);
        for round in 0..3000 {
            // While another thread has found it, the name is taken.
            if let Ok(space) = store.space(SpaceConfig::persistent(10).name("space"))
                && round % 3 == 0
            {
                store.drop_space(&space);
            }
        }
        let last = loop {
            match store.space(SpaceConfig::persistent(10).name("space")) {
                Ok(space) => break space,
                Err(SpaceError::NameTaken { .. }) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        };
        // The threads end only after they have found it, for which it has to be there.
        last
    });
    drop(last);
    assert!(store.spaces().is_empty());
    assert_eq!(store.stats().payload_bytes, 0);
    store.validate().expect("valid");
}

#[test]
fn fewer_keys_remove_what_lies_beyond_and_more_bring_nothing_back() {
    let store = store();
    let seen = Arc::new(AtomicU64::new(0));
    let config = {
        let seen = Arc::clone(&seen);
        SpaceConfig::ephemeral(5000).on_evict(move |_| _ = seen.fetch_add(1, Ordering::Relaxed))
    };
    let space = store.space(config).expect("room");
    for key in (0..5000).step_by(10) {
        space.put(key, &random_page(key)).expect("room");
    }
    assert_eq!(space.resize(1001), Ok(399));
    assert_eq!((space.capacity(), space.len(), space.stats().capacity), (1001, 101, 1001));
    assert_eq!(seen.load(Ordering::Relaxed), 0, "it is no eviction");
    let beyond = KeyError::Beyond { key: 1001, pages: 1001 };
    let mut page = [0; 4096];
    assert_eq!(space.put(1001, &page), Err(beyond.into()));
    assert_eq!(space.get(1001, &mut page), Err(beyond.into()));
    assert_eq!(space.keys(..).last(), Some(1000));
    store.validate().expect("valid");
    assert_eq!(space.resize(5000), Ok(0));
    assert_eq!(space.get(1010, &mut page), Err(GetError::Absent));
    for key in (0..=1000).step_by(10) {
        space.get(key, &mut page).expect("it was never beyond");
        assert!(page == random_page(key));
    }
    space.put(4999, &page).expect("room");
    assert_eq!(space.resize(0), Ok(102));
    assert!(space.is_empty());
    assert_eq!(space.put(0, &page), Err(KeyError::Beyond { key: 0, pages: 0 }.into()));
    assert_eq!(store.stats().payload_bytes, 0);
    store.validate().expect("valid");
}

#[test]
fn a_space_grows_to_every_number_of_keys_and_not_after_it_was_dropped() {
    let store = store();
    let space = store.space(SpaceConfig::persistent(100)).expect("room");
    assert_eq!(space.resize(u64::MAX), Ok(0));
    space.put(u64::MAX - 1, &random_page(1)).expect("room");
    assert_eq!(space.keys(..).collect::<Vec<_>>(), [u64::MAX - 1]);
    assert_eq!(space.resize(100), Ok(1));
    store.drop_space(&space);
    assert_eq!(space.resize(10), Err(KeyError::Dropped));
}

#[test]
fn nothing_is_left_beyond_beside_puts_and_what_is_accepted_after_growing_stays() {
    const KEYS: u64 = 3000;
    let store = store();
    let space = store.space(SpaceConfig::persistent(KEYS)).expect("room");
    let done = AtomicBool::new(false);
    let puts: [AtomicU64; 2] = Default::default();
    thread::scope(|scope| {
        for number in 0..2 {
            let (space, done) = (&space, &done);
            let count = &puts[usize::try_from(number).expect("small")];
            scope.spawn(move || {
                let mut rng = Seed::for_test(0x5e).rng(number);
                while !done.load(Ordering::Relaxed) {
                    let key = rng.random_range(0..KEYS / 4) * 4 + number;
                    match space.put_bytes(key, &key.to_ne_bytes()) {
                        Ok(()) => {}
                        Err(PutError::Key(KeyError::Beyond { key: told, pages })) => {
                            assert!(told == key && pages <= KEYS);
                        }
                        Err(error) => panic!("{error}"),
                    }
                    count.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let counts = || puts.each_ref().map(|count| count.load(Ordering::SeqCst));
        let mut rng = Seed::for_test(0x5e).rng(9);
        let _over = Over(&done);
        for round in 0..150_u64 {
            let pages = rng.random_range(0..KEYS);
            space.resize(pages).expect("fewer");
            // A put that began before has ended once its thread has counted two more.
            let before = counts();
            while counts().iter().zip(before).any(|(now, before)| *now < before + 2) {
                thread::yield_now();
            }
            assert_eq!(space.keys(pages..).next(), None, "beyond");
            space.resize(KEYS).expect("as it was");
            // Keys that no other thread uses.
            let key = rng.random_range(0..KEYS / 4) * 4 + 3;
            space.put_bytes(key, &round.to_ne_bytes()).expect("it grew again");
            assert_eq!(space.get_bytes(key).expect("accepted"), round.to_ne_bytes());
        }
    });
    store.validate().expect("valid");
}
