//! The child of a fork.

use std::{
    io::{self, Read as _, Write as _},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicBool, Ordering},
};

use pagefold_spill::{
    EXTENT_BYTES_MIN, FileBacking, Label, Owner, Place, ReadError, Spill, WriteError,
};

/// Whether `f` is true in a child. A child that hangs makes the test hang.
fn in_child(f: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child calls what this file is about, and ends without running anything of the parent.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork");
    if pid == 0 {
        let is_right = catch_unwind(AssertUnwindSafe(f)).unwrap_or(false);
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(i32::from(!is_right)) };
    }
    let mut status = 0;
    // SAFETY: a child of this process, and a place for its status.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    waited == pid && status == 0
}

fn write(spill: &Spill, byte: u8) -> Vec<Place> {
    let mut batch = spill.batch().expect("memory");
    (0..50)
        .for_each(|key| _ = batch.push(Owner(0, key), Label::NONE, &[byte; 1000]).expect("room"));
    let written = spill.write(&mut batch).expect("room");
    (0..50).map(|number| written.keep(number)).collect()
}

#[test]
fn a_child_reads_and_does_not_write() {
    let directory = tempfile::tempdir().expect("a directory");
    let backing = FileBacking::new(directory.path(), EXTENT_BYTES_MIN).expect("a file");
    let spill = Spill::builder(backing).extent_bytes(EXTENT_BYTES_MIN).build().expect("sensible");
    let places = write(&spill, 1);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut kept = Vec::new();
            while !done.load(Ordering::Relaxed) {
                kept.push(write(&spill, 2));
                if kept.len() > 5 {
                    kept.remove(0)
                        .iter()
                        .for_each(|&place| assert!(spill.release(place).is_some()));
                }
                let place = kept[0][7];
                assert_eq!(spill.read(place, &mut [0; 1000]).expect("there"), 1000);
            }
        });
        for fork in 0..30 {
            let is_right = in_child(|| {
                let mut into = [0; 1000];
                let all_right = places.iter().all(|&place| {
                    spill.read(place, &mut into).is_ok_and(|len| len == 1000) && into == [1; 1000]
                });
                let mut batch = spill.batch().expect("memory");
                let pushed = batch.push(Owner(0, 0), Label::NONE, b"mine").is_ok();
                let refused = matches!(spill.write(&mut batch), Err(WriteError::Child));
                let released = spill.release(places[0]).is_some()
                    && matches!(spill.read(places[0], &mut into), Err(ReadError::Gone));
                all_right && pushed && refused && released
            });
            assert!(is_right, "fork {fork}");
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(spill.read(places[0], &mut [0; 1000]).expect("there"), 1000);
}

/// The child's table is its own from the fork on: it knows nothing of what its parent writes to the same file.
#[test]
fn a_child_takes_nothing_from_its_parents_file() {
    for encrypts in [true, false] {
        let directory = tempfile::tempdir().expect("a directory");
        let backing = FileBacking::new(directory.path(), EXTENT_BYTES_MIN).expect("a file");
        let spill = Spill::builder(backing).extent_bytes(EXTENT_BYTES_MIN).encrypts(encrypts);
        let spill = spill.build().expect("sensible");
        let (mut places, ends) = (write(&spill, 1), write(&spill, 2));
        ends.iter().for_each(|&place| assert!(spill.release(place).is_some()));
        let [(mut go, waits), (mut done, says)] = [(); 2].map(|()| io::pipe().expect("a pipe"));
        // SAFETY: the child calls what this file is about, and ends without running anything of the parent.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "fork");
        if pid == 0 {
            let child = || {
                // Until the parent has written the slot that was free at the fork, in the same life and as the same write.
                go.read_exact(&mut [0]).expect("the parent says go");
                places.iter().for_each(|&place| assert!(spill.release(place).is_some()));
                let mut batch = spill.batch().expect("memory");
                for key in 0..50 {
                    batch.push(Owner(0, key), Label::NONE, &[9; 1000]).expect("room");
                }
                assert!(matches!(spill.write(&mut batch), Err(WriteError::Child)));
                assert!(!spill.discard_one(), "the space is the parent's");
                drop(says);
            };
            let code = i32::from(catch_unwind(AssertUnwindSafe(child)).is_err());
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(code) };
        }
        places.extend(write(&spill, 3));
        drop(says);
        (&waits).write_all(&[1]).expect("the child waits");
        let _ = done.read(&mut [0]).expect("a pipe");
        let mut status = 0;
        // SAFETY: a child of this process, and a place for its status.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        assert_eq!(status, 0, "the child fails");
        for (at, &place) in places.iter().enumerate() {
            let mut into = [0; 1000];
            assert_eq!(spill.read(place, &mut into).expect("the parent's"), 1000);
            assert_eq!(into, [if at < 50 { 1 } else { 3 }; 1000]);
        }
    }
}
