//! The file of a trace, written to a temporary file and named when it is complete.
//!
//! All numbers are little-endian.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `PFPAGETR` |
//! | 8 | 4 | version: 1 |
//! | 12 | 4 | bytes of a page: 4096 |
//! | 16 | 8 | interval in microseconds |
//! | 24 | 4112 each | records, to the end of the file |
//!
//! A record: time in microseconds since the start (8 bytes), page number, which is the address over 4096 (8), the
//! page (4096). Times do not fall. A file whose length is no whole number of records was cut.

use std::{
    collections::HashSet,
    fs,
    io::{self, BufWriter, Write},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::Duration,
};

use serde::Serialize;
use tempfile::NamedTempFile;
use xxhash_rust::xxh3::Xxh3;

use super::super::page_file::{PAGE_BYTES, Page};

pub(super) const MAGIC: [u8; 8] = *b"PFPAGETR";
pub(super) const VERSION: u32 = 1;
pub(super) const RECORD_BYTES: usize = 16 + PAGE_BYTES;

pub(super) struct TraceFile {
    out: BufWriter<NamedTempFile>,
    hash: Xxh3,
    records: u64,
    pages: HashSet<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finished {
    pub(super) records: u64,
    /// Different page numbers.
    pub(super) pages: u64,
    /// Of the whole file, in hexadecimal.
    pub(super) xxh3_128: String,
}

impl TraceFile {
    /// The temporary file lies in the directory of `path`.
    pub(super) fn begin(path: &Path, interval: Duration) -> io::Result<Self> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let file = NamedTempFile::new_in(directory.unwrap_or(Path::new(".")))?;
        let mut trace = Self {
            out: BufWriter::with_capacity(1 << 20, file),
            hash: Xxh3::new(),
            records: 0,
            pages: HashSet::new(),
        };
        trace.write(&MAGIC)?;
        trace.write(&VERSION.to_le_bytes())?;
        trace.write(&u32::try_from(PAGE_BYTES).expect("4096").to_le_bytes())?;
        trace.write(&micros(interval).to_le_bytes())?;
        Ok(trace)
    }

    pub(super) fn push(&mut self, time: Duration, number: u64, page: &Page) -> io::Result<()> {
        self.write(&micros(time).to_le_bytes())?;
        self.write(&number.to_le_bytes())?;
        self.write(page)?;
        self.records += 1;
        self.pages.insert(number);
        Ok(())
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    pub(super) fn finish(self, path: &Path) -> io::Result<Finished> {
        let file = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.persist(path).map_err(|error| error.error)?;
        // Temporary files are their owner's alone.
        fs::set_permissions(path, fs::Permissions::from_mode(0o644))?;
        let hash = format!("{:032x}", self.hash.digest128());
        Ok(Finished { records: self.records, pages: self.pages.len() as u64, xxh3_128: hash })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.out.write_all(bytes)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) struct Record {
        pub(in super::super) time_us: u64,
        pub(in super::super) page: u64,
        bytes: Vec<u8>,
    }

    /// Reads by the table above, not by the code.
    pub(in super::super) fn read(path: &Path) -> Option<Vec<Record>> {
        let file = fs::read(path).unwrap();
        let number = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap());
        let head =
            &file[..16] == b"PFPAGETR\x01\0\0\0\0\x10\0\0" && file[24..].len().is_multiple_of(4112);
        let record = |at| Record {
            time_us: number(at),
            page: number(at + 8),
            bytes: file[at + 16..at + 4112].to_vec(),
        };
        head.then(|| (24..file.len()).step_by(4112).map(record).collect())
    }

    #[test]
    fn a_file_has_the_documented_form() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.trace");
        let mut trace = TraceFile::begin(&path, Duration::from_millis(50)).unwrap();
        for (time, number, byte) in [(50, 7, 1), (50, 9, 2), (100, 7, 3)] {
            trace.push(Duration::from_millis(time), number, &[byte; PAGE_BYTES]).unwrap();
        }
        assert!(!path.exists(), "it is named when it is complete");
        let finished = trace.finish(&path).unwrap();
        assert_eq!((finished.records, finished.pages), (3, 2));
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 24 + 3 * RECORD_BYTES);
        assert_eq!(bytes[16..24], 50_000_u64.to_le_bytes());
        assert_eq!(finished.xxh3_128, format!("{:032x}", xxhash_rust::xxh3::xxh3_128(&bytes)));
        let records = read(&path).unwrap();
        let seen: Vec<_> = records
            .iter()
            .map(|record| (record.time_us, record.page, record.bytes[4095]))
            .collect();
        assert_eq!(seen, [(50_000, 7, 1), (50_000, 9, 2), (100_000, 7, 3)]);
    }

    #[test]
    fn an_unfinished_trace_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.trace");
        drop(TraceFile::begin(&path, Duration::from_millis(1)).unwrap());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
