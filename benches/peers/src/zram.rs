//! The kernel's zram, as a peer: a device of its own that takes pages and says what they came to.
//!
//! Needs root and a kernel with zram. The device is made for the measurement and removed when it is dropped; devices
//! that are there already are not touched.
//!
//! What the kernel keeps beside the pages is counted from its own figures: the table of pages (growth of `VmallocUsed`
//! when the device gets its size) and the handles of objects (growth of `zs_handle` in `slabinfo`: the kernel merges the
//! slabs of all devices under one of their names, so other devices should rest). Descriptors of zspages share a slab with
//! others and are left out, in the kernel's favour.

use std::{
    fs, io,
    io::{IoSlice, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;
/// Pages that are written with one call: 64 KiB, as the baselines were measured.
pub const WRITE_PAGES: usize = 16;

const CONTROL: &str = "/sys/class/zram-control";

/// A page as direct I/O wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(align(4096))]
pub struct Page(pub [u8; PAGE_BYTES]);

/// What a device says of itself: `mm_stat`, in bytes where it is not pages.
#[derive(Debug, Clone, Copy, Default)]
pub struct MemoryStat {
    /// Bytes stored.
    pub original_bytes: u64,
    /// Their compressed bytes.
    pub compressed_bytes: u64,
    /// Bytes of frames that the pool holds.
    pub used_bytes: u64,
    /// Pages of one repeated word.
    pub same_pages: u64,
    /// Pages that did not compress.
    pub huge_pages: u64,
}

impl MemoryStat {
    /// Compressed bytes / bytes of frames.
    pub fn density(&self) -> f64 {
        self.compressed_bytes as f64 / self.used_bytes as f64
    }
}

/// A zram device, made for this and removed when dropped.
#[derive(Debug)]
pub struct Zram {
    number: u32,
    table_bytes: u64,
    /// Bytes of handles, of all devices, before this one was made.
    handle_bytes_before: u64,
}

/// Why there is no device to measure.
pub fn missing() -> Option<String> {
    let control = Path::new(CONTROL).join("hot_add");
    // Reading the file adds a device, so only whether it is there and may be read is looked at.
    match fs::metadata(&control) {
        Err(error) => Some(format!("no zram here ({}: {error})", control.display())),
        Ok(_) if !is_root() => Some("zram needs root".to_owned()),
        Ok(_) => None,
    }
}

fn is_root() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        ids.and_then(|ids| ids.split_whitespace().nth(1)) == Some("0")
    })
}

impl Zram {
    /// A device that compresses with `algorithm` and holds up to `pages`.
    ///
    /// # Errors
    /// When the kernel refuses any of it.
    pub fn new(algorithm: &str, pages: usize) -> io::Result<Self> {
        let handle_bytes_before = handle_bytes()?.unwrap_or(0);
        let number = fs::read_to_string(Path::new(CONTROL).join("hot_add"))?;
        let number = number.trim().parse().map_err(io::Error::other)?;
        let mut device = Self { number, table_bytes: 0, handle_bytes_before };
        fs::write(device.attribute("comp_algorithm"), algorithm)?;
        let before = vmalloc_bytes()?;
        fs::write(device.attribute("disksize"), (pages * PAGE_BYTES).to_string())?;
        device.table_bytes = vmalloc_bytes()?.saturating_sub(before);
        Ok(device)
    }

    fn attribute(&self, name: &str) -> PathBuf {
        Path::new("/sys/block").join(format!("zram{}", self.number)).join(name)
    }

    fn node(&self) -> PathBuf {
        PathBuf::from(format!("/dev/zram{}", self.number))
    }

    /// Writes pages from the beginning on, 64 KiB at a time; returns how long that took.
    ///
    /// # Errors
    /// When the device does not take them.
    pub fn fill(&self, pages: &[Page]) -> io::Result<Duration> {
        let mut device = self.open()?;
        let begin = Instant::now();
        for batch in pages.chunks(WRITE_PAGES) {
            let parts: Vec<IoSlice<'_>> = batch.iter().map(|page| IoSlice::new(&page.0)).collect();
            let written = device.write_vectored(&parts)?;
            if written != batch.len() * PAGE_BYTES {
                return Err(io::Error::other("the device took a part of a batch"));
            }
        }
        Ok(begin.elapsed())
    }

    fn open(&self) -> io::Result<fs::File> {
        fs::OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT).open(self.node())
    }

    /// Reads all pages back and compares them.
    ///
    /// # Errors
    /// When the device cannot be read, or a page is another one.
    pub fn verify(&self, pages: &[Page]) -> io::Result<()> {
        use std::os::unix::fs::FileExt as _;
        let device = self.open()?;
        let mut back = Page([0; PAGE_BYTES]);
        for (number, page) in pages.iter().enumerate() {
            device.read_exact_at(&mut back.0, (number * PAGE_BYTES) as u64)?;
            if back != *page {
                return Err(io::Error::other(format!("page {number} is another one")));
            }
        }
        Ok(())
    }

    /// Writes one page.
    ///
    /// # Errors
    /// When the device does not take it.
    pub fn write_at(&self, number: usize, page: &Page) -> io::Result<()> {
        use std::os::unix::fs::FileExt as _;
        self.open()?.write_all_at(&page.0, (number * PAGE_BYTES) as u64)
    }

    /// Compacts the device's pool.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn compact(&self) -> io::Result<()> {
        fs::write(self.attribute("compact"), "1")
    }

    /// What the device says of itself.
    ///
    /// # Errors
    /// When that cannot be read, or is of another form.
    pub fn stat(&self) -> io::Result<MemoryStat> {
        let text = fs::read_to_string(self.attribute("mm_stat"))?;
        let figures: Vec<u64> =
            text.split_whitespace().map_while(|word| word.parse().ok()).collect();
        match figures[..] {
            [original_bytes, compressed_bytes, used_bytes, _, _, same_pages, _, huge_pages, ..] => {
                Ok(MemoryStat {
                    original_bytes,
                    compressed_bytes,
                    used_bytes,
                    same_pages,
                    huge_pages,
                })
            }
            _ => Err(io::Error::other(format!("mm_stat is of an unknown form: {text}"))),
        }
    }

    /// Bytes of the table of pages and of the handles of objects.
    ///
    /// # Errors
    /// When `slabinfo` cannot be read.
    pub fn metadata_bytes(&self) -> io::Result<u64> {
        let handles =
            handle_bytes()?.ok_or_else(|| io::Error::other("slabinfo has no zs_handle"))?;
        Ok(self.table_bytes + handles.saturating_sub(self.handle_bytes_before))
    }
}

impl Drop for Zram {
    fn drop(&mut self) {
        let reset = fs::write(self.attribute("reset"), "1");
        let removed = fs::write(Path::new(CONTROL).join("hot_remove"), self.number.to_string());
        if let Some(error) = reset.err().or(removed.err()) {
            eprintln!("zram{} was not removed: {error}", self.number);
        }
    }
}

/// Bytes of the handles of all devices; `None` without a device.
fn handle_bytes() -> io::Result<Option<u64>> {
    let slabs = fs::read_to_string("/proc/slabinfo")?;
    let bytes = slabs.lines().filter(|line| line.starts_with("zs_handle")).filter_map(|line| {
        let mut words = line.split_whitespace().skip(2);
        let objects: u64 = words.next()?.parse().ok()?;
        let bytes: u64 = words.next()?.parse().ok()?;
        Some(objects * bytes)
    });
    Ok(bytes.fold(None, |sum, bytes| Some(sum.unwrap_or(0) + bytes)))
}

/// What the kernel has in `vmalloc`, where the table of a device lies.
fn vmalloc_bytes() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmallocUsed:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.ok_or_else(|| io::Error::other("no VmallocUsed in /proc/meminfo"))? * 1024)
}
