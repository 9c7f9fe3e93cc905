//! Models of the slots of a backing: a reader beside release and reuse, releases beside each other and beside the writer and
//! the cleaner, and the discard of a free slot.
//!
//! `cargo xtask loom` runs them. The backing is in memory and answers at once, so no thread reads. An extent is read and written in
//! two halves, between which loom changes threads: as a file may be read while it is written.
#![cfg(loom)]

use std::{collections::HashMap, io};

use loom::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};
use pagefold_spill::{
    Backing, EXTENT_BYTES_MIN, Label, Owner, Place, ReadError, Spill, WriteError, Written,
};

fn model(f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(2));
    builder.max_branches = 100_000;
    builder.check(f);
}

type Half = loom::sync::Mutex<HashMap<u32, Vec<u8>>>;

#[derive(Debug)]
struct Halves([Half; 2]);

impl Halves {
    fn half(&self, at: usize) -> loom::sync::MutexGuard<'_, HashMap<u32, Vec<u8>>> {
        self.0[at].lock().expect("no panic under it")
    }
}

/// Bytes of the first half: within the first object of each model.
const HALF: usize = 8;

impl Backing for Halves {
    fn write(&self, slot: u32, bytes: &[u8]) -> io::Result<()> {
        self.half(0).insert(slot, bytes[..HALF].to_vec());
        self.half(1).insert(slot, bytes[HALF..].to_vec());
        Ok(())
    }

    fn read(&self, slot: u32, offset: u32, into: &mut [u8]) -> io::Result<()> {
        let mut bytes = self.half(0).get(&slot).cloned().unwrap_or_default();
        bytes.extend(self.half(1).get(&slot).into_iter().flatten());
        let range = bytes.get(offset as usize..).and_then(|bytes| bytes.get(..into.len()));
        into.copy_from_slice(range.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn try_read(&self, slot: u32, offset: u32, into: &mut [u8]) -> io::Result<()> {
        self.read(slot, offset, into)
    }

    fn discard(&self, slot: u32) -> io::Result<()> {
        (0..2).for_each(|at| _ = self.half(at).remove(&slot));
        Ok(())
    }
}

fn spill(slots: u64) -> Arc<Spill> {
    let halves = Halves([Half::new(HashMap::new()), Half::new(HashMap::new())]);
    let builder = Spill::builder(halves).extent_bytes(EXTENT_BYTES_MIN).without_rests();
    let builder = builder.encrypts(false).limit(slots * EXTENT_BYTES_MIN as u64);
    Arc::new(builder.build().expect("sensible"))
}

const LEN: usize = 20;

fn try_write<'s>(spill: &'s Spill, bytes: &[u8]) -> Result<Written<'s>, WriteError> {
    let mut batch = spill.batch().expect("memory");
    for byte in bytes {
        let pushed = batch.push(Owner(0, u64::from(*byte)), Label::NONE, &[*byte; LEN]);
        pushed.expect("an extent is longer");
    }
    spill.write(&mut batch)
}

/// An object of each byte, all of them live.
fn write(spill: &Spill, bytes: &[u8]) -> Vec<Place> {
    let written = try_write(spill, bytes).expect("a slot is free");
    (0..bytes.len()).map(|number| written.keep(number)).collect()
}

/// What lies there; `None` if nothing does. Anything else would be damage, and there is none.
fn read(spill: &Spill, place: Place) -> Option<u8> {
    let mut object = [0; LEN];
    match spill.read(place, &mut object) {
        Ok(len) => {
            assert!(len == LEN && object.iter().all(|byte| *byte == object[0]), "torn");
            Some(object[0])
        }
        Err(ReadError::Gone) => None,
        Err(error) => panic!("{error} of {place:?}"),
    }
}

fn ends_with(spill: &Spill, objects: u64, extents: u64) {
    spill.audit().expect("right");
    let stats = spill.stats();
    assert_eq!((stats.live_objects, stats.extents), (objects, extents), "{stats:?}");
    assert_eq!((stats.corrupt, stats.read_failures), (0, 0), "{stats:?}");
}

/// In a thread of the model.
fn beside<R: 'static>(
    spill: &Arc<Spill>,
    f: impl FnOnce(&Spill) -> R + Send + 'static,
) -> thread::JoinHandle<R> {
    let spill = Arc::clone(spill);
    thread::spawn(move || f(&spill))
}

#[test]
fn a_reader_beside_release_and_reuse_finds_its_own_object_or_none() {
    model(|| {
        let spill = spill(1);
        let old = write(&spill, &[1])[0];
        let other = beside(&spill, move |spill| {
            assert!(spill.release(old).is_some());
            // In the only slot, at the same offset.
            write(spill, &[2])[0]
        });
        assert!(matches!(read(&spill, old), Some(1) | None));
        let new = other.join().expect("no panic");
        assert_eq!((read(&spill, old), read(&spill, new)), (None, Some(2)));
        assert!(new != old && new.slot() == old.slot());
        ends_with(&spill, 1, 1);
    });
}

#[test]
fn a_reader_beside_the_discard_of_its_slot_finds_its_own_object_or_none() {
    model(|| {
        let spill = spill(1);
        let old = write(&spill, &[1])[0];
        let other = beside(&spill, move |spill| {
            assert!(spill.release(old).is_some());
            assert!(spill.discard_one());
        });
        assert!(matches!(read(&spill, old), Some(1) | None));
        other.join().expect("no panic");
        ends_with(&spill, 0, 0);
    });
}

#[test]
fn of_two_releases_of_an_object_one_finds_it() {
    model(|| {
        let spill = spill(1);
        let place = write(&spill, &[1])[0];
        let other = beside(&spill, move |spill| spill.release(place).is_some());
        let own = spill.release(place).is_some();
        assert!(own != other.join().expect("no panic"));
        ends_with(&spill, 0, 0);
        write(&spill, &[2]);
        ends_with(&spill, 1, 1);
    });
}

#[test]
fn two_releases_of_the_last_objects_free_their_slot_once() {
    model(|| {
        let spill = spill(1);
        let places = write(&spill, &[1, 2]);
        let (one, two) = (places[0], places[1]);
        let other = beside(&spill, move |spill| {
            assert!(spill.release(two).is_some());
            // Only if it was the last one.
            try_write(spill, &[3]).is_ok()
        });
        assert!(spill.release(one).is_some());
        let own = try_write(&spill, &[4]).is_ok();
        let other = other.join().expect("no panic");
        // Without an object that is kept, what was written is free again.
        assert!(own || other);
        ends_with(&spill, 0, 0);
    });
}

#[test]
fn a_slot_stays_until_its_writer_ends_whatever_is_released_before() {
    model(|| {
        let spill = spill(1);
        // Where the caller's index would name the object.
        let word = Arc::new(AtomicU64::new(0));
        let other = {
            let word = Arc::clone(&word);
            beside(&spill, move |spill| {
                let bits = word.swap(0, Ordering::AcqRel);
                if bits != 0 {
                    let place = Place::from_bits(bits - 1);
                    assert!(spill.release(place).is_some(), "only this thread has it");
                }
                // The slot is the writer's, or has the object of number 1.
                assert!(bits == 0 || matches!(try_write(spill, &[9]), Err(WriteError::Full)));
            })
        };
        let written = try_write(&spill, &[1, 2]).expect("a slot is free");
        word.swap(written.keep(0).bits() + 1, Ordering::AcqRel);
        let second = written.keep(1);
        drop(written);
        other.join().expect("no panic");
        assert_eq!(read(&spill, second), Some(2));
        let left = word.swap(0, Ordering::AcqRel);
        ends_with(&spill, if left == 0 { 1 } else { 2 }, 1);
    });
}

#[test]
fn the_writer_and_the_last_release_free_the_slot_once() {
    model(|| {
        let spill = spill(1);
        let written = try_write(&spill, &[1]).expect("a slot is free");
        let place = written.keep(0);
        let other = beside(&spill, move |spill| assert!(spill.release(place).is_some()));
        drop(written);
        other.join().expect("no panic");
        ends_with(&spill, 0, 0);
        assert_ne!(write(&spill, &[2])[0], place);
        ends_with(&spill, 1, 1);
    });
}

#[test]
fn of_the_cleaner_and_a_release_one_moves_the_object_or_takes_it_out() {
    model(|| {
        let spill = spill(2);
        let places = write(&spill, &[1, 2]);
        let words = Arc::new(places.iter().map(|place| AtomicU64::new(place.bits() + 1)).collect());
        let other = {
            let words: Arc<Vec<AtomicU64>> = Arc::clone(&words);
            beside(&spill, move |spill| {
                let bits = words[0].swap(0, Ordering::AcqRel);
                assert!(spill.release(Place::from_bits(bits - 1)).is_some(), "one of the two");
            })
        };
        let live = spill.live_objects(places[0].slot()).expect("nothing is damaged");
        let mut batch = spill.batch().expect("memory");
        for object in &live {
            batch.push(object.owner, object.label, &object.bytes).expect("an extent is longer");
        }
        let written = spill.write_moved(&mut batch).expect("a slot is free");
        for (number, object) in live.iter().enumerate() {
            assert_eq!(object.bytes, [u8::try_from(object.owner.1).expect("a byte"); LEN]);
            let (old, new) = (object.place.bits() + 1, written.keep(number));
            let word = words.iter().find(|word| word.load(Ordering::Acquire) == old);
            let moved = word.is_some_and(|word| {
                let exchanged =
                    word.compare_exchange(old, new.bits() + 1, Ordering::AcqRel, Ordering::Relaxed);
                exchanged.is_ok()
            });
            let released = if moved { object.place } else { new };
            assert!(spill.release(released).is_some());
        }
        drop(written);
        other.join().expect("no panic");
        let left = words[1].load(Ordering::Acquire);
        assert_eq!(read(&spill, Place::from_bits(left - 1)), Some(2));
        assert_eq!(words[0].load(Ordering::Acquire), 0);
        ends_with(&spill, 1, 1);
    });
}

#[test]
fn a_discard_beside_a_write_takes_no_extent_that_is_kept() {
    model(|| {
        let spill = spill(1);
        let old = write(&spill, &[1])[0];
        assert!(spill.release(old).is_some());
        let other = beside(&spill, |spill| _ = spill.discard_one());
        // The slot is being discarded, or is there to be written.
        let place = match try_write(&spill, &[2]) {
            Ok(written) => Some(written.keep(0)),
            Err(WriteError::Full) => None,
            Err(error) => panic!("{error}"),
        };
        other.join().expect("no panic");
        assert_eq!(place.and_then(|place| read(&spill, place)), place.map(|_| 2));
        ends_with(&spill, place.map_or(0, |_| 1), place.map_or(0, |_| 1));
    });
}
