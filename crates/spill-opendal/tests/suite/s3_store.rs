//! A store with more data than memory over a server for S3 that fails for a while.

use std::{thread, time::Duration};

use pagefold_spill_opendal::{Options, connect};
use pagefold_store::{GetError, Page, Space, TryGetError};
use pagefold_testkit::seed::Seed;
use rand::{Rng as _, RngExt as _};

use crate::{
    proxy::{Fault, Proxy},
    servers::{Hand, Moto, address},
    stores::{self, get, spill},
};

const COUNT: u64 = 1500;

/// Does not compress, so that few pages are many bytes.
fn page(key: u64, version: u64) -> Page {
    let mut page = [0; 4096];
    Seed::new(key << 8 | version).rng(0).fill_bytes(&mut page);
    page
}

/// Keys of pages in memory, and some of those in the service.
fn split(space: &Space, version: u64) -> (Vec<u64>, Vec<u64>) {
    let mut into = [0; 4096];
    let (mut here, mut away) = (Vec::new(), Vec::new());
    for key in 0..COUNT {
        match space.try_get(key, &mut into) {
            Ok(()) => {
                assert!(into == page(key, version), "page {key}");
                here.push(key);
            }
            Err(TryGetError::WouldBlock) => away.push(key),
            Err(error) => panic!("{error} of page {key}"),
        }
    }
    (here, away)
}

/// Once the spiller writes nothing more.
fn split_at_rest(space: &Space, version: u64) -> (Vec<u64>, Vec<u64>) {
    let mut last = split(space, version);
    loop {
        thread::sleep(Duration::from_millis(200));
        let next = split(space, version);
        if next == last {
            return next;
        }
        last = next;
    }
}

#[test]
fn a_server_that_fails_costs_what_is_there_for_a_while_and_nothing_for_good() {
    let Some(moto) = Moto::start() else { return };
    moto.bucket("store");
    let proxy = Proxy::start(moto.port);
    let operator = connect(&address("store", proxy.port)).expect("right");
    let (store, space, home) = stores::store(operator, COUNT, page);
    let (here, away) = split_at_rest(&space, 0);
    assert!(away.len() > 300 && here.len() > 200, "{} here, {} away", here.len(), away.len());

    for fault in [Fault::Unavailable, Fault::Silent, Fault::Closed, Fault::Truncated] {
        proxy.fail(fault, "");
        let (here, away) = split_at_rest(&space, 0);
        for &key in away.iter().step_by(away.len() / 3) {
            match get(&space, key) {
                Err(GetError::Timeout) if fault == Fault::Silent => {}
                Err(GetError::Io(_)) if fault != Fault::Silent => {}
                outcome => panic!("{fault:?}, page {key}: {:?}", outcome.map(drop)),
            }
        }
        for &key in &here {
            assert!(get(&space, key) == Ok(page(key, 0)), "{fault:?}, page {key}");
        }
        // A put either holds or says that it does not.
        for &key in here.iter().step_by(200) {
            let _ = space.put(key, &page(key, 0));
        }
    }
    proxy.heal();
    for key in (0..COUNT).step_by(3) {
        assert!(get(&space, key) == Ok(page(key, 0)), "page {key}");
    }

    // Faults come and go while it recovers.
    let mut rng = Seed::for_test(0x90).rng(0);
    let mut known = vec![0; usize::try_from(COUNT).expect("small")];
    for round in 0..150 {
        if round % 10 == 0 {
            let faults = [
                Fault::None,
                Fault::None,
                Fault::Unavailable,
                Fault::LostAnswer,
                Fault::Closed,
                Fault::Truncated,
            ];
            proxy.fail(faults[rng.random_range(0..faults.len())], "");
        }
        let key = rng.random_range(0..COUNT);
        let version = &mut known[usize::try_from(key).expect("small")];
        if rng.random_ratio(1, 2) {
            if space.put(key, &page(key, *version + 1)).is_ok() {
                *version += 1;
            }
        } else {
            match get(&space, key) {
                Ok(found) => assert!(found == page(key, *version), "page {key}"),
                Err(GetError::Io(_) | GetError::Timeout) => {}
                Err(error) => panic!("{error} of page {key}"),
            }
        }
    }
    proxy.heal();
    for (key, &version) in (0..COUNT).zip(&known) {
        assert!(get(&space, key) == Ok(page(key, version)), "page {key}");
    }
    store.validate().expect("valid");

    // A person deletes extents behind the store's back.
    let hand = Hand::new(connect(&moto.address("store")).expect("right"));
    let extents: Vec<_> =
        hand.objects(&home).into_iter().filter(|path| !path.ends_with("lease")).collect();
    assert!(extents.len() > 10, "{}", extents.len());
    for path in extents.iter().step_by(2) {
        hand.delete(path);
    }
    let mut lost = 0;
    for (key, version) in (0..COUNT).zip(&mut known) {
        match get(&space, key) {
            Ok(found) => assert!(found == page(key, *version), "page {key}"),
            Err(GetError::Io(std::io::ErrorKind::NotFound)) => {
                lost += 1;
                *version += 1;
                space.put(key, &page(key, *version)).expect("room");
            }
            Err(error) => panic!("{error} of page {key}"),
        }
    }
    assert!(lost > 50 && lost < COUNT, "{lost}");
    for (key, &version) in (0..COUNT).zip(&known) {
        assert!(get(&space, key) == Ok(page(key, version)), "page {key}");
    }
    store.validate().expect("valid");
    drop((space, store));
    assert_eq!(hand.objects(""), [""; 0]);
}

#[test]
fn a_retry_hides_one_failure() {
    let Some(moto) = Moto::start() else { return };
    moto.bucket("retry");
    let proxy = Proxy::start(moto.port);
    let operator = connect(&address("retry", proxy.port)).expect("right");
    let (backing, _) = stores::backing(operator, Options::default());
    let spill = spill(backing, Duration::from_secs(30));
    proxy.fail(Fault::Unavailable, "PUT");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while proxy.hits() == 0 {
                std::thread::yield_now();
            }
            proxy.heal();
        });
        let mut batch = spill.batch().expect("memory");
        let label = pagefold_spill::Label::NONE;
        batch.push(pagefold_spill::Owner(0, 0), label, b"object").expect("room");
        let place = spill.write(&mut batch).expect("the second try").keep(0);
        assert_eq!(spill.read_object(place).expect("there").1, b"object");
    });
}
