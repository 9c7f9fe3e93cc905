//! A redis-server that the test starts: pages come back, also after it was killed, flushed and full.

use pagefold_store::{GetError, Page, Space, Store};

use crate::{
    servers::Redis,
    stores::{self, get},
};

const COUNT: u64 = 6000;

/// Text that no page shares with another.
fn page(key: u64, version: u64) -> Page {
    let words = (0..).map(|at: u64| {
        let mixed = (key << 20 | at << 2 | version).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("{} owner-{} ", mixed >> 40, key % 97)
    });
    let mut text = String::new();
    words
        .take_while(|word| {
            text.push_str(word);
            text.len() < 4096
        })
        .for_each(drop);
    *text.as_bytes().first_chunk().expect("longer than a page")
}

fn over(server: &Redis) -> (Store, Space) {
    let (store, space, _) = stores::store(server.operator(), COUNT, page);
    (store, space)
}

#[test]
fn what_a_server_keeps_comes_back_and_what_it_lost_is_an_error_of_its_key() {
    let Some(mut server) = Redis::start() else { return };
    let (store, space) = over(&server);
    let spilled = space.stats().spilled;
    assert!(spilled > COUNT / 4, "{spilled}");
    for key in 0..COUNT {
        assert!(get(&space, key) == Ok(page(key, 0)), "page {key}");
    }

    // Killed: pages in memory are there, and the others are errors, in time.
    server.kill();
    let (mut there, mut away) = (0, 0);
    for key in (0..COUNT).step_by(7) {
        match get(&space, key) {
            Ok(found) => {
                assert!(found == page(key, 0));
                there += 1;
            }
            Err(GetError::Io(_) | GetError::Timeout) => away += 1,
            Err(error) => panic!("{error}"),
        }
        if away == 5 {
            break;
        }
    }
    assert!(away > 0, "{there} pages were there");

    // It comes back empty: what it had is lost, and each key says so; new pages go there again.
    server.restart();
    let mut lost = 0;
    for key in 0..COUNT {
        match get(&space, key) {
            Ok(found) => assert!(found == page(key, 0)),
            Err(GetError::Io(std::io::ErrorKind::NotFound) | GetError::Corrupt) => lost += 1,
            Err(error) => panic!("{error} of page {key}"),
        }
    }
    assert!(lost > 0);
    for key in 0..COUNT {
        space.put(key, &page(key, 1)).expect("room in the server");
    }
    for key in 0..COUNT {
        assert!(get(&space, key) == Ok(page(key, 1)), "page {key}");
    }
    store.validate().expect("valid");

    // Its key space is flushed beside the store.
    server.call(&["flushall"]);
    let gone = (0..COUNT).filter(|&key| match get(&space, key) {
        Ok(found) => {
            assert!(found == page(key, 1));
            false
        }
        Err(error) => {
            assert!(matches!(error, GetError::Io(_) | GetError::Corrupt), "{error}");
            true
        }
    });
    assert!(gone.count() > 0);
    store.validate().expect("valid");
}

#[test]
fn a_server_at_its_limit_refuses_and_nothing_is_lost() {
    let Some(server) = Redis::start() else { return };
    let (store, space) = over(&server);
    server.call(&["config", "set", "maxmemory-policy", "noeviction"]);
    server.call(&["config", "set", "maxmemory", "1mb"]);
    let mut known = vec![0; usize::try_from(COUNT).expect("small")];
    // Each that is refused waits for room first.
    for key in (0..COUNT).step_by(20) {
        if space.put(key, &page(key, 1)).is_ok() {
            known[usize::try_from(key).expect("small")] = 1;
        }
    }
    for key in 0..COUNT {
        let version = known[usize::try_from(key).expect("small")];
        assert!(get(&space, key) == Ok(page(key, version)), "page {key}");
    }
    store.validate().expect("valid");
}

#[test]
fn a_dropped_store_leaves_nothing() {
    let Some(server) = Redis::start() else { return };
    let (store, space) = over(&server);
    assert_ne!(server.keys(), "0");
    drop((space, store));
    assert_eq!(server.keys(), "0");
}
