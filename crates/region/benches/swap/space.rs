//! Memory that pages leave and come back to: a region, or memory that the kernel swaps.

use std::os::unix::fs::FileExt as _;

use pagefold_region::{Advice, FaultMode, Region, probe_modes};
use pagefold_testkit::zram::ZramSwap;

pub(super) const PAGE: usize = 4096;

enum Kind {
    Region(Box<Region>),
    /// The address, and the device, which is taken away with it.
    Kernel(usize, ZramSwap),
}

pub(super) struct Space {
    name: String,
    kind: Kind,
    pages: usize,
}

impl Space {
    pub(super) fn of_regions(pages: usize) -> Vec<Self> {
        let works = |mode: FaultMode| probe_modes().iter().any(|one| one.mode == mode && one.works);
        let variants = [
            (FaultMode::Inline, "lz4"),
            (FaultMode::Inline, "balanced"),
            (FaultMode::Guard, "lz4"),
        ];
        let variants = variants.into_iter().filter(|(mode, _)| works(*mode));
        variants
            .map(|(mode, codec)| {
                // All fit, so that the way out and the way back are measured apart.
                let region = Region::builder(pages * PAGE)
                    .resident_limit(pages * PAGE * 2)
                    .clean_copies(usize::MAX)
                    .store_limit(pages * PAGE * 2)
                    .codec(codec.parse().expect("a codec"))
                    .fault_mode(mode)
                    .build()
                    .expect("a mode that works");
                Self {
                    name: format!("{mode}, {codec}"),
                    kind: Kind::Region(Box::new(region)),
                    pages,
                }
            })
            .collect()
    }

    pub(super) fn of_kernel(pages: usize, zram: ZramSwap) -> Self {
        let bytes = pages * PAGE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(start, libc::MAP_FAILED);
        // SAFETY: the mapping above.
        unsafe { libc::madvise(start, bytes, libc::MADV_NOHUGEPAGE) };
        let name = format!("zram swap, {}", zram.algorithm());
        Self { name, kind: Kind::Kernel(start.expose_provenance(), zram), pages }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn start(&self) -> usize {
        match &self.kind {
            Kind::Region(region) => region.as_ptr().expose_provenance(),
            Kind::Kernel(start, _) => *start,
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        let start = std::ptr::with_exposed_provenance(self.start());
        // SAFETY: mapped and initialised for as long as `self`.
        unsafe { std::slice::from_raw_parts(start, self.pages * PAGE) }
    }

    pub(super) fn write(&mut self, source: &[u8]) {
        let start = std::ptr::with_exposed_provenance_mut(self.start());
        // SAFETY: mapped for as long as `self`, which is borrowed exclusively.
        let bytes = unsafe { std::slice::from_raw_parts_mut(start, self.pages * PAGE) };
        bytes.copy_from_slice(source);
    }

    pub(super) fn page_out(&self) {
        match &self.kind {
            Kind::Region(region) => {
                region.advise(0..self.pages * PAGE, Advice::Cold).expect("a range");
            }
            Kind::Kernel(start, _) => {
                let start = std::ptr::with_exposed_provenance_mut(*start);
                // SAFETY: the whole mapping; its content stays.
                let out = unsafe { libc::madvise(start, self.pages * PAGE, libc::MADV_PAGEOUT) };
                assert_eq!(out, 0, "{}", std::io::Error::last_os_error());
            }
        }
    }

    /// By pagemap: the advice and its return value say nothing.
    pub(super) fn assert_out(&self) {
        let pagemap = std::fs::File::open("/proc/self/pagemap").expect("Linux");
        let mut entries = vec![0_u8; self.pages * 8];
        let offset = (self.start() / PAGE * 8) as u64;
        pagemap.read_exact_at(&mut entries, offset).expect("an address");
        let there = entries.chunks_exact(8).filter(|entry| entry[7] & 0x80 != 0).count();
        assert!(there * 100 <= self.pages, "{}: {there} pages are still in memory", self.name);
    }

    /// What the compressed pages take, metadata included as far as its owner tells.
    pub(super) fn held_bytes(&self) -> u64 {
        match &self.kind {
            Kind::Region(region) => {
                let stats = region.stats();
                let store = stats.store;
                store.pool_bytes + store.metadata_bytes + stats.table_bytes
            }
            Kind::Kernel(_, zram) => zram.held_bytes().expect("a device"),
        }
    }
}
