//! Puts that depend on what is there: of several by one version one wins, no update is lost, and a refusal changes what
//! a put's would.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use pagefold_pool::Allocator;
use pagefold_store::{
    GetError, KeyError, Page, PreviousValue, PutError, PutIfError, ReachedLimit, Space,
    SpaceConfig, Store, UpdateError,
};
use pagefold_testkit::{corpus::PageKind, seed::Seed};

const LIMIT: usize = 8 << 20;
const THREADS: usize = 4;

fn store() -> Store {
    Store::builder().limit(LIMIT).shrinker(false).build().expect("room")
}

fn page_of(kind: PageKind, seed: u64) -> Page {
    kind.page(&mut Seed::new(seed).rng(0)).try_into().expect("a page")
}

/// The content of a counter at a number: compresses, or does not, or is one word, in turn.
fn counted(number: u64) -> Page {
    let mut page = match number % 3 {
        0 => [0; 4096],
        1 => page_of(PageKind::Text, number),
        _ => page_of(PageKind::Random, number),
    };
    if number.is_multiple_of(3) {
        pagefold_codec::fill(number, &mut page);
    }
    page[..8].copy_from_slice(&number.to_ne_bytes());
    page
}

fn number_of(page: &Page) -> u64 {
    u64::from_ne_bytes(*page.first_chunk().expect("8 bytes"))
}

#[test]
fn no_update_is_lost() {
    const UPDATES: u64 = 1500;
    for &allocator in Allocator::ALL {
        let store = Store::builder().allocator(allocator).limit(LIMIT).build().expect("room");
        let space = store.space(SpaceConfig::persistent(4)).expect("room");
        for key in 0..2 {
            space.put(key, &counted(0)).expect("room");
        }
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for step in 0..UPDATES {
                        let there = space.update(step % 2, |page| {
                            let number = number_of(page);
                            assert!(*page == counted(number), "another page");
                            *page = counted(number + 1);
                        });
                        assert_eq!(there, Ok(true));
                    }
                });
            }
            scope.spawn(|| (0..200).for_each(|_| _ = store.compact(64 << 10)));
        });
        let mut page = [0; 4096];
        for key in 0..2 {
            space.get(key, &mut page).expect("there");
            assert_eq!(number_of(&page), UPDATES / 2 * THREADS as u64, "{allocator}");
        }
        store.validate().expect("valid");
    }
}

#[test]
fn no_update_of_a_value_is_lost_while_it_grows() {
    let store = store();
    let space = store.space(SpaceConfig::persistent(1)).expect("room");
    space.put_bytes(0, &[]).expect("room");
    thread::scope(|scope| {
        for number in 0..3_u8 {
            let space = &space;
            scope.spawn(move || {
                for _ in 0..2500 {
                    space.update_bytes(0, |value| value.push(number)).expect("room");
                }
            });
        }
    });
    let value = space.get_bytes(0).expect("there");
    assert_eq!(value.len(), 7500);
    for number in 0..3 {
        assert_eq!(value.iter().filter(|byte| **byte == number).count(), 2500);
    }
}

/// How many of several threads, which begin at once, succeed.
fn winners(attempt: impl Fn(usize) -> bool + Sync) -> usize {
    let barrier = Barrier::new(THREADS);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                let (attempt, barrier) = (&attempt, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    attempt(number)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .filter(|won| *won)
            .count()
    })
}

#[test]
fn of_several_puts_by_one_version_one_is_accepted() {
    let store = store();
    let space = store.space(SpaceConfig::persistent(1)).expect("room");
    let mut page = [0; 4096];
    space.put(0, &page_of(PageKind::Text, 0)).expect("room");
    for round in 1..300 {
        let version = space.get_versioned(0, &mut page).expect("there");
        let mine = |number: usize| page_of(PageKind::Text, round * 100 + number as u64);
        let winner = AtomicU64::new(u64::MAX);
        let won = winners(|number| match space.put_if(0, &mine(number), version) {
            Ok(_) => {
                winner.store(number as u64, Ordering::Relaxed);
                true
            }
            Err(error) => {
                assert_eq!(error, PutIfError::Conflict);
                false
            }
        });
        assert_eq!(won, 1);
        space.get(0, &mut page).expect("there");
        let winner = usize::try_from(winner.into_inner()).expect("a thread");
        assert!(page == mine(winner), "the one that was told so");
    }
    store.validate().expect("valid");
}

#[test]
fn of_several_puts_where_nothing_is_one_is_accepted() {
    let store = store();
    let space = store.space(SpaceConfig::persistent(1)).expect("room");
    for round in 0..300 {
        // Words and objects alike.
        let mine = |number: usize| counted(round * 100 + number as u64);
        assert_eq!(winners(|number| space.put_if_absent(0, &mine(number)).is_ok()), 1);
        assert_eq!(winners(|_| space.remove(0).expect("a key")), 1);
    }
    assert_eq!(store.stats().payload_bytes, 0);
    store.validate().expect("valid");
}

#[test]
fn of_several_removes_by_one_version_one_removes() {
    let store = store();
    let space = store.space(SpaceConfig::persistent(1)).expect("room");
    for round in 0..300 {
        let version = space.put_if_absent(0, &page_of(PageKind::Heap, round)).expect("nothing");
        assert_eq!(winners(|_| space.remove_if(0, version).expect("a key")), 1);
    }
    store.validate().expect("valid");
}

#[test]
fn a_version_holds_until_another_put_or_remove() {
    let store = store();
    let space = store.space(SpaceConfig::persistent(10)).expect("room");
    let (one, two) = (page_of(PageKind::Text, 1), page_of(PageKind::Text, 2));
    let mut page = [0; 4096];
    let first = space.put_if_absent(3, &one).expect("nothing is there");
    assert_eq!(space.put_if_absent(3, &two), Err(PutIfError::Conflict));
    // Reading marks the page, and changes nothing else.
    assert_eq!(space.get_versioned(3, &mut page), Ok(first));
    assert_eq!(space.get_versioned(3, &mut page), Ok(first));
    assert!(page == one);
    let second = space.put_if(3, &two, first).expect("still there");
    assert_eq!(space.put_if(3, &one, first), Err(PutIfError::Conflict));
    assert_eq!(space.get_versioned(3, &mut page), Ok(second));
    // The same bytes put again are another version.
    space.put(3, &two).expect("room");
    assert_eq!(space.put_if(3, &one, second), Err(PutIfError::Conflict));
    assert_eq!(space.remove_if(3, second), Ok(false));
    let third = space.get_versioned(3, &mut page).expect("there");
    assert!(space.remove(3).expect("a key"));
    assert_eq!(space.put_if(3, &one, third), Err(PutIfError::Conflict), "nothing is there");
    assert_eq!(space.remove_if(3, third), Ok(false));
    assert!(!space.contains(3).expect("a key"));
    // Another key's version is none of this one's.
    let elsewhere = space.put_if_absent(4, &one).expect("nothing is there");
    space.put(3, &one).expect("room");
    assert_eq!(space.put_if(3, &two, elsewhere), Err(PutIfError::Conflict));
    // A page of one repeated word is its content.
    space.put(5, &[7; 4096]).expect("room");
    let version = space.get_versioned(5, &mut page).expect("there");
    space.put(5, &[7; 4096]).expect("room");
    assert_eq!(space.get_versioned(5, &mut page), Ok(version));
    store.validate().expect("valid");
}

/// Fills a space until it has no room for a page that does not compress, nor for half of one; the next key.
fn fill(space: &Space) -> u64 {
    let mut key = 0;
    while space.put(key, &page_of(PageKind::Random, key)).is_ok() {
        key += 1;
    }
    while space.put_bytes(key, &page_of(PageKind::Random, key)[..500]).is_ok() {
        key += 1;
    }
    key
}

#[test]
fn a_persistent_space_without_room_keeps_the_version() {
    let store = store();
    let space = store.space(SpaceConfig::persistent(10_000).limit(1 << 20)).expect("room");
    space.put(9_999, &page_of(PageKind::Text, 1)).expect("room");
    let next = fill(&space);
    let mut page = [0; 4096];
    let version = space.get_versioned(9_999, &mut page).expect("there");
    let full = |previous| PutIfError::Put(PutError::Full { limit: ReachedLimit::Space, previous });
    let random = page_of(PageKind::Random, 1);
    assert_eq!(space.put_if(9_999, &random, version), Err(full(PreviousValue::Kept)));
    assert_eq!(space.get_versioned(9_999, &mut page), Ok(version));
    assert_eq!(space.put_if_absent(next, &random), Err(full(PreviousValue::Absent)));
    // What is there decides before whether there would be room.
    assert_eq!(space.put_if_absent(9_999, &random), Err(PutIfError::Conflict));
    assert_eq!(
        space.update(9_999, |page| *page = random),
        Err(UpdateError::Put(PutError::Full {
            limit: ReachedLimit::Space,
            previous: PreviousValue::Kept
        }))
    );
    assert_eq!(space.update(9_999, |page| page[0] ^= 1), Ok(true));
    store.validate().expect("valid");
}

#[test]
fn an_ephemeral_space_without_room_drops_the_version_and_never_another() {
    let store = store();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let config = {
        let seen = Arc::clone(&seen);
        let listener = move |key| seen.lock().expect("no panic").push(key);
        SpaceConfig::ephemeral(10).limit(1000).on_evict(listener)
    };
    let space = store.space(config).expect("room");
    // A page that takes no memory is not dropped to make room.
    let version = space.put_if_absent(3, &[7; 4096]).expect("room");
    let random = page_of(PageKind::Random, 1);
    let full = |previous| PutIfError::Put(PutError::Full { limit: ReachedLimit::Space, previous });
    assert_eq!(space.put_if_absent(3, &random), Err(PutIfError::Conflict));
    space.put(4, &[8; 4096]).expect("room");
    assert_eq!(space.put_if(4, &random, version), Err(PutIfError::Conflict));
    assert!(space.contains(3).expect("a key") && space.contains(4).expect("a key"));
    assert_eq!(space.put_if_absent(5, &random), Err(full(PreviousValue::Absent)));
    assert_eq!(space.put_if(3, &random, version), Err(full(PreviousValue::Dropped)));
    assert!(!space.contains(3).expect("a key"));
    assert_eq!(*seen.lock().expect("no panic"), [3]);
    // One that is dropped to make room for what replaces it was dropped all the same.
    space.put_bytes(6, &[1; 600]).expect("room");
    let error = space.put(6, &random).expect_err("above the limit");
    assert_eq!(
        error,
        PutError::Full { limit: ReachedLimit::Space, previous: PreviousValue::Dropped }
    );
    store.validate().expect("valid");
}

#[test]
fn bad_use_has_its_errors() {
    let store = store();
    let space = store.space(SpaceConfig::persistent(10)).expect("room");
    let mut page = [0; 4096];
    let version = space.put_if_absent(0, &page).expect("room");
    let beyond = KeyError::Beyond { key: 10, pages: 10 };
    assert_eq!(space.get_versioned(10, &mut page), Err(beyond.into()));
    assert_eq!(space.put_if(10, &page, version), Err(beyond.into()));
    assert_eq!(space.put_if_absent(10, &page), Err(beyond.into()));
    assert_eq!(space.remove_if(10, version), Err(beyond));
    assert_eq!(space.update(10, |_| {}), Err(UpdateError::Get(beyond.into())));
    assert_eq!(space.get_versioned(1, &mut page), Err(GetError::Absent));
    assert_eq!(space.update(1, |_| panic!("nothing is there")), Ok(false));
    space.put_bytes(1, b"short").expect("room");
    let wrong = GetError::WrongLength { len: 5, given: 4096 };
    assert_eq!(space.update(1, |_| {}), Err(wrong.into()));
    let long = space.update_bytes(1, |value| value.resize(65_537, 0));
    let too_long = PutError::TooLong { len: 65_537, max: 65_536 };
    assert_eq!(long, Err(too_long.into()));
    assert_eq!(space.get_bytes(1).expect("there"), b"short");
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
        space.update_bytes(1, |value| {
            value.clear();
            panic::resume_unwind(Box::new("told to"));
        })
    }));
    assert!(outcome.is_err());
    assert_eq!(space.get_bytes(1).expect("there"), b"short");
    store.drop_space(&space);
    assert_eq!(space.put_if(0, &page, version), Err(KeyError::Dropped.into()));
    assert_eq!(space.update(0, |_| {}), Err(UpdateError::Get(KeyError::Dropped.into())));
    assert_eq!(space.remove_if(0, version), Err(KeyError::Dropped));
}
