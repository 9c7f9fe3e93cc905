//! Memory of the system.

use std::ops::Range;

use super::*;

const PAGE: usize = 4096;

fn write(reservation: &Reservation, offset: usize, value: u8) {
    // SAFETY: one thread writes only committed memory.
    unsafe { reservation.at(offset).write(value) }
}

fn read(reservation: &Reservation, offset: usize) -> u8 {
    // SAFETY: one thread reads only committed memory.
    unsafe { reservation.at(offset).read() }
}

fn give_back(reservation: &Reservation, ranges: &[Range<usize>]) {
    // SAFETY: nothing refers to the memory of the tests.
    unsafe { decommit(reservation, ranges) }.expect("decommit");
}

#[test]
fn committed_memory_is_zero_keeps_bytes_and_is_zero_again_after_decommit() {
    let reservation = reserve(64 * PAGE, 1 << 21, CoreDump::Exclude).expect("reserve");
    assert_eq!(reservation.base().addr().get() % (1 << 21), 0, "aligned as asked");
    commit(&reservation, 0..64 * PAGE).expect("commit");
    assert_eq!(read(&reservation, 5 * PAGE), 0);
    for page in 0..64 {
        write(&reservation, page * PAGE + 7, 0xa5);
    }
    give_back(&reservation, &[0..PAGE, 5 * PAGE..6 * PAGE, 9 * PAGE..12 * PAGE]);
    for page in 0..64 {
        let gone = page == 0 || page == 5 || (9..12).contains(&page);
        assert_eq!(read(&reservation, page * PAGE + 7), if gone { 0 } else { 0xa5 }, "page {page}");
    }
    give_back(&reservation, std::slice::from_ref(&(20 * PAGE..21 * PAGE)));
    assert_eq!(read(&reservation, 20 * PAGE + 7), 0);
    // SAFETY: released once, nothing refers to it.
    unsafe { release(reservation) };
}

#[test]
fn more_ranges_than_one_call_takes_are_all_given_back() {
    let pages = 5000;
    let reservation = reserve(pages * PAGE, PAGE, CoreDump::Include).expect("reserve");
    commit(&reservation, 0..pages * PAGE).expect("commit");
    for page in 0..pages {
        write(&reservation, page * PAGE, 1);
    }
    let odd: Vec<_> = (0..pages)
        .filter(|page| page % 2 == 1)
        .map(|page| page * PAGE..(page + 1) * PAGE)
        .collect();
    give_back(&reservation, &odd);
    assert!((0..pages).all(|page| usize::from(read(&reservation, page * PAGE)) == 1 - page % 2));
    // SAFETY: released once, nothing refers to it.
    unsafe { release(reservation) };
}

#[test]
fn an_impossible_reservation_is_an_error() {
    let error = reserve(1 << 62, PAGE, CoreDump::Include).expect_err("no machine has that");
    assert!(matches!(error, MemoryError::Reserve { .. }), "{error}");
}

/// Its flags in `/proc/self/smaps`, of the part with this address.
fn flags_at(address: usize) -> String {
    let smaps = std::fs::read_to_string("/proc/self/smaps").expect("readable");
    let mut is_here = false;
    for line in smaps.lines() {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        if let Some((start, end)) = range
            && let (Ok(start), Ok(end)) =
                (usize::from_str_radix(start, 16), usize::from_str_radix(end, 16))
        {
            is_here = (start..end).contains(&address);
        }
        if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| is_here) {
            return flags.to_owned();
        }
    }
    panic!("no mapping at {address:#x}");
}

#[test]
fn what_is_kept_from_children_stays_so_in_all_its_parts() {
    let reservation = reserve(64 * PAGE, PAGE, CoreDump::Include).expect("reserve");
    let at = |page: usize| flags_at(reservation.at(page * PAGE).addr().get());
    assert!(!at(0).contains(" dc"));
    keep_from_children(&reservation).expect("advice");
    commit(&reservation, 8 * PAGE..40 * PAGE).expect("commit");
    write(&reservation, 9 * PAGE, 1);
    give_back(&reservation, &[9 * PAGE..10 * PAGE, 20 * PAGE..30 * PAGE]);
    for page in [0, 8, 9, 25, 39, 40, 63] {
        assert!(at(page).contains(" dc"), "page {page}: {}", at(page));
    }
    // SAFETY: released once, nothing refers to it.
    unsafe { release(reservation) };
}
