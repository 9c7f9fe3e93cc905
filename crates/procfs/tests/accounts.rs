//! What the kernel says of this process moves with the memory that it touches.
//!
//! In a binary of its own, with one test, so that nothing else allocates meanwhile. The memory is mapped and populated
//! by system calls, because a sanitizer's allocator keeps what is freed and keeps a shadow of what is written.

#![cfg(target_os = "linux")]

use std::{ops::Range, ptr, slice};

use pagefold_procfs::{Pagemap, Process, ProcessMemory, maps, rss_anon, smaps, smaps_rollup};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

const MIB: usize = 1 << 20;
const MAPPED: usize = 128 * MIB;
const TOUCHED: usize = 64 * MIB;
/// What the harness, the readers and a sanitizer's bookkeeping may allocate between two looks.
const SLACK: u64 = 8 * MIB as u64;

/// A private anonymous mapping without huge pages.
struct Mapped(*mut u8);

impl Mapped {
    fn new() -> Self {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new private mapping at an address of the kernel's choice touches no existing memory.
        let base =
            unsafe { mmap_anonymous(ptr::null_mut(), MAPPED, access, MapFlags::PRIVATE) }.unwrap();
        // SAFETY: the range is the mapping just made; the advice changes no contents.
        let advised = unsafe { madvise(base, MAPPED, Advice::LinuxNoHugepage) };
        if let Err(error) = advised {
            eprintln!("this kernel has no huge pages to refuse: {error}");
        }
        Self(base.cast())
    }

    /// Makes the first `TOUCHED` bytes resident.
    fn touch(&mut self) {
        // SAFETY: the range lies in the mapping; populating writes nothing that was there.
        let populated = unsafe { madvise(self.0.cast(), TOUCHED, Advice::LinuxPopulateWrite) };
        if populated.is_err() {
            // Before Linux 5.14 there is no such advice.
            // SAFETY: the mapping is ours alone and readable and writable over more than this length.
            unsafe { slice::from_raw_parts_mut(self.0, TOUCHED) }.fill(1);
        }
    }

    fn addresses(&self, range: Range<usize>) -> Range<u64> {
        let base = self.0.addr();
        (base + range.start) as u64..(base + range.end) as u64
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nothing refers to it any more.
        unsafe { munmap(self.0.cast(), MAPPED) }.unwrap();
    }
}

#[test]
fn what_is_touched_is_what_the_kernel_counts() {
    let touched = TOUCHED as u64;
    let looks = || (rss_anon(Process::Current).unwrap(), smaps_rollup(Process::Current).unwrap());
    let before = looks();
    let mut mapped = Mapped::new();
    mapped.touch();
    let after = looks();

    let growth = after.0.saturating_sub(before.0);
    assert!(growth.abs_diff(touched) < SLACK, "RssAnon grew by {growth} bytes");
    let growth =
        (after.1.anonymous + after.1.swap).saturating_sub(before.1.anonymous + before.1.swap);
    assert!(growth.abs_diff(touched) < SLACK, "Anonymous grew by {growth} bytes");

    each_page_has_its_state(&mapped);
    the_mapping_is_listed(&mapped);

    drop(mapped);
    let left = looks().1.anonymous;
    assert!(
        left < after.1.anonymous - touched + SLACK,
        "{left} bytes are left of {}",
        after.1.anonymous
    );
}

fn each_page_has_its_state(mapped: &Mapped) {
    let page_bytes = rustix::param::page_size();
    let pagemap = Pagemap::open(Process::Current).unwrap();
    // Both parts are longer than one chunk of the reader where pages are 4 KiB, so its seams are walked too.
    let present = pagemap.read(mapped.addresses(0..TOUCHED)).unwrap();
    assert_eq!(present.len(), TOUCHED / page_bytes);
    assert!(present.iter().all(|entry| entry.swapped() || entry.private_anonymous()));
    let absent = pagemap.read(mapped.addresses(TOUCHED..MAPPED)).unwrap();
    assert_eq!(absent.len(), (MAPPED - TOUCHED) / page_bytes);
    assert!(absent.iter().all(|entry| !entry.present() && !entry.swapped()));
}

fn the_mapping_is_listed(mapped: &Mapped) {
    let range = mapped.addresses(0..MAPPED);
    // The kernel may have merged neighbours with it.
    let holds = |whole: Range<u64>| whole.start <= range.start && range.end <= whole.end;
    let mapping =
        maps(Process::Current).unwrap().into_iter().find(|mapping| holds(mapping.range())).unwrap();
    assert_eq!(mapping.permissions.to_string(), "rw-p");
    let usage = smaps(Process::Current)
        .unwrap()
        .into_iter()
        .find(|entry| holds(entry.mapping.range()))
        .unwrap()
        .usage;
    assert!(usage.anonymous + usage.swap >= TOUCHED as u64, "{usage:?}");

    let memory = ProcessMemory::open(Process::Current).unwrap();
    let mut buffer = [7; 64];
    assert_eq!(memory.read_at(range.start, &mut buffer).unwrap(), buffer.len());
    assert!(
        buffer == [0; 64] || buffer == [1; 64],
        "populated pages are zero, written ones are one"
    );
}
