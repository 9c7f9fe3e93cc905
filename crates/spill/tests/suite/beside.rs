//! Extents that another thread writes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use pagefold_spill::{
    Backing, Batch, EXTENT_BYTES_MIN, HeapBacking, Label, Owner, Spill, WriteError, Writing,
};
use pagefold_testkit::backing::{FaultyBacking, WriteFault};

fn batch(spill: &Spill, byte: u8) -> Batch {
    let mut batch = spill.batch().expect("memory");
    for key in 0..20 {
        batch.push(Owner(1, key), Label::NONE, &[byte; 1000]).expect("room");
    }
    batch
}

fn spill(backing: impl Backing + 'static) -> Spill {
    Spill::builder(backing)
        .extent_bytes(EXTENT_BYTES_MIN)
        .without_rests()
        .build()
        .expect("sensible")
}

#[test]
fn what_two_threads_wrote_in_turn_comes_back() {
    let spill = spill(HeapBacking::default());
    let mut flight: Option<Writing<'_>> = None;
    let mut kept = Vec::new();
    for byte in 1..=50 {
        let next = spill.start_write(batch(&spill, byte)).expect("room");
        if let Some(before) = flight.replace(next) {
            let (batch, written) = before.finish();
            assert!(batch.is_empty(), "it serves the next extent");
            let written = written.expect("a heap takes all");
            kept.push((byte - 1, written.keep(19)));
        }
    }
    drop(flight);
    let mut into = [0; 1000];
    for (byte, place) in kept {
        assert_eq!(spill.read(place, &mut into).expect("there"), 1000);
        assert_eq!(into, [byte; 1000]);
    }
    assert_eq!((spill.stats().writes, spill.stats().extents), (49, 49), "the last one was dropped");
    spill.audit().expect("valid");
}

#[test]
fn a_failure_is_that_of_its_extent_and_the_batch_comes_back() {
    let backing = Arc::new(FaultyBacking::new(true));
    let spill = spill(Arc::clone(&backing));
    for fault in [WriteFault::Fails, WriteFault::NoSpace] {
        backing.fail_write(fault);
        let bad = spill.start_write(batch(&spill, 1)).expect("it is found by the write");
        let good = spill.start_write(batch(&spill, 2)).expect("room");
        let (empty, failed) = bad.finish();
        assert!(empty.is_empty() && matches!(failed, Err(WriteError::Io(_))), "{failed:?}");
        let (_, written) = good.finish();
        let place = written.expect("no fault").keep(0);
        let mut into = [0; 1000];
        spill.read(place, &mut into).expect("there");
        assert_eq!(into, [2; 1000]);
        spill.release(place);
    }
    assert_eq!((spill.stats().write_failures, spill.stats().extents), (2, 0));
    spill.audit().expect("valid");
}

/// Writes when the test sends a word.
#[derive(Debug)]
struct Waits(std::sync::Mutex<mpsc::Receiver<()>>, HeapBacking);

impl Backing for Waits {
    fn write(&self, slot: u32, bytes: &[u8]) -> std::io::Result<()> {
        self.0.lock().expect("one writer").recv().expect("the test goes on");
        self.1.write(slot, bytes)
    }

    fn read(&self, slot: u32, offset: u32, into: &mut [u8]) -> std::io::Result<()> {
        self.1.read(slot, offset, into)
    }

    fn discard(&self, slot: u32) -> std::io::Result<()> {
        self.1.discard(slot)
    }
}

#[test]
fn a_slot_is_free_only_after_the_write_of_a_dropped_extent() {
    let (sender, receiver) = mpsc::channel();
    let backing = Arc::new(Waits(std::sync::Mutex::new(receiver), HeapBacking::default()));
    let spill = spill(Arc::clone(&backing));
    let dropped = spill.start_write(batch(&spill, 1)).expect("room");
    thread::scope(|scope| {
        let dropping = scope.spawn(|| drop(dropped));
        assert_eq!(spill.stats().extents, 1, "it is written, or will be");
        sender.send(()).expect("the writer waits");
        dropping.join().expect("no panic");
    });
    assert_eq!(spill.stats().extents, 0);
    assert_eq!(backing.1.extents().len(), 1, "the bytes stay until the slot is discarded");
    assert!(spill.discard_one());
    assert_eq!(backing.1.extents().len(), 0);
}

#[test]
fn a_full_backing_gives_the_batch_back_as_it_was() {
    let builder = Spill::builder(HeapBacking::default()).extent_bytes(EXTENT_BYTES_MIN);
    let spill = builder.limit(EXTENT_BYTES_MIN as u64).build().expect("sensible");
    let (_, written) = spill.start_write(batch(&spill, 1)).expect("one fits").finish();
    let place = written.expect("room").keep(3);
    let (batch, error) = spill.start_write(batch(&spill, 2)).expect_err("one slot");
    assert!(matches!(error, WriteError::Full), "{error}");
    assert_eq!(batch.len(), 20);
    spill.release(place);
    let (_, written) = spill.start_write(batch).expect("room again").finish();
    let place = written.expect("room").keep(3);
    let mut into = [0; 1000];
    spill.read(place, &mut into).expect("there");
    assert_eq!(into, [2; 1000]);
}

/// Its flushes take long.
#[derive(Debug, Default)]
struct SlowDisk {
    kept: HeapBacking,
    flushes: AtomicU64,
    may_end: AtomicBool,
}

impl Backing for SlowDisk {
    fn write(&self, slot: u32, bytes: &[u8]) -> std::io::Result<()> {
        self.kept.write(slot, bytes)
    }

    fn read(&self, slot: u32, offset: u32, into: &mut [u8]) -> std::io::Result<()> {
        self.kept.read(slot, offset, into)
    }

    fn starts_flushes(&self) -> bool {
        true
    }

    fn start_flush(&self, _: u32, bytes: usize) {
        assert!(bytes > 20_000 && bytes <= EXTENT_BYTES_MIN);
        self.flushes.fetch_add(1, Ordering::SeqCst);
        while !self.may_end.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn discard(&self, slot: u32) -> std::io::Result<()> {
        self.kept.discard(slot)
    }
}

#[test]
fn writes_do_not_wait_for_flushes_and_those_too_many_are_left_out() {
    let backing = Arc::new(SlowDisk::default());
    let spill = spill(Arc::clone(&backing));
    // Far more than may wait.
    for byte in 0..100 {
        let (_, written) = spill.start_write(batch(&spill, byte)).expect("room").finish();
        written.expect("room").keep(0);
    }
    assert!(backing.flushes.load(Ordering::SeqCst) <= 1, "the first one goes on");
    backing.may_end.store(true, Ordering::SeqCst);
    while backing.flushes.load(Ordering::SeqCst) < 8 {
        thread::sleep(Duration::from_millis(1));
    }
    drop(spill);
    let flushes = backing.flushes.load(Ordering::SeqCst);
    assert!(flushes <= 10, "{flushes}");
}
