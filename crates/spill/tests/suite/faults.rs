//! Single faults, and what the spill does after them.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use pagefold_spill::{
    BuildError, EXTENT_BYTES_MAX, EXTENT_BYTES_MIN, FileBacking, Label, Owner, Place, ReadError,
    Spill, SpillBuilder, WriteError,
};

use pagefold_testkit::backing::{FaultyBacking, HANGS, ReadFault, WRITE_FAULTS, WriteFault};

fn builder(backing: &Arc<FaultyBacking>) -> SpillBuilder {
    Spill::builder(Arc::clone(backing)).extent_bytes(EXTENT_BYTES_MIN)
}

fn write(spill: &Spill, objects: &[&[u8]]) -> Result<Vec<Place>, WriteError> {
    let mut batch = spill.batch().expect("memory");
    for (key, object) in (0..).zip(objects) {
        batch.push(Owner(1, key), Label::NONE, object).expect("room");
    }
    let written = spill.write(&mut batch)?;
    assert!(batch.is_empty());
    Ok((0..objects.len()).map(|number| written.keep(number)).collect())
}

#[test]
fn a_fault_of_a_read_is_an_error_of_that_read_alone() {
    for cached in [true, false] {
        let backing = Arc::new(FaultyBacking::new(cached));
        let spill = builder(&backing).build().expect("sensible");
        let places = write(&spill, &[b"one", b"two"]).expect("room");
        let mut into = [0; 3];
        backing.fail_read(ReadFault::Fails);
        assert!(matches!(spill.read(places[0], &mut into), Err(ReadError::Io(_))));
        backing.fail_read(ReadFault::Short);
        assert!(matches!(spill.read(places[0], &mut into), Err(ReadError::Corrupt)));
        backing.fail_read(ReadFault::Flipped);
        assert!(matches!(spill.read(places[0], &mut into), Err(ReadError::Corrupt)));
        backing.fail_read(ReadFault::TimesOut);
        assert!(matches!(spill.read(places[0], &mut into), Err(ReadError::Timeout(_))));
        for (place, object) in places.iter().zip([b"one", b"two"]) {
            assert_eq!(spill.read(*place, &mut into).expect("there"), 3);
            assert_eq!(&into, object);
        }
        let stats = spill.stats();
        assert_eq!((stats.read_failures, stats.corrupt, stats.timeouts), (1, 2, 1));
    }
}

#[test]
fn a_fault_of_a_write_that_says_it_worked_is_found_by_the_read() {
    for fault in WRITE_FAULTS {
        for encrypts in [true, false] {
            let backing = Arc::new(FaultyBacking::new(true));
            let spill = builder(&backing).encrypts(encrypts).build().expect("sensible");
            let before = write(&spill, &[&[1; 9000], &[2; 9000]]).expect("room");
            before.iter().for_each(|&place| assert!(spill.release(place).is_some()));
            backing.fail_write(fault);
            let places = match write(&spill, &[&[3; 9000], &[4; 9000]]) {
                Err(WriteError::Io(_)) => continue,
                places => places.expect("room"),
            };
            assert_eq!(places[0].slot(), before[0].slot(), "the slot is used again");
            let mut into = [0; 9000];
            let wrong = places.iter().filter(|&&place| match spill.read(place, &mut into) {
                Ok(len) => {
                    let is_right = into[..len].iter().all(|&byte| byte == 3 || byte == 4);
                    assert!(is_right && into[0] == into[8999], "{fault:?}");
                    false
                }
                Err(error) => {
                    assert!(matches!(error, ReadError::Corrupt), "{error} after {fault:?}");
                    true
                }
            });
            let wrong = wrong.count();
            // A flipped bit may lie in the directory.
            assert!(wrong > 0 || fault == WriteFault::Flipped, "{fault:?}");
        }
    }
}

#[test]
fn a_backing_that_hangs_keeps_no_caller_longer_than_the_deadline() {
    let backing = Arc::new(FaultyBacking::new(false));
    let deadline = HANGS / 8;
    let spill = builder(&backing).read_deadline(deadline).readers(1).build().expect("sensible");
    let places = write(&spill, &[b"one", b"two"]).expect("room");
    backing.fail_read(ReadFault::Hangs);
    let began = Instant::now();
    for place in &places {
        let error = spill.read(*place, &mut [0; 3]).expect_err("the only reader hangs");
        assert!(matches!(error, ReadError::Timeout(time) if time == deadline), "{error}");
    }
    assert!(began.elapsed() >= 2 * deadline);
    assert_eq!(spill.stats().timeouts, 2);
    thread::sleep(HANGS);
    // The reader is back; what timed out meanwhile was taken off its list.
    let mut into = [0; 3];
    assert_eq!(spill.read(places[1], &mut into).expect("there"), 3);
    assert_eq!(&into, b"two");
}

#[test]
fn reads_that_are_started_together_wait_together() {
    let backing = Arc::new(FaultyBacking::new(false));
    let spill = builder(&backing).readers(4).build().expect("sensible");
    let objects: Vec<Vec<u8>> = (0..4).map(|byte| vec![byte; 100]).collect();
    let objects: Vec<&[u8]> = objects.iter().map(Vec::as_slice).collect();
    let places = write(&spill, &objects).expect("room");
    backing.fail_all(None, Some(ReadFault::Hangs));
    let began = Instant::now();
    let readings: Vec<_> = places.iter().map(|&place| spill.start(place).expect("there")).collect();
    for (reading, object) in readings.into_iter().zip(&objects) {
        let mut into = [9; 100];
        assert_eq!(reading.finish(&mut into).expect("in time"), 100);
        assert_eq!(&into, object);
    }
    assert!(began.elapsed() < 3 * HANGS, "one after another they take four times as long");
}

#[test]
fn a_failed_write_begins_a_rest_and_changes_nothing_that_is_there() {
    let backing = Arc::new(FaultyBacking::new(true));
    let spill = builder(&backing).build().expect("sensible");
    let places = write(&spill, &[b"one"]).expect("room");
    backing.fail_write(WriteFault::NoSpace);
    assert!(matches!(write(&spill, &[b"two"]), Err(WriteError::Io(_))));
    assert!(spill.stats().rests);
    let mut batch = spill.batch().expect("memory");
    batch.push(Owner(1, 1), Label::NONE, b"three").expect("room");
    let Err(WriteError::Resting(rest)) = spill.write(&mut batch) else { panic!("it rests") };
    assert!(rest <= Duration::from_secs(1));
    assert_eq!(batch.len(), 1, "what was not tried is still there");
    assert_eq!(spill.read(places[0], &mut [0; 3]).expect("there"), 3);
    thread::sleep(rest);
    spill.write(&mut batch).expect("it tries again");
    let stats = spill.stats();
    assert_eq!((stats.write_failures, stats.writes, stats.rests), (1, 2, false));
    spill.audit().expect("right");
}

#[test]
fn a_slow_write_is_kept_and_begins_a_rest() {
    let backing = Arc::new(FaultyBacking::new(true));
    let spill = builder(&backing).write_deadline(HANGS / 8).build().expect("sensible");
    backing.fail_write(WriteFault::Slow);
    let places = write(&spill, &[b"one"]).expect("it worked");
    assert_eq!(spill.read(places[0], &mut [0; 3]).expect("there"), 3);
    assert!(matches!(write(&spill, &[b"two"]), Err(WriteError::Resting(_))));
    assert_eq!(spill.stats().slow_writes, 1);
}

#[test]
fn the_limit_and_the_budget_refuse_and_keep_the_batch() {
    let backing = Arc::new(FaultyBacking::new(true));
    // The last slot is for cleaning.
    let three = 3 * EXTENT_BYTES_MIN as u64;
    let spill = builder(&backing).limit(three + 5).build().expect("sensible");
    let first = write(&spill, &[b"one"]).expect("room");
    write(&spill, &[b"two"]).expect("room");
    assert!(matches!(write(&spill, &[b"three"]), Err(WriteError::Full)));
    assert!(spill.release(first[0]).is_some());
    write(&spill, &[b"three"]).expect("a slot is free");

    let interval = Duration::from_millis(300);
    let spill = builder(&backing).write_budget(EXTENT_BYTES_MIN as u64, interval);
    let spill = spill.build().expect("sensible");
    let long = vec![7; EXTENT_BYTES_MIN / 2];
    write(&spill, &[&long]).expect("within the budget");
    let Err(WriteError::Budget(wait)) = write(&spill, &[&long]) else { panic!("no budget") };
    assert!(wait <= interval);
    thread::sleep(wait);
    write(&spill, &[&long]).expect("another interval");
}

#[test]
fn senseless_settings_are_refused() {
    let backing = Arc::new(FaultyBacking::new(true));
    for bytes in [0, EXTENT_BYTES_MIN - 1, EXTENT_BYTES_MAX + 1, usize::MAX] {
        let error = builder(&backing).extent_bytes(bytes).build().expect_err("senseless");
        assert!(matches!(error, BuildError::Extent { .. }), "{error}");
    }
    let error = builder(&backing).limit(EXTENT_BYTES_MIN as u64 - 1).build();
    assert!(matches!(error, Err(BuildError::Limit { .. })));
    for (bytes, interval) in [(1, Duration::MAX), (u64::MAX, Duration::ZERO)] {
        let error = builder(&backing).write_budget(bytes, interval).build();
        assert!(matches!(error, Err(BuildError::Budget { .. })));
    }
}

#[test]
fn deadlines_without_end_are_settings() {
    let backing = Arc::new(FaultyBacking::new(false));
    let builder = builder(&backing).read_deadline(Duration::MAX).write_deadline(Duration::MAX);
    let spill = builder.write_budget(u64::MAX, Duration::MAX).build().expect("sensible");
    let places = write(&spill, &[b"one"]).expect("room");
    assert_eq!(spill.read(places[0], &mut [0; 3]).expect("there"), 3);
}

#[test]
fn places_that_no_write_gave_lead_nowhere() {
    let backing = Arc::new(FaultyBacking::new(true));
    let spill = builder(&backing).build().expect("sensible");
    write(&spill, &[b"one"]).expect("room");
    for bits in (0..56).map(|bit| 1 << bit).chain([2, (1 << 56) - 1, u64::MAX]) {
        let place = Place::from_bits(bits);
        assert!(matches!(spill.read(place, &mut [0; 3]), Err(ReadError::Gone)), "{place:?}");
        assert!(spill.release(place).is_none());
        assert_eq!(spill.kept(place), None);
    }
    spill.audit().expect("right");
}

#[test]
fn a_buffer_that_is_too_short_is_an_error_with_both_lengths() {
    let backing = Arc::new(FaultyBacking::new(true));
    let spill = builder(&backing).build().expect("sensible");
    let places = write(&spill, &[b"seven b"]).expect("room");
    let error = spill.read(places[0], &mut [0; 6]).expect_err("too short");
    assert!(matches!(error, ReadError::TooLong { len: 7, given: 6 }), "{error}");
}

#[test]
fn a_file_keeps_ten_times_an_extent_and_gives_it_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let backing = FileBacking::new(directory.path(), EXTENT_BYTES_MIN).expect("a file");
    let spill = Spill::builder(backing).extent_bytes(EXTENT_BYTES_MIN).build().expect("sensible");
    let mut places = Vec::new();
    for extent in 0..10_u8 {
        let objects: Vec<Vec<u8>> = (0..40).map(|at| vec![extent * 20 + at; 1000]).collect();
        let objects: Vec<&[u8]> = objects.iter().map(Vec::as_slice).collect();
        places.extend(write(&spill, &objects).expect("room"));
    }
    for (at, place) in places.iter().enumerate() {
        let mut into = [0; 1000];
        assert_eq!(spill.read(*place, &mut into).expect("there"), 1000);
        let byte = u8::try_from(at / 40 * 20 + at % 40).expect("small");
        assert_eq!(into, [byte; 1000]);
    }
    assert!(spill.stats().cached_reads > 0 || spill.stats().reads == 400);
    places.iter().for_each(|&place| assert!(spill.release(place).is_some()));
    while spill.discard_one() {}
    assert_eq!((spill.stats().extents, spill.stats().undiscarded), (0, 0));
}
