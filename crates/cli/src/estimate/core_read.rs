//! Reading the private segments of a core file: each page that belongs to the sample once, holes not at all.
//!
//! Where a process had no page, the kernel and gdb leave a hole in the core file. Such pages took no memory, so they are
//! left out and their bytes are counted apart. A core file that was copied without its holes, or lies on a file system that
//! knows none, has pages of zeros there, which count as same-filled.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt as _};

use rustix::fs::{SeekFrom, seek};

use super::{
    core_file::{CoreFile, Segment},
    mapping::MappingKind,
    process::{MappingSummary, ProcessSummary, Stopped},
    spool::{PAGE, Spool},
};
use crate::progress::Progress;

/// How many pages are read between two moves of the progress bar.
const PAGES_PER_TICK: u64 = 256;

/// Reads a core file as the source `ordinal` of the spool. What was read until it stopped counts.
pub(super) fn read(
    core: &CoreFile,
    (ordinal, per_mapping): (u32, bool),
    spool: &mut Spool,
    progress: &Progress,
) -> (ProcessSummary, Result<(), Stopped>) {
    let mut summary = ProcessSummary::new(core.name.clone());
    summary.process_id = core.process_id;
    summary.core = Some(core.path.clone());
    summary.beside.file = Some(core.file_bytes);
    summary.beside.read_only = Some(core.read_only_bytes);
    let outcome = read_segments(core, (ordinal, per_mapping), spool, progress, &mut summary);
    summary.complete = outcome.is_ok();
    (summary, outcome)
}

fn read_segments(
    core: &CoreFile,
    (ordinal, per_mapping): (u32, bool),
    spool: &mut Spool,
    progress: &Progress,
    summary: &mut ProcessSummary,
) -> Result<(), Stopped> {
    summary.group = spool.begin_group()?;
    let file = File::open(&core.path)?;
    let mut reader =
        SegmentReader { file, ordinal, spool, progress, extent: 0..0, pages: 0, bytes: 0 };
    let mut holes = 0;
    for segment in &core.segments {
        let group = if per_mapping { reader.spool.begin_group()? } else { summary.group };
        let outcome = reader.read(segment);
        let pages = std::mem::take(&mut reader.pages);
        let bytes = std::mem::take(&mut reader.bytes);
        summary.pages += pages;
        summary.bytes += bytes;
        holes += segment.len - bytes;
        if per_mapping && pages > 0 {
            summary.mappings.push(MappingSummary {
                start: segment.address,
                end: segment.address + segment.len,
                kind: if segment.is_stack { MappingKind::Stack } else { MappingKind::Anonymous },
                name: None,
                pages,
                bytes,
                shares: Vec::new(),
                group,
            });
        }
        outcome?;
    }
    summary.beside.holes = Some(holes);
    Ok(())
}

struct SegmentReader<'a> {
    file: File,
    ordinal: u32,
    spool: &'a mut Spool,
    progress: &'a Progress,
    /// The part of the file with data that was found last.
    extent: Range<u64>,
    /// Of the segment at hand.
    pages: u64,
    bytes: u64,
}

impl SegmentReader<'_> {
    fn read(&mut self, segment: &Segment) -> Result<(), Stopped> {
        let mut page = [0; PAGE];
        let mut done = 0;
        while done < segment.len {
            let offset = segment.offset + done;
            let len = (segment.len - done).min(PAGE as u64);
            let data = self.next_data(offset)?;
            if data >= offset + len {
                // On to the page with the next data, which need not begin with it.
                done += ((data - offset) / PAGE as u64 * PAGE as u64).max(len);
                continue;
            }
            let page_no = (segment.address + done) / PAGE as u64;
            if self.spool.wants(self.ordinal, page_no) {
                #[expect(clippy::cast_possible_truncation, reason = "at most a page")]
                let bytes = &mut page[..len as usize];
                self.file.read_exact_at(bytes, offset)?;
                self.spool.offer(self.ordinal, page_no, bytes)?;
            }
            self.pages += 1;
            self.bytes += len;
            if self.pages.is_multiple_of(PAGES_PER_TICK) {
                self.progress.add(PAGES_PER_TICK);
            }
            done += len;
        }
        Ok(())
    }

    /// Where the file has data at or behind `offset`; its end if there is none.
    fn next_data(&mut self, offset: u64) -> io::Result<u64> {
        if !(self.extent.start <= offset && offset < self.extent.end) {
            self.extent = data_extent(&self.file, offset)?;
        }
        Ok(self.extent.start.max(offset))
    }
}

/// The first part of a file with data that ends behind `offset`. A system that knows no holes says that all is data.
fn data_extent(file: &File, offset: u64) -> io::Result<Range<u64>> {
    let len = file.metadata()?.len();
    match seek(file, SeekFrom::Data(offset)) {
        Ok(start) => {
            let end = seek(file, SeekFrom::Hole(start)).unwrap_or(len);
            Ok(start..end)
        }
        Err(rustix::io::Errno::NXIO) => Ok(len..len),
        Err(_) => Ok(offset..len),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_told_from_data() {
        let file = tempfile::tempfile().expect("a temporary file");
        file.set_len(3 << 20).expect("there is room");
        file.write_all_at(&[1; PAGE], 1 << 20).expect("there is room");
        file.sync_all().expect("there is room");
        let extent = data_extent(&file, 0).expect("it is open");
        if extent.start == 0 {
            eprintln!("SKIPPED: this file system knows no holes");
            return;
        }
        assert!(extent.contains(&(1 << 20)) && extent.end < 3 << 20, "{extent:?}");
        assert_eq!(data_extent(&file, 2 << 20).expect("it is open"), 3 << 20..3 << 20);
    }
}
