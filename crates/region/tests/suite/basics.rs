//! What is written is read, and memory is bounded.

use pagefold_region::{Advice, FaultMode};

use crate::common::{PAGE, check, fill, modes, region, resident_pages};

#[test]
fn what_is_written_is_read() {
    for mode in modes() {
        eprintln!("{mode}");
        let mut region = region(mode, 4096, 512);
        let start = region.as_ptr().addr();
        for version in 0..3 {
            for (number, page) in region.as_mut_slice().chunks_mut(PAGE).enumerate() {
                fill(page, number, version);
            }
            assert!(resident_pages(start, 4096) <= 512, "{mode}");
            for (number, page) in region.as_slice().chunks(PAGE).enumerate() {
                check(page, number, version);
            }
            assert!(resident_pages(start, 4096) <= 512, "{mode}");
        }
        let stats = region.stats();
        assert_eq!(stats.refused, 0, "{mode}");
        assert!(stats.compressed >= 3 * (4096 - 512), "{mode}");
        region.store().validate().expect("valid");
    }
}

#[test]
fn untouched_pages_are_zeros() {
    for mode in modes() {
        let region = region(mode, 2048, 256);
        assert!(region.as_slice().iter().all(|&byte| byte == 0), "{mode}");
        assert!(region.stats().resident_bytes <= region.resident_limit() as u64);
    }
}

/// Nothing tells writes in guard mode: a page that comes back and is not written goes without a codec there too, and one with a
/// single other byte does not.
#[test]
fn what_was_only_read_is_not_compressed_again() {
    for mode in modes() {
        let mut region = region(mode, 1024, 512);
        for (number, page) in region.as_mut_slice().chunks_mut(PAGE).enumerate() {
            fill(page, number, 1);
        }
        region.advise(0..1024 * PAGE, Advice::Cold).expect("a range");
        let before = region.stats();
        for number in 0..128 {
            check(&region.as_slice()[number * PAGE..][..PAGE], number, 1);
        }
        region.as_mut_slice()[7 * PAGE + 4095] ^= 1;
        region.advise(0..128 * PAGE, Advice::Cold).expect("a range");
        let after = region.stats();
        let unchanged = after.unchanged - before.unchanged;
        let clean = after.dropped_clean - before.dropped_clean;
        match mode {
            FaultMode::Guard => assert_eq!((unchanged, clean), (127, 0), "{mode}"),
            _ => assert_eq!((unchanged, clean), (0, 127), "{mode}"),
        }
        assert_eq!(after.compressed - before.compressed, 1, "{mode}");
        region.as_mut_slice()[7 * PAGE + 4095] ^= 1;
        for (number, page) in region.as_slice().chunks(PAGE).enumerate() {
            check(page, number, 1);
        }
        region.store().validate().expect("valid");
    }
}
