//! The child of a fork.

use std::{
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
