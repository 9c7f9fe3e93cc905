//! Random operations against an oracle, with faults: what is read is right, or an error of the object that a fault hit.

use std::{collections::HashMap, sync::Arc, thread};

use pagefold_spill::{Batch, EXTENT_BYTES_MIN, Label, Owner, Place, ReadError, Spill, WriteError};
use pagefold_testkit::seed::Seed;
use rand::{Rng, RngExt as _, seq::IndexedRandom as _};

use pagefold_testkit::backing::{FaultyBacking, READ_FAULTS, WRITE_FAULTS, WriteFault};

struct Object {
    owner: Owner,
    bytes: Vec<u8>,
    /// A write fault hit its extent, or one beside it.
    may_be_damaged: bool,
}

/// The bytes of an object tell its owner.
fn bytes_of(owner: Owner, rng: &mut impl Rng) -> Vec<u8> {
    let len = *[0, 1, 15, 300, 1000, 4096, 9000].choose(rng).expect("some");
    let Owner(first, second) = owner;
    (0..len as u64).map(|at| (at * 31 + first * 7 + second * 131).to_le_bytes()[0]).collect()
}

fn label(owner: Owner) -> Label {
    Label::new((owner.1 % 64).to_le_bytes()[0])
}

struct Model<'a> {
    spill: &'a Spill,
    backing: &'a FaultyBacking,
    objects: HashMap<Place, Object>,
    batch: Batch,
    number: u64,
    tag: u64,
    with_faults: bool,
    wrote: u64,
    read: u64,
    damaged: u64,
}

impl<'a> Model<'a> {
    fn new(spill: &'a Spill, backing: &'a FaultyBacking, tag: u64, with_faults: bool) -> Self {
        Self {
            spill,
            backing,
            objects: HashMap::new(),
            batch: spill.batch().expect("memory"),
            number: 0,
            tag,
            with_faults,
            wrote: 0,
            read: 0,
            damaged: 0,
        }
    }

    fn step(&mut self, rng: &mut impl Rng) {
        match rng.random_range(0..100) {
            0..20 => self.write(rng),
            20..60 => self.read(rng),
            60..90 => self.release(rng),
            90..97 => self.clean(),
            _ => _ = self.spill.discard_one(),
        }
    }

    fn write(&mut self, rng: &mut impl Rng) {
        let mut new = Vec::new();
        for _ in 0..rng.random_range(1..40) {
            self.number += 1;
            let owner = Owner(self.tag, self.number);
            let bytes = bytes_of(owner, rng);
            if self.batch.push(owner, label(owner), &bytes).is_err() {
                break;
            }
            new.push((owner, bytes));
        }
        let fault = (self.with_faults && rng.random_range(0..6) == 0)
            .then(|| *WRITE_FAULTS.choose(rng).expect("some"));
        if let Some(fault) = fault {
            self.backing.fail_write(fault);
        }
        self.publish(new, fault, rng);
        self.backing.disarm();
    }

    fn publish(
        &mut self,
        new: Vec<(Owner, Vec<u8>)>,
        fault: Option<WriteFault>,
        rng: &mut impl Rng,
    ) {
        let written = match self.spill.write(&mut self.batch) {
            Ok(written) => written,
            Err(WriteError::Full) => return self.batch.clear(),
            Err(WriteError::Io(_)) if fault.is_some() => {
                // The next trial is due after a rest of a second: as a test cannot wait, this spill has none.
                return;
            }
            Err(WriteError::Resting(_)) if self.with_faults => return self.batch.clear(),
            Err(error) => panic!("{error:?} after {fault:?}"),
        };
        self.wrote += 1;
        let hit = fault.is_some();
        if fault == Some(WriteFault::Misdirected) {
            let other = written.place(0).slot() + 1;
            for (place, object) in &mut self.objects {
                object.may_be_damaged |= place.slot() == other;
            }
        }
        for (number, (owner, bytes)) in new.into_iter().enumerate() {
            // As an object that was overwritten while the extent was written.
            if rng.random_range(0..10) == 0 {
                continue;
            }
            let place = written.keep(number);
            let old = self.objects.insert(place, Object { owner, bytes, may_be_damaged: hit });
            assert!(old.is_none(), "{place:?} is given twice");
        }
    }

    fn some_place(&self, rng: &mut impl Rng) -> Option<Place> {
        let at = rng.random_range(0..self.objects.len().max(1));
        self.objects.keys().nth(at).copied()
    }

    fn read(&mut self, rng: &mut impl Rng) {
        let Some(place) = self.some_place(rng) else { return };
        let fault = (self.with_faults && rng.random_range(0..8) == 0)
            .then(|| *READ_FAULTS.choose(rng).expect("some"));
        if let Some(fault) = fault {
            self.backing.fail_read(fault);
        }
        let object = &self.objects[&place];
        let mut into = vec![0xee; object.bytes.len() + 3];
        match self.spill.read(place, &mut into) {
            Ok(len) => assert_eq!(into[..len], object.bytes, "{place:?} after {fault:?}"),
            Err(ReadError::Io(_) | ReadError::Timeout(_) | ReadError::Corrupt) => {
                assert!(object.may_be_damaged || fault.is_some(), "{place:?} after {fault:?}");
                self.damaged += 1;
            }
            Err(error) => panic!("{error} of {place:?} after {fault:?}"),
        }
        self.backing.disarm();
        self.read += 1;
    }

    fn release(&mut self, rng: &mut impl Rng) {
        let Some(place) = self.some_place(rng) else { return };
        let object = self.objects.remove(&place).expect("its own");
        assert_eq!(self.spill.release(place).expect("live").label, label(object.owner));
        assert_eq!(self.spill.release(place), None, "once");
        assert!(matches!(self.spill.read(place, &mut [0; 9000]), Err(ReadError::Gone)));
    }

    /// Moves what is left of the sparsest extent.
    fn clean(&mut self) {
        let Some(&(slot, _)) = self.spill.sparsest(1, 60).first() else { return };
        let live = match self.spill.live_objects(slot) {
            Ok(live) => live,
            Err(ReadError::Gone) => return,
            Err(error) => {
                let of_slot = |place: &&Place| place.slot() == slot;
                let hit = self
                    .objects
                    .iter()
                    .find(|(place, object)| of_slot(place) && object.may_be_damaged);
                assert!(hit.is_some(), "{error} of slot {slot}");
                return;
            }
        };
        let own: Vec<_> =
            live.into_iter().filter(|object| self.objects.contains_key(&object.place)).collect();
        for object in &own {
            let known = &self.objects[&object.place];
            assert_eq!((object.owner, &object.bytes), (known.owner, &known.bytes));
            if self.batch.push(object.owner, object.label, &object.bytes).is_err() {
                self.batch.clear();
                return;
            }
        }
        if own.is_empty() {
            return;
        }
        let Ok(written) = self.spill.write(&mut self.batch) else { return self.batch.clear() };
        for (number, object) in own.into_iter().enumerate() {
            let new = written.keep(number);
            let moved = self.objects.remove(&object.place).expect("its own");
            assert!(self.spill.release(object.place).is_some());
            self.objects.insert(new, Object { may_be_damaged: false, ..moved });
        }
    }

    fn end(mut self, rng: &mut impl Rng) {
        for (place, object) in &self.objects {
            assert_eq!(self.spill.kept(*place), Some((label(object.owner), object.bytes.len())));
        }
        while !self.objects.is_empty() {
            self.release(rng);
        }
    }
}

fn spill(backing: &Arc<FaultyBacking>, encrypts: bool, extents: u64) -> Spill {
    let builder = Spill::builder(Arc::clone(backing)).extent_bytes(EXTENT_BYTES_MIN);
    let limit = extents * EXTENT_BYTES_MIN as u64;
    builder.limit(limit).encrypts(encrypts).without_rests().build().expect("sensible")
}

#[test]
fn without_faults_every_read_is_right() {
    for (encrypts, cached) in [(true, true), (true, false), (false, true)] {
        let backing = Arc::new(FaultyBacking::new(cached));
        let spill = spill(&backing, encrypts, 12);
        let mut rng = Seed::for_test(0x51).rng(u64::from(encrypts));
        let mut model = Model::new(&spill, &backing, 1, false);
        for _ in 0..4000 {
            model.step(&mut rng);
        }
        spill.audit().expect("right");
        assert!(model.wrote > 50 && model.read > 1000, "{} {}", model.wrote, model.read);
        model.end(&mut rng);
        let stats = spill.stats();
        assert_eq!((stats.extents, stats.live_objects, stats.live_bytes), (0, 0, 0));
        assert_eq!((stats.corrupt, stats.read_failures, stats.timeouts), (0, 0, 0));
        while spill.discard_one() {}
        assert_eq!(backing.slots(), 0, "all space is given back");
    }
}

#[test]
fn with_every_fault_a_read_is_right_or_an_error_of_what_the_fault_hit() {
    for seed in 0..8 {
        for encrypts in [true, false] {
            let backing = Arc::new(FaultyBacking::new(seed % 2 == 0));
            let spill = spill(&backing, encrypts, 12);
            let mut rng = Seed::for_test(0x52).rng(seed);
            let mut model = Model::new(&spill, &backing, 1, true);
            for _ in 0..2000 {
                model.step(&mut rng);
            }
            spill.audit().expect("right");
            assert!(model.wrote > 30 && model.damaged > 20, "{} {}", model.wrote, model.damaged);
            model.end(&mut rng);
            assert_eq!(spill.stats().extents, 0);
        }
    }
}

#[test]
fn four_threads_keep_to_their_own_objects() {
    let backing = Arc::new(FaultyBacking::new(true));
    let spill = spill(&backing, true, 40);
    thread::scope(|scope| {
        for tag in 0..4 {
            let (spill, backing) = (&spill, &backing);
            scope.spawn(move || {
                let mut rng = Seed::for_test(0x53).rng(tag);
                let mut model = Model::new(spill, backing, tag, false);
                for _ in 0..1500 {
                    model.step(&mut rng);
                }
                model.end(&mut rng);
            });
        }
    });
    spill.audit().expect("right");
    assert_eq!(spill.stats().extents, 0);
}
