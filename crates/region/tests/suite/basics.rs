//! What is written is read, and memory is bounded.

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
