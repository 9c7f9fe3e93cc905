//! What a program must not do, or may but is surprised by: each with its outcome.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use pagefold_region::{Advice, FaultMode};

use crate::{
    common::{PAGE, check, fill, modes, region, resident_pages},
    parts,
};

fn madvise(start: usize, pages: usize, advice: i32) -> i32 {
    // SAFETY: a range of a region that the test owns; that its content changes is what is tested.
    unsafe { libc::madvise(std::ptr::with_exposed_provenance_mut(start), pages * PAGE, advice) }
}

#[test]
fn dontneed_from_outside() {
    for mode in modes() {
        let mut region = region(mode, 1024, 256);
        for (number, page) in region.as_mut_slice()[..64 * PAGE].chunks_mut(PAGE).enumerate() {
            fill(page, number, 1);
        }
        region.advise(0..8 * PAGE, Advice::Cold).expect("a range");
        let start = region.as_ptr().expose_provenance();
        assert_eq!(madvise(start, 16, libc::MADV_DONTNEED), 0);
        // What was compressed is untouched. What was in memory: anonymous memory is zeros, a file keeps it.
        for page in 0..8 {
            check(&region.as_slice()[page * PAGE..][..PAGE], page, 1);
        }
        for page in 8..16 {
            let bytes = &region.as_slice()[page * PAGE..][..PAGE];
            if mode == FaultMode::Guard {
                check(bytes, page, 1);
            } else {
                assert!(bytes.iter().all(|&byte| byte == 0), "{mode}: page {page}");
            }
        }
        // All go on.
        for version in 2..4 {
            for (number, page) in region.as_mut_slice().chunks_mut(PAGE).enumerate() {
                fill(page, number, version);
            }
            for (number, page) in region.as_slice().chunks(PAGE).enumerate() {
                check(page, number, version);
            }
        }
    }
}

#[test]
fn locked_pages_stay() {
    for mode in modes() {
        let mut region = region(mode, 2048, 256);
        for (number, page) in region.as_mut_slice().chunks_mut(PAGE).enumerate().take(32) {
            fill(page, number, 1);
        }
        let start = region.as_ptr().expose_provenance();
        let locked = start + 8 * PAGE;
        // SAFETY: pages of the region.
        let answer = unsafe { libc::mlock(std::ptr::with_exposed_provenance(locked), 16 * PAGE) };
        assert_eq!(answer, 0, "{mode}");
        for (number, page) in region.as_mut_slice().chunks_mut(PAGE).enumerate().skip(32) {
            fill(page, number, 1);
        }
        for _ in 0..2 {
            for (number, page) in region.as_slice().chunks(PAGE).enumerate() {
                check(page, number, 1);
            }
        }
        let stats = region.stats();
        assert!(stats.resident_bytes <= stats.resident_limit_bytes, "{mode}");
        if mode != FaultMode::Guard {
            assert!(stats.refused > 0, "{mode}");
            assert_eq!(resident_pages(locked, 16), 16, "{mode}");
        }
        // SAFETY: as above.
        unsafe { libc::munlock(std::ptr::with_exposed_provenance(locked), 16 * PAGE) };
        region.advise(0..2048 * PAGE, Advice::Cold).expect("a range");
        assert_eq!(resident_pages(locked, 16), 0, "{mode}: unlocked");
        for (number, page) in region.as_slice().chunks(PAGE).enumerate() {
            check(page, number, 1);
        }
    }
}

#[test]
fn parts_that_end_their_process() {
    for mode in modes() {
        let own = if mode == FaultMode::Guard { libc::SIGSEGV } else { libc::SIGBUS };
        for part in
            ["mistakes::part_unmapped", "mistakes::part_unmapped_cold", "mistakes::part_moved"]
        {
            eprintln!("{mode} {part}");
            parts::run(part, mode).assert_killed(libc::SIGSEGV);
        }
        let blocked = parts::run("mistakes::part_blocked", mode);
        if mode == FaultMode::Thread {
            blocked.assert_passed();
        } else {
            blocked.assert_killed(own);
        }
        // It may be found between the last handler and the end of the mapping.
        let dropped = parts::run("mistakes::part_dropped", mode).signal();
        assert!(matches!(dropped, Some(libc::SIGSEGV | libc::SIGBUS)), "{mode}: {dropped:?}");
    }
}

fn touch(address: usize) {
    // SAFETY: the kernel ends this process if the address is not there, which is what is tested.
    std::hint::black_box(unsafe {
        std::ptr::with_exposed_provenance::<u8>(address).read_volatile()
    });
}

fn unmap_and_touch(is_cold: bool) {
    let Some(mode) = parts::mode() else { return };
    let mut region = region(mode, 1024, 256);
    region.as_mut_slice()[..64 * PAGE].fill(7);
    if is_cold {
        region.advise(0..64 * PAGE, Advice::Cold).expect("a range");
    }
    let start = region.as_ptr().expose_provenance();
    // SAFETY: pages of the region; that they go is what is tested.
    let answer =
        unsafe { libc::munmap(std::ptr::with_exposed_provenance_mut(start + 8 * PAGE), PAGE) };
    assert_eq!(answer, 0);
    // The others are as they were.
    assert!(region.as_slice()[9 * PAGE..64 * PAGE].iter().all(|&byte| byte == 7));
    assert!(region.as_slice()[..8 * PAGE].iter().all(|&byte| byte == 7));
    touch(start + 8 * PAGE);
}

#[test]
#[ignore = "run by parts_that_end_their_process"]
fn part_unmapped() {
    unmap_and_touch(false);
}

#[test]
#[ignore = "run by parts_that_end_their_process"]
fn part_unmapped_cold() {
    unmap_and_touch(true);
}

#[test]
#[ignore = "run by parts_that_end_their_process"]
fn part_moved() {
    let Some(mode) = parts::mode() else { return };
    let mut region = region(mode, 1024, 256);
    region.as_mut_slice()[..64 * PAGE].fill(7);
    let start = region.as_ptr().expose_provenance();
    // SAFETY: pages of the region; that they go is what is tested.
    let moved = unsafe {
        let from = std::ptr::with_exposed_provenance_mut(start + 8 * PAGE);
        libc::mremap(from, PAGE, 4 * PAGE, libc::MREMAP_MAYMOVE)
    };
    assert_ne!(moved, libc::MAP_FAILED);
    assert_ne!(moved.addr(), start + 8 * PAGE, "there is no room behind it");
    touch(start + 8 * PAGE);
}

#[test]
#[ignore = "run by parts_that_end_their_process"]
fn part_blocked() {
    let Some(mode) = parts::mode() else { return };
    let region = region(mode, 1024, 256);
    let _blocked = pagefold_sys::signals::Blocked::new();
    touch(region.as_ptr().expose_provenance() + 5 * PAGE);
}

#[test]
#[ignore = "run by parts_that_end_their_process"]
fn part_dropped() {
    let Some(mode) = parts::mode() else { return };
    let region = region(mode, 4096, 256);
    let start = region.as_ptr().expose_provenance();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut page = 0;
            while !stop.load(Ordering::Relaxed) {
                touch(start + page * PAGE);
                page = (page + 17) % 4096;
            }
        });
        thread::sleep(Duration::from_millis(50));
        drop(region);
        thread::sleep(Duration::from_secs(5));
        stop.store(true, Ordering::Relaxed);
    });
}

/// A device writes to registered pages: those that are pinned have it, others may lose it. Anonymous memory and files alike.
#[test]
fn registered_buffers_with_and_without_a_pin() {
    use std::{io::Write as _, os::fd::AsRawFd as _};

    for mode in modes() {
        let ring = io_uring::IoUring::new(4);
        let mut ring = match ring {
            Ok(ring) => ring,
            Err(error) => {
                eprintln!("skipped: no io_uring here: {error}");
                return;
            }
        };
        let mut region = region(mode, 1024, 256);
        let start = region.as_ptr().expose_provenance();
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&[9; PAGE]).expect("room");
        for is_pinned in [true, false] {
            region.as_mut_slice()[..PAGE].fill(1);
            let address = std::ptr::with_exposed_provenance_mut::<u8>(start);
            let pinned = is_pinned.then(|| region.pin(0..PAGE).expect("room"));
            let buffer = libc::iovec { iov_base: address.cast(), iov_len: PAGE };
            // SAFETY: the range is a part of the region, which outlives the registration.
            unsafe { ring.submitter().register_buffers(&[buffer]) }.expect("a page in memory");
            region.advise(0..1024 * PAGE, Advice::Cold).expect("a range");
            let length = u32::try_from(PAGE).expect("short");
            let target = io_uring::types::Fd(file.as_raw_fd());
            let read = io_uring::opcode::ReadFixed::new(target, address, length, 0).build();
            // SAFETY: the buffer is registered; the file is open until the answer is here.
            unsafe { ring.submission().push(&read) }.expect("room");
            ring.submit_and_wait(1).expect("a ring");
            let answer = ring.completion().next().expect("an answer").result();
            assert_eq!(answer, i32::try_from(PAGE).expect("short"));
            ring.submitter().unregister_buffers().expect("registered");
            drop(pinned);
            let expected = if is_pinned { 9 } else { 1 };
            let bytes = &region.as_slice()[..PAGE];
            assert!(bytes.iter().all(|&byte| byte == expected), "{mode}: pinned: {is_pinned}");
        }
    }
}
