//! Finds the parts of a file that have data. Holes are only counted, not sampled. A page counts if any of its bytes has
//! data. On a file system without holes, all is data.

use std::{fs::File, io, ops::Range};

use rustix::fs::{SeekFrom, seek};

/// `data_bytes` extrapolates behind so many.
const PARTS_MAX: usize = 65_536;

#[derive(Debug)]
pub(crate) struct Extents {
    len: u64,
    /// The part found last.
    found: Range<u64>,
}

impl Extents {
    pub(crate) fn new(file: &File) -> io::Result<Self> {
        Ok(Self { len: file.metadata()?.len(), found: 0..0 })
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The first data from `offset` on, or the file's end.
    pub(crate) fn next_data(&mut self, file: &File, offset: u64) -> u64 {
        if !(self.found.start <= offset && offset < self.found.end) {
            self.found = part_behind(file, offset, self.len);
        }
        self.found.start.max(offset)
    }

    /// Without holes, roughly.
    pub(crate) fn data_bytes(&mut self, file: &File, range: Range<u64>) -> u64 {
        let (mut at, mut data) = (range.start, 0);
        for _ in 0..PARTS_MAX {
            at = self.next_data(file, at);
            if at >= range.end {
                return data;
            }
            let end = self.found.end.min(range.end);
            data += end - at;
            at = end;
        }
        let seen = (at - range.start).max(1) as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share")]
        let all = (data as f64 / seen * (range.end - range.start) as f64) as u64;
        all
    }
}

/// The first part that ends behind `offset`.
fn part_behind(file: &File, offset: u64, len: u64) -> Range<u64> {
    match seek(file, SeekFrom::Data(offset)) {
        Ok(start) => {
            // Never empty, so that every search advances.
            let end = seek(file, SeekFrom::Hole(start)).unwrap_or(len);
            start..end.max(start + 1)
        }
        Err(rustix::io::Errno::NXIO) => len.max(offset)..u64::MAX,
        Err(_) => offset..len.max(offset + 1),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    /// 3 MiB with a page of data in the middle; `None` if the file system knows no holes.
    fn sparse() -> Option<File> {
        let file = tempfile::tempfile().expect("a temporary file");
        file.set_len(3 << 20).expect("there is room");
        file.write_all_at(&[1; 4096], 1 << 20).expect("there is room");
        file.sync_all().expect("there is room");
        let knows_holes = part_behind(&file, 0, 3 << 20).start > 0;
        if !knows_holes {
            eprintln!("SKIPPED: this file system knows no holes");
        }
        knows_holes.then_some(file)
    }

    #[test]
    fn holes_are_told_from_data() {
        let Some(file) = sparse() else { return };
        let mut extents = Extents::new(&file).expect("it is open");
        assert_eq!(extents.len(), 3 << 20);
        let data = extents.next_data(&file, 0);
        assert!(data > 0 && data <= 1 << 20, "{data}");
        assert_eq!(extents.next_data(&file, (1 << 20) + 7), (1 << 20) + 7);
        assert_eq!(extents.next_data(&file, 2 << 20), 3 << 20, "the end");
        // From the beginning again, and beyond the end.
        assert_eq!(extents.next_data(&file, 0), data);
        assert_eq!(extents.next_data(&file, 9 << 20), 9 << 20);
    }

    #[test]
    fn data_is_counted_within_a_range() {
        let Some(file) = sparse() else { return };
        let mut extents = Extents::new(&file).expect("it is open");
        let all = extents.data_bytes(&file, 0..3 << 20);
        assert!((4096..=1 << 20).contains(&all), "a block has a page at least: {all}");
        assert_eq!(extents.data_bytes(&file, 1 << 20..(1 << 20) + 100), 100);
        assert_eq!(extents.data_bytes(&file, 2 << 20..3 << 20), 0);
        assert_eq!(extents.data_bytes(&file, 0..0), 0);
    }
}
