//! The state of each page of a process, from `/proc/PID/pagemap`.
//!
//! Bits: *Examining Process Page Tables* in the kernel's administration guide.

use std::{fmt, fs::File, io, ops::Range};

use super::{Process, ProcfsError, source::read_at};

/// The state of one page.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct PagemapEntry(u64);

impl PagemapEntry {
    const FRAME: u64 = (1 << 55) - 1;
    const SOFT_DIRTY: u64 = 1 << 55;
    const EXCLUSIVE: u64 = 1 << 56;
    const WRITE_PROTECTED: u64 = 1 << 57;
    const FILE_OR_SHARED: u64 = 1 << 61;
    const SWAPPED: u64 = 1 << 62;
    const PRESENT: u64 = 1 << 63;

    /// An entry from the kernel's word.
    pub fn from_raw(word: u64) -> Self {
        Self(word)
    }

    /// In memory.
    pub fn present(self) -> bool {
        self.0 & Self::PRESENT != 0
    }

    /// In swap, or being migrated.
    pub fn swapped(self) -> bool {
        self.0 & Self::SWAPPED != 0
    }

    /// Of a file or shared memory, not private anonymous.
    pub fn file_or_shared(self) -> bool {
        self.0 & Self::FILE_OR_SHARED != 0
    }

    /// Written since the soft-dirty bits were cleared; false on kernels without them.
    pub fn soft_dirty(self) -> bool {
        self.0 & Self::SOFT_DIRTY != 0
    }

    /// Only this process maps it. The shared zero page is not exclusive.
    pub fn exclusive(self) -> bool {
        self.0 & Self::EXCLUSIVE != 0
    }

    /// The frame number of a present page; processes that share it have the same. `None` if hidden (without
    /// `CAP_SYS_ADMIN`).
    pub fn frame_number(self) -> Option<u64> {
        Some(self.0 & Self::FRAME).filter(|&number| self.present() && number != 0)
    }

    /// Write-protected by userfaultfd.
    pub fn write_protected(self) -> bool {
        self.0 & Self::WRITE_PROTECTED != 0
    }

    /// Resident memory of this process alone: present, anonymous, exclusive.
    pub fn private_anonymous(self) -> bool {
        self.present() && !self.file_or_shared() && self.exclusive()
    }
}

impl fmt::Debug for PagemapEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = [
            (self.present(), "present"),
            (self.swapped(), "swapped"),
            (self.file_or_shared(), "file_or_shared"),
            (self.soft_dirty(), "soft_dirty"),
            (self.exclusive(), "exclusive"),
            (self.write_protected(), "write_protected"),
        ];
        f.write_str("PagemapEntry")?;
        f.debug_set().entries(flags.iter().filter(|(on, _)| *on).map(|(_, name)| name)).finish()
    }
}

/// A process's page map, opened for reading.
///
/// # Concurrency
/// One value serves many threads.
#[derive(Debug)]
pub struct Pagemap {
    process: Process,
    file: File,
    page_size: u64,
}

const CHUNK_ENTRIES: usize = 4096;
const ENTRY_BYTES: usize = size_of::<u64>();

impl Pagemap {
    /// Opens the page map of `process`.
    ///
    /// # Errors
    /// [`ProcfsError`].
    pub fn open(process: Process) -> Result<Self, ProcfsError> {
        Ok(Self {
            process,
            file: process.open("pagemap")?,
            page_size: rustix::param::page_size() as u64,
        })
    }

    /// Bytes of an entry.
    pub fn page_size(&self) -> u64 {
        self.page_size
    }

    /// The entries of all pages that `range` touches: 8 bytes a page. For huge ranges use [`scan`](Self::scan).
    ///
    /// # Errors
    /// [`ProcfsError`].
    ///
    /// # Examples
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use pagefold_procfs::{Pagemap, Process};
    ///
    /// let value = std::hint::black_box(7_u8);
    /// let address = (&raw const value).addr() as u64;
    /// let entries = Pagemap::open(Process::Current)?.read(address..address + 1)?;
    /// assert!(entries[0].present() && !entries[0].file_or_shared());
    /// # }
    /// # Ok::<(), pagefold_procfs::ProcfsError>(())
    /// ```
    pub fn read(&self, range: Range<u64>) -> Result<Vec<PagemapEntry>, ProcfsError> {
        let mut entries = Vec::new();
        self.scan(range, |_, entry| entries.push(entry))?;
        Ok(entries)
    }

    /// Calls `visit` with the address and entry of each page that `range` touches, in order. Ends early where the
    /// address space ends, and when the process does.
    ///
    /// # Errors
    /// [`ProcfsError`]; the pages visited before were right.
    pub fn scan(
        &self,
        range: Range<u64>,
        mut visit: impl FnMut(u64, PagemapEntry),
    ) -> Result<(), ProcfsError> {
        let last_page = range.end.div_ceil(self.page_size);
        let mut page = range.start / self.page_size;
        let mut buffer = vec![0; CHUNK_ENTRIES * ENTRY_BYTES];
        while page < last_page && range.start < range.end {
            let wanted = usize::try_from(last_page - page)
                .map_or(CHUNK_ENTRIES, |pages| pages.min(CHUNK_ENTRIES));
            let read = self.read_words(page, &mut buffer[..wanted * ENTRY_BYTES])?;
            if read == 0 {
                break;
            }
            for word in buffer[..read * ENTRY_BYTES].chunks_exact(ENTRY_BYTES) {
                let word = u64::from_ne_bytes(
                    word.try_into().expect("the chunks have the length of a word"),
                );
                visit(page * self.page_size, PagemapEntry(word));
                page += 1;
            }
        }
        Ok(())
    }

    /// Reads the whole words that one read gives from `page` on.
    fn read_words(&self, page: u64, buffer: &mut [u8]) -> Result<usize, ProcfsError> {
        loop {
            match read_at(&self.file, buffer, page * ENTRY_BYTES as u64) {
                Ok(read) => return Ok(read / ENTRY_BYTES),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.process.error(self.process.file("pagemap"), error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_are_the_documented_ones() {
        let present = PagemapEntry::from_raw(0x8180_0000_0000_0000);
        assert!(
            present.present()
                && present.exclusive()
                && present.soft_dirty()
                && present.private_anonymous()
        );
        assert!(!present.swapped() && !present.file_or_shared() && !present.write_protected());
        let file = PagemapEntry::from_raw(0xa100_0000_0000_0000);
        assert!(file.present() && file.file_or_shared() && !file.private_anonymous());
        let zero_page = PagemapEntry::from_raw(1 << 63);
        assert!(zero_page.present() && !zero_page.private_anonymous());
        assert!(PagemapEntry::from_raw(1 << 62).swapped());
        assert!(PagemapEntry::from_raw(1 << 57).write_protected());
        assert_eq!(format!("{present:?}"), r#"PagemapEntry{"present", "soft_dirty", "exclusive"}"#);
        assert_eq!((present.frame_number(), zero_page.frame_number()), (None, None), "hidden");
        assert_eq!(PagemapEntry::from_raw(1 << 63 | 77).frame_number(), Some(77));
        assert_eq!(PagemapEntry::from_raw(1 << 62 | 77).frame_number(), None, "a place in swap");
        assert_eq!(format!("{:?}", PagemapEntry::from_raw((1 << 55) - 1)), "PagemapEntry{}");
    }

    #[test]
    fn scan_names_each_page_once() {
        let pagemap = Pagemap::open(Process::Current).unwrap();
        let page = rustix::param::page_size() as u64;
        let start = 10 * page;
        let mut seen = Vec::new();
        pagemap.scan(start + 1..start + 5000 * page + 1, |address, _| seen.push(address)).unwrap();
        assert_eq!(seen, (10..5011).map(|index| index * page).collect::<Vec<_>>());
    }

    #[test]
    fn odd_ranges_are_short_or_empty() {
        let pagemap = Pagemap::open(Process::Current).unwrap();
        assert_eq!(pagemap.read(4096..4096).unwrap(), []);
        #[expect(clippy::reversed_empty_ranges, reason = "a reversed range is what is tested")]
        let reversed = 8192..4096;
        assert_eq!(pagemap.read(reversed).unwrap(), []);
        assert_eq!(
            pagemap.read(u64::MAX - 4096..u64::MAX).unwrap(),
            [],
            "above the address space there are no pages"
        );
    }
}
