//! System calls and regions: cold memory is `EFAULT`, pinned memory works; in thread mode both do.

use std::{
    io::{Read as _, Seek as _, Write as _},
    os::fd::AsRawFd as _,
};

use pagefold_region::{Advice, FaultMode, RangeError};

use crate::common::{PAGE, check, fill, modes, region, resident_pages};

/// `read(2)` or `write(2)` on an address, not a slice: the kernel's answer.
fn transfer(file: &std::fs::File, address: usize, len: usize, reads: bool) -> Result<usize, i32> {
    let pointer = std::ptr::with_exposed_provenance_mut(address);
    let answer = if reads {
        // SAFETY: the kernel checks the address, which is of a region that this test owns.
        unsafe { libc::read(file.as_raw_fd(), pointer, len) }
    } else {
        // SAFETY: as above.
        unsafe { libc::write(file.as_raw_fd(), pointer, len) }
    };
    usize::try_from(answer)
        .map_err(|_| std::io::Error::last_os_error().raw_os_error().expect("of the system"))
}

#[test]
fn calls_on_cold_and_on_pinned_memory() {
    for mode in modes() {
        eprintln!("{mode}");
        let mut region = region(mode, 1024, 256);
        let start = region.as_ptr().expose_provenance();
        fill(&mut region.as_mut_slice()[..PAGE], 0, 1);
        fill(&mut region.as_mut_slice()[PAGE..2 * PAGE], 1, 1);
        let mut file = tempfile::tempfile().expect("a file");

        // Cold, to read and to write from.
        region.advise(0..2 * PAGE, Advice::Cold).expect("a range");
        let stats = region.stats();
        assert_eq!(
            resident_pages(start, 2),
            0,
            "{mode}: {:?}, refused {}, full {}",
            stats.pages,
            stats.refused,
            stats.store_full
        );
        let serves = mode == FaultMode::Thread;
        let expected = if serves { Ok(PAGE) } else { Err(libc::EFAULT) };
        assert_eq!(
            transfer(&file, start, PAGE, false),
            expected,
            "{mode}: write(2) from cold memory"
        );
        file.rewind().expect("a file");

        // Pinned.
        region.advise(0..2 * PAGE, Advice::Cold).expect("a range");
        let pinned = region.pin(0..2 * PAGE).expect("room");
        assert_eq!(file.write(&pinned).expect("written"), 2 * PAGE, "{mode}");
        drop(pinned);
        file.rewind().expect("a file");
        let mut back = vec![0; 2 * PAGE];
        file.read_exact(&mut back).expect("there");
        check(&back[..PAGE], 0, 1);
        check(&back[PAGE..], 1, 1);

        // A cold page as a destination.
        file.rewind().expect("a file");
        region.advise(0..2 * PAGE, Advice::Cold).expect("a range");
        assert_eq!(transfer(&file, start + PAGE, PAGE, true), expected, "{mode}: read(2)");
        file.rewind().expect("a file");
        let mut pinned = region.pin_mut(5 * PAGE..7 * PAGE).expect("room");
        file.read_exact(&mut pinned).expect("pinned memory is ordinary");
        drop(pinned);
        check(&region.as_slice()[5 * PAGE..6 * PAGE], 0, 1);
        check(&region.as_slice()[6 * PAGE..7 * PAGE], 1, 1);
    }
}

#[test]
fn pinned_pages_stay_while_others_leave() {
    for mode in modes() {
        let mut region = region(mode, 4096, 256);
        let start = region.as_ptr().addr();
        fill(&mut region.as_mut_slice()[7 * PAGE..8 * PAGE], 7, 1);
        let base = region.as_mut_ptr();
        let pinned = region.pin(7 * PAGE..8 * PAGE).expect("room");
        for page in (0..4096).filter(|&page| page != 7) {
            // SAFETY: another page than the pinned one, and no other reference to it.
            unsafe { base.wrapping_add(page * PAGE).write_volatile(1) };
            assert_eq!(resident_pages(start + 7 * PAGE, 1), 1, "{mode}");
        }
        check(&pinned, 7, 1);
        drop(pinned);
        region.advise(0..4096 * PAGE, Advice::Cold).expect("a range");
        assert_eq!(resident_pages(start + 7 * PAGE, 1), 0, "{mode}: no longer pinned");
    }
}

#[test]
fn what_is_written_to_pinned_pages_by_the_kernel_stays() {
    for mode in modes() {
        let mut region = region(mode, 1024, 256);
        for version in 1..5 {
            let mut file = tempfile::tempfile().expect("a file");
            let mut page = vec![0; PAGE];
            fill(&mut page, 3, version);
            file.write_all(&page).expect("room");
            file.rewind().expect("a file");
            // Clean first, where the mode knows clean pages: the write of the kernel must count as one.
            std::hint::black_box(region.as_slice()[3 * PAGE]);
            let mut pinned = region.pin_mut(3 * PAGE..4 * PAGE).expect("room");
            file.read_exact(&mut pinned).expect("pinned");
            drop(pinned);
            region.advise(0..1024 * PAGE, Advice::Cold).expect("a range");
            check(&region.as_slice()[3 * PAGE..4 * PAGE], 3, version);
        }
    }
}

#[test]
fn too_much_is_refused_and_helpers_go_piece_by_piece() {
    for mode in modes() {
        let mut region = region(mode, 2048, 256);
        let refused = region.pin(0..200 * PAGE).map(drop);
        assert!(matches!(refused, Err(RangeError::Pins { most, .. }) if most == 128 * PAGE));
        assert!(matches!(region.pin(0..2049 * PAGE).map(drop), Err(RangeError::Beyond { .. })));
        let mut file = tempfile::tempfile().expect("a file");
        let mut page = vec![0; PAGE];
        for number in 0..2000 {
            fill(&mut page, number, 9);
            file.write_all(&page).expect("room");
        }
        file.rewind().expect("a file");
        let read = region.read_from(3 * PAGE..2048 * PAGE, &mut file).expect("pinned");
        assert_eq!(read, 2000 * PAGE, "{mode}: until the end of the file");
        for number in 0..2000 {
            check(&region.as_slice()[(3 + number) * PAGE..][..PAGE], number, 9);
        }
        let mut copy = tempfile::tempfile().expect("a file");
        region.write_to(3 * PAGE..2003 * PAGE, &mut copy).expect("pinned");
        copy.rewind().expect("a file");
        for number in 0..2000 {
            copy.read_exact(&mut page).expect("there");
            check(&page, number, 9);
        }
        assert_eq!(region.stats().pinned_bytes, 0, "{mode}");
    }
}
