//! Stores in a service that cannot list: how a collector finds them.

use std::{
    thread,
    time::{Duration, Instant},
};

use pagefold_spill::{Backing as _, EXTENT_BYTES_MIN};
use pagefold_spill_opendal::{CollectOptions, Collected, Fate, Options, collect};

use crate::{
    servers::{Hand, Redis},
    stores::{backing, options},
};

fn collected(server: &Redis) -> Collected {
    collect(server.operator(), "pagefold", CollectOptions::default()).expect("it answers")
}

/// The register object that has a store's ID.
fn register_of(server: &Redis, home: &str) -> String {
    let id = home.strip_prefix("pagefold/").and_then(|id| id.strip_suffix('/')).expect("a home");
    let registers = (0..64).map(|number| format!("pagefold/stores-{number:02}"));
    let hand = Hand::new(server.operator());
    let mut with = registers.filter(|path| hand.read(path).is_some_and(|ids| ids.contains(id)));
    with.next().expect("it is registered")
}

#[test]
fn a_dead_store_is_removed_with_all_it_had_and_a_living_one_stays() {
    let Some(server) = Redis::start() else { return };
    let hand = Hand::new(server.operator());
    let (alive, alive_home) = backing(server.operator(), options());
    alive.write(0, b"alive").expect("room");
    let (dead, home) = backing(server.operator(), options());
    // More than the first lease says.
    for slot in 0..200 {
        dead.write(slot, &[1; 100]).expect("room");
    }
    let lease = hand.read(&format!("{home}lease")).expect("a lease");
    assert!(lease.ends_with(" 256 8"), "{lease}");
    dead.crash();
    // And what a lease that came late does not say.
    hand.write(&format!("{home}slot-270"), "late");
    hand.write(&format!("{home}again-9"), "late");

    let found = collected(&server);
    assert_eq!((found.alive(), found.removed()), (2, 0), "its last sign is new");
    hand.age(&home);
    let dry = collect(server.operator(), "pagefold", CollectOptions::default().dry_run(true));
    assert_eq!(dry.expect("it answers").count(|fate| matches!(fate, Fate::Dead)), 1);
    let found = collected(&server);
    assert_eq!((found.alive(), found.removed()), (1, 1));
    let mut left = [0; 5];
    alive.read(0, 0, &mut left).expect("there");
    assert_eq!(&left, b"alive");
    let keys = server.call(&["keys", "*"]);
    let foreign = keys.lines().filter(|key| !key.contains(alive_home.trim_end_matches('/')));
    assert_eq!(foreign.collect::<Vec<_>>(), [register_of(&server, &alive_home)], "of:\n{keys}");
    drop(alive);
    assert_eq!(server.keys(), "0");
    assert!(collected(&server).stores.is_empty());
}

#[test]
fn a_lost_entry_comes_back_and_a_lost_lease_is_no_death() {
    let Some(server) = Redis::start() else { return };
    let hand = Hand::new(server.operator());
    let (alive, home) = backing(server.operator(), options());
    alive.write(0, b"alive").expect("room");
    // As two stores that register at once, or a collector beside one that begins, may do.
    hand.delete(&register_of(&server, &home));
    hand.delete(&format!("{home}lease"));
    let began = Instant::now();
    let fate = loop {
        assert!(began.elapsed() < Duration::from_secs(120), "it is not registered again");
        if let Some(store) = collected(&server).stores.pop() {
            break store.fate;
        }
        thread::sleep(Duration::from_millis(50));
    };
    assert!(matches!(fate, Fate::Unsure | Fate::Alive), "{fate:?}");
    assert_eq!(collected(&server).alive(), 1);
    let mut left = [0; 5];
    alive.read(0, 0, &mut left).expect("there");
    drop(alive);
    assert_eq!(server.keys(), "0");
}

/// Several collectors and stores that begin and end beside each other.
#[test]
fn stores_and_collectors_beside_each_other_leave_nothing_and_harm_none() {
    let Some(server) = Redis::start() else { return };
    let operator = server.operator();
    let extent = vec![3; EXTENT_BYTES_MIN];
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..10 {
                    let (store, home) = backing(operator.clone(), Options::default());
                    store.write(round, &extent).expect("room");
                    let mut back = vec![0; extent.len()];
                    store.read(round, 0, &mut back).expect("no collector takes it");
                    assert!(back == extent);
                    if round % 2 == 0 {
                        store.crash();
                        Hand::new(operator.clone()).age(&home);
                    }
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let found = collect(operator.clone(), "pagefold", CollectOptions::default());
                    let found = found.expect("it answers");
                    let failed = found.count(|fate| matches!(fate, Fate::Failed(_)));
                    assert_eq!(failed, 0, "{found:?}");
                }
            });
        }
    });
    // A store that lost its entry and died is not found: so each that is left is entered here.
    let hand = Hand::new(operator.clone());
    let keys = server.call(&["keys", "*/lease"]);
    let homes = keys.lines().filter_map(|key| key.strip_suffix("lease"));
    for home in homes {
        let id = home.strip_prefix("pagefold/").expect("below the prefix").trim_end_matches('/');
        hand.write("pagefold/stores-00", id.to_owned());
        let lease = hand.read(&format!("{home}lease")).expect("a lease");
        let counts = lease.split_once(' ').map_or("", |(_, counts)| counts);
        hand.write(&format!("{home}lease"), format!("1700000000 {counts}"));
        collected(&server);
    }
    let keys = server.call(&["keys", "*"]);
    assert!(!keys.contains("slot-") && !keys.contains("lease"), "{keys}");
}
