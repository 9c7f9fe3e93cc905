//! Extents in a server for S3: by range, and with every fault of the way to it.

use std::{io, time::Duration};

use pagefold_spill::{Label, Owner, Place, ReadError, Spill, WriteError};
use pagefold_spill_opendal::{
    CollectOptions, Fate, OpendalBacking, OpendalError, Options, collect, connect,
};
use pagefold_testkit::seed::Seed;
use rand::Rng as _;

use crate::{
    proxy::{Fault, Proxy},
    servers::{Hand, Moto, address},
    stores::{backing, spill},
};

/// A spill behind a proxy, without retries.
struct Behind {
    proxy: Proxy,
    spill: Spill,
    home: String,
    /// Beside the proxy.
    hand: Hand,
}

impl Behind {
    fn new(bucket: &str) -> Option<Self> {
        let moto = Moto::start()?;
        moto.bucket(bucket);
        let proxy = Proxy::start(moto.port);
        let operator = connect(&address(bucket, proxy.port)).expect("right");
        let options = Options::default().retries(0).timeout(Duration::from_secs(1));
        let (backing, home) = backing(operator, options);
        let hand = Hand::new(connect(&moto.address(bucket)).expect("right"));
        Some(Self { proxy, spill: spill(backing, Duration::from_secs(30)), home, hand })
    }

    /// Some objects in an extent.
    fn write(&self, seed: u64) -> Result<Vec<Place>, WriteError> {
        let mut batch = self.spill.batch().expect("memory");
        for (number, object) in objects(seed).iter().enumerate() {
            batch.push(Owner(0, number as u64), Label::NONE, object).expect("room");
        }
        let written = self.spill.write(&mut batch)?;
        Ok((0..written.len()).map(|number| written.keep(number)).collect())
    }

    fn read(&self, places: &[Place], seed: u64) {
        for (place, object) in places.iter().zip(objects(seed)) {
            assert_eq!(self.spill.read_object(*place).expect("there").1, object);
        }
    }

    /// Until the backing was told of all free slots.
    fn free(&self, places: Vec<Place>) {
        for place in places {
            self.spill.release(place).expect("live");
        }
        while self.spill.discard_one() {}
    }
}

fn objects(seed: u64) -> Vec<Vec<u8>> {
    let mut rng = Seed::new(seed).rng(0);
    [1, 5000, 17, 4096, 0, 30_000]
        .map(|len| {
            let mut object = vec![0; len];
            rng.fill_bytes(&mut object);
            object
        })
        .into()
}

#[test]
fn objects_come_back_by_range_and_a_dropped_store_leaves_nothing() {
    let Some(behind) = Behind::new("ranges") else { return };
    let extents: Vec<_> = (0..5).map(|seed| behind.write(seed).expect("room")).collect();
    for (seed, places) in extents.iter().enumerate().rev() {
        behind.read(places, seed as u64);
    }
    assert_eq!(behind.hand.objects(&behind.home).len(), 6, "extents and a lease");
    behind.free(extents.into_iter().next().expect("five"));
    assert_eq!(behind.hand.objects("").len(), 5);
    let Behind { spill, hand, .. } = behind;
    drop(spill);
    assert_eq!(hand.objects(""), [""; 0]);
}

#[test]
fn each_fault_of_a_read_is_an_error_of_its_kind_and_the_next_read_is_right() {
    let Some(behind) = Behind::new("reads") else { return };
    let places = behind.write(1).expect("room");
    for fault in
        [Fault::Unavailable, Fault::Silent, Fault::Closed, Fault::Truncated, Fault::LostAnswer]
    {
        behind.proxy.fail(fault, "GET");
        for &place in &places[1..3] {
            match (behind.spill.read_object(place), fault) {
                (Err(ReadError::Timeout(_)), Fault::Silent) => {}
                (Err(ReadError::Io(error)), _) if fault != Fault::Silent => {
                    assert_eq!(error.kind(), io::ErrorKind::Other, "{fault:?}: {error}");
                }
                (outcome, _) => panic!("{fault:?}: {outcome:?}"),
            }
        }
        behind.proxy.heal();
        behind.read(&places, 1);
    }
    assert_eq!(behind.proxy.hits(), 10, "no retries");
    assert_eq!(behind.spill.stats().timeouts, 2);
}

#[test]
fn what_is_deleted_or_changed_behind_the_store_is_an_error_of_its_extent() {
    let Some(behind) = Behind::new("deleted") else { return };
    let (gone, short, swapped, kept) = (
        behind.write(1).expect("room"),
        behind.write(2).expect("room"),
        behind.write(3).expect("room"),
        behind.write(4).expect("room"),
    );
    let path = |slot| format!("{}slot-{slot}", behind.home);
    behind.hand.delete(&path(0));
    behind.hand.write(&path(1), vec![1; 100]);
    behind.hand.write(&path(2), vec![2; 1 << 16]);
    for &place in &gone {
        let Err(ReadError::Io(error)) = behind.spill.read_object(place) else {
            panic!("it is gone")
        };
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
    for &place in short[1..].iter().chain(&swapped) {
        let outcome = behind.spill.read_object(place);
        assert!(matches!(outcome, Err(ReadError::Corrupt)), "{outcome:?}");
    }
    behind.read(&kept, 4);
}

#[test]
fn each_fault_of_a_write_leaves_its_objects_and_later_writes_are_right() {
    let Some(behind) = Behind::new("writes") else { return };
    let mut extents = vec![behind.write(0).expect("room")];
    for (seed, fault) in
        (1..).zip([Fault::Unavailable, Fault::LostAnswer, Fault::Silent, Fault::Closed])
    {
        behind.proxy.fail(fault, "PUT");
        let Err(WriteError::Io(error)) = behind.write(seed) else {
            panic!("{fault:?} is an error")
        };
        let kind =
            if fault == Fault::Silent { io::ErrorKind::TimedOut } else { io::ErrorKind::Other };
        assert_eq!(error.kind(), kind, "{fault:?}: {error}");
        behind.proxy.heal();
        extents.push(behind.write(seed).expect("it answers again"));
    }
    for (seed, places) in extents.iter().enumerate() {
        behind.read(places, seed as u64);
    }
    behind.spill.audit().expect("sound");
    let Behind { spill, hand, .. } = behind;
    drop((extents, spill));
    assert_eq!(hand.objects(""), [""; 0], "the extent whose answer was lost is gone, too");
}

/// The server does what it was asked long after the caller was told that it failed, and over a newer extent of the same slot.
#[test]
fn writes_and_deletes_that_come_late_damage_nothing() {
    let Some(behind) = Behind::new("late") else { return };
    behind.proxy.fail(Fault::Late, "PUT");
    behind.write(1).expect_err("no answer");
    behind.proxy.heal();
    let places = behind.write(2).expect("it answers");
    assert_eq!(behind.proxy.release(1), 1);
    behind.read(&places, 2);

    // Its slot is free, and the next extent has the same.
    behind.proxy.fail(Fault::Late, "DELETE");
    behind.free(places);
    assert_eq!(behind.spill.stats().discard_failures, 1);
    behind.proxy.heal();
    let places = behind.write(3).expect("it answers");
    assert_eq!(behind.spill.stats().extents, 1);
    assert_eq!(behind.proxy.release(1), 1);
    behind.read(&places, 3);
    let Behind { spill, hand, .. } = behind;
    drop(spill);
    assert_eq!(hand.objects(""), [""; 0]);
}

#[test]
fn a_service_that_refuses_or_is_silent_makes_no_store() {
    let Some(moto) = Moto::start() else { return };
    moto.bucket("begin");
    let proxy = Proxy::start(moto.port);
    let options = Options::default().retries(0).timeout(Duration::from_millis(300));
    for fault in [Fault::Unavailable, Fault::Silent, Fault::LostAnswer] {
        proxy.fail(fault, "PUT");
        let operator = connect(&address("begin", proxy.port)).expect("right");
        let refused = OpendalBacking::new(operator, "pagefold", options);
        assert!(matches!(refused, Err(OpendalError::Service(_))), "{fault:?}");
        let hand = Hand::new(connect(&moto.address("begin")).expect("right"));
        assert_eq!(hand.objects(""), [""; 0], "{fault:?}");
    }
    let operator = connect(&moto.address("no-such-bucket")).expect("right");
    let refused = OpendalBacking::new(operator, "pagefold", options);
    assert!(matches!(refused, Err(OpendalError::Service(_))));
}

#[test]
fn a_collector_takes_what_died_and_goes_on_after_an_error() {
    let Some(moto) = Moto::start() else { return };
    moto.bucket("collected");
    let proxy = Proxy::start(moto.port);
    let hand = Hand::new(connect(&moto.address("collected")).expect("right"));
    let options = Options::default().retries(0);
    let (alive, home) = backing(hand.operator.clone(), options);
    let dead = ["00", "ff"].map(|end| format!("pagefold/{end}3456789abcdef0123456789abcdef0/"));
    for home in &dead {
        for name in ["slot-0", "slot-17", "again-3"] {
            hand.write(&format!("{home}{name}"), "old");
        }
        hand.write(&format!("{home}lease"), "1700000000 64 8");
    }
    let collect = || {
        let operator = connect(&address("collected", proxy.port)).expect("right");
        collect(operator, "pagefold", CollectOptions::default().calls(options))
    };
    proxy.fail(Fault::Unavailable, "DELETE");
    let found = collect().expect("it lists");
    assert_eq!((found.alive(), found.removed()), (1, 0));
    assert_eq!(found.count(|fate| matches!(fate, Fate::Failed(_))), 2);
    proxy.fail(Fault::Silent, "GET");
    assert!(matches!(collect(), Err(OpendalError::Service(_))));
    proxy.heal();
    let found = collect().expect("it lists");
    assert_eq!((found.alive(), found.removed()), (1, 2));
    assert_eq!(hand.objects(""), [format!("{home}lease")]);
    drop(alive);
}
