//! Reads the sampled pages of a core file's private segments.
//!
//! A hole took no memory, so only its bytes are counted. Writers that make no holes store pages of zeros there: these
//! count as same-filled, and `zeros` estimates them.

use std::{fs::File, os::unix::fs::FileExt as _};

use crate::{
    estimate::{
        config::PAGE,
        read::{
            core_file::{CoreFile, Segment},
            extents::Extents,
            process::Stopped,
            spool::Spool,
        },
        result::{
            mapping_kind::MappingKind,
            process::{MappingSummary, ProcessSummary},
        },
    },
    progress::Progress,
};

/// Between two updates of the progress bar.
const PAGES_PER_TICK: u64 = 256;

/// Pages read before a failure count.
pub(crate) fn read(
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
    let extents = Extents::new(&file)?;
    let mut reader = SegmentReader {
        file,
        ordinal,
        spool,
        progress,
        extents,
        pages: 0,
        bytes: 0,
        kept: 0,
        zeros: 0,
    };
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
                kind: match (core.is_machine, segment.is_stack) {
                    (true, _) => MappingKind::Other,
                    (false, true) => MappingKind::Stack,
                    (false, false) => MappingKind::Anonymous,
                },
                name: core.is_machine.then(|| "guest memory".to_owned()),
                pages,
                bytes,
                shares: Vec::new(),
                group,
            });
        }
        outcome?;
    }
    summary.beside.holes = Some(holes);
    if !core.is_machine && reader.kept > 0 {
        let share = reader.zeros as f64 / reader.kept as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share")]
        let zeros = (summary.bytes as f64 * share) as u64;
        summary.beside.zeros = Some(zeros);
    }
    Ok(())
}

struct SegmentReader<'a> {
    file: File,
    ordinal: u32,
    spool: &'a mut Spool,
    progress: &'a Progress,
    extents: Extents,
    /// Of the current segment.
    pages: u64,
    bytes: u64,
    /// Sampled pages, and those of zeros.
    kept: u64,
    zeros: u64,
}

impl SegmentReader<'_> {
    fn read(&mut self, segment: &Segment) -> Result<(), Stopped> {
        let mut page = [0; PAGE];
        let mut done = 0;
        while done < segment.len {
            let offset = segment.offset + done;
            let len = (segment.len - done).min(PAGE as u64);
            let data = self.extents.next_data(&self.file, offset);
            if data >= offset + len {
                // Continue at the page that contains the next data.
                done += ((data - offset) / PAGE as u64 * PAGE as u64).max(len);
                continue;
            }
            let page_no = (segment.address + done) / PAGE as u64;
            if self.spool.wants(self.ordinal, page_no) {
                #[expect(clippy::cast_possible_truncation, reason = "at most a page")]
                let bytes = &mut page[..len as usize];
                self.file.read_exact_at(bytes, offset)?;
                self.spool.offer(self.ordinal, page_no, bytes)?;
                self.kept += 1;
                self.zeros += u64::from(bytes.iter().all(|&byte| byte == 0));
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
}
