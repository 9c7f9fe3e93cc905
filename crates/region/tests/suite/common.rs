//! Regions for tests, and pages that say who they are.

use pagefold_region::{FaultMode, Region, RegionBuilder, probe_modes};

pub(crate) const PAGE: usize = 4096;

/// All modes that work here; says which do not.
pub(crate) fn modes() -> Vec<FaultMode> {
    let reports = probe_modes();
    for report in reports.iter().filter(|report| !report.works) {
        eprintln!("skipped: {}: {}; {}", report.mode, report.reason, report.remedy);
    }
    let modes: Vec<_> = reports.iter().filter(|report| report.works).map(|one| one.mode).collect();
    assert!(!modes.is_empty(), "no mode works here, so nothing was tested");
    modes
}

/// A region of `pages` pages, with the codec that is fast, and at most `resident` of them in memory.
pub(crate) fn builder(mode: FaultMode, pages: usize, resident: usize) -> RegionBuilder {
    Region::builder(pages * PAGE)
        .fault_mode(mode)
        .resident_limit(resident * PAGE)
        .codec("lz4".parse().expect("a codec"))
}

pub(crate) fn region(mode: FaultMode, pages: usize, resident: usize) -> Region {
    builder(mode, pages, resident).build().expect("a mode that works")
}

pub(crate) fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// The words of a page: a third of them differ from page to page and version to version.
pub(crate) fn word(page: usize, version: u64, at: usize) -> u64 {
    let name = mix(page as u64).wrapping_add(version);
    match at {
        0 => page as u64,
        1 => version,
        _ if at.is_multiple_of(3) => mix(name.wrapping_add(at as u64)),
        _ => name,
    }
}

pub(crate) fn fill(bytes: &mut [u8], page: usize, version: u64) {
    for (at, chunk) in bytes.chunks_exact_mut(8).enumerate() {
        chunk.copy_from_slice(&word(page, version, at).to_ne_bytes());
    }
}

/// Panics unless the page is of this number and version.
pub(crate) fn check(bytes: &[u8], page: usize, version: u64) {
    for (at, chunk) in bytes.chunks_exact(8).enumerate() {
        let found = u64::from_ne_bytes(chunk.try_into().expect("8 bytes"));
        assert_eq!(found, word(page, version, at), "page {page}, version {version}, word {at}");
    }
}

/// Pages of a range of this process that are in memory, by pagemap.
pub(crate) fn resident_pages(start: usize, pages: usize) -> usize {
    use std::os::unix::fs::FileExt as _;
    let pagemap = std::fs::File::open("/proc/self/pagemap").expect("Linux");
    let mut entries = vec![0_u8; pages * 8];
    pagemap.read_exact_at(&mut entries, (start / PAGE * 8) as u64).expect("an address");
    entries.chunks_exact(8).filter(|entry| entry[7] & 0x80 != 0).count()
}
