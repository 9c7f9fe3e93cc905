//! Reads a running process's private anonymous pages.
//!
//! ```text
//! mappings --16 MiB of page map--> private pages --1 MiB--> read --page map again--> spool, or vanished
//! ```
//!
//! The process keeps running. A page that is freed, swapped out, or shared by a fork between the two looks counts as
//! *vanished*. Pages that appear behind the reader are missed.

use std::ops::Range;

use pagefold_procfs::{MappingUsage, PagemapEntry, Process, ProcfsError, smaps_rollup, status};

use crate::{
    estimate::{
        config::PAGE,
        error::EstimateError,
        read::{
            address_space::AddressSpace,
            mapping::{kind_of, program_name},
            process::{Candidate, Stopped},
            spool::Spool,
        },
        result::{
            mapping_kind::MappingKind,
            process::{Beside, MappingSummary, ProcessSummary, Proportional},
        },
    },
    progress::Progress,
};

/// Covered by one read of the page map.
pub(crate) const WINDOW_BYTES: u64 = 16 << 20;

/// Read between two looks at the page map.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;

/// Pages read before a failure count.
pub(crate) fn read(
    space: &impl AddressSpace,
    candidate: &Candidate,
    (ordinal, per_mapping): (u32, bool),
    spool: &mut Spool,
    progress: &Progress,
) -> (ProcessSummary, Result<(), Stopped>) {
    let mut summary = ProcessSummary::new(candidate.name.clone());
    summary.process_id = Some(candidate.process_id);
    summary.beside = beside(candidate.process_id);
    let mut reader = PageReader {
        space,
        page_size: usize::try_from(space.page_size()).unwrap_or(PAGE).min(CHUNK_BYTES),
        process_id: candidate.process_id,
        ordinal,
        spool,
        progress,
        buffer: vec![0; CHUNK_BYTES],
        counts: Counts::default(),
    };
    let outcome = reader.read_all(per_mapping, &mut summary);
    summary.complete = outcome.is_ok();
    (summary, outcome)
}

/// Empty where the process has just ended.
fn beside(process_id: u32) -> Beside {
    let Ok(status) = status(Process::Id(process_id)) else { return Beside::default() };
    Beside {
        rss_anon: status.rss_anon,
        file: Some(status.rss_file),
        shared_memory: Some(status.rss_shared),
        reserved_huge: Some(status.reserved_huge),
        swap: Some(status.swap),
        ..Beside::default()
    }
}

/// `None` where the kernel does not tell.
fn proportional(process_id: u32, private: u64) -> Option<Proportional> {
    let usage = smaps_rollup(Process::Id(process_id)).ok()?;
    Some(Proportional {
        shared_anonymous: usage.proportional_anonymous?.saturating_sub(private),
        file: usage.proportional_file?,
        shared_memory: usage.proportional_shared_memory?,
    })
}

/// Pages of the system, not of 4 KiB.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    private: u64,
    vanished: u64,
    /// Includes the kernel's page of zeros.
    shared_or_zero: u64,
}

struct PageReader<'a, S> {
    space: &'a S,
    page_size: usize,
    process_id: u32,
    ordinal: u32,
    spool: &'a mut Spool,
    progress: &'a Progress,
    buffer: Vec<u8>,
    /// Of the current mapping.
    counts: Counts,
}

impl<S: AddressSpace> PageReader<'_, S> {
    fn read_all(&mut self, per_mapping: bool, summary: &mut ProcessSummary) -> Result<(), Stopped> {
        summary.group = self.spool.begin_group()?;
        let mappings = self.space.mappings()?;
        let mut stacks = if per_mapping { self.space.stack_pointers() } else { Vec::new() };
        stacks.sort_unstable();
        let (mut shared, mut merged, mut locked) = (0, 0, 0);
        for (index, usage) in mappings.iter().enumerate() {
            // Reserved huge pages look anonymous, but are never swapped.
            if usage.usage.anonymous == 0 || usage.usage.reserved_huge > 0 {
                continue;
            }
            let group = if per_mapping { self.spool.begin_group()? } else { summary.group };
            let outcome = self.read_mapping(usage);
            let page_size = self.page_size as u64;
            let counts = std::mem::take(&mut self.counts);
            let bytes = counts.private * page_size;
            summary.pages += bytes / PAGE as u64;
            summary.bytes += bytes;
            summary.vanished_pages += counts.vanished * page_size / PAGE as u64;
            // The page map shows zeros as shared; the mapping's sum excludes them.
            let not_private = usage.usage.anonymous.saturating_sub(bytes);
            shared += not_private.min(counts.shared_or_zero * page_size);
            merged += usage.usage.merged;
            locked += if usage.usage.locked > 0 { bytes } else { 0 };
            if per_mapping && counts.private > 0 {
                let next = mappings.get(index + 1).map(|next| &next.mapping);
                let kind = kind_of(&usage.mapping, next, &stacks);
                summary.mappings.push(describe(usage, kind, bytes, group));
            }
            outcome?;
        }
        summary.beside.shared_anonymous = Some(shared);
        summary.beside.merged = Some(merged);
        summary.beside.locked = Some(locked);
        summary.beside.proportional = proportional(self.process_id, summary.bytes);
        Ok(())
    }

    fn read_mapping(&mut self, usage: &MappingUsage) -> Result<(), Stopped> {
        let Range { start, end } = usage.mapping.range();
        let page_size = self.page_size as u64;
        let mut base = start;
        while base < end {
            let stop = base.saturating_add(WINDOW_BYTES).min(end);
            let entries = self.look(base..stop)?;
            for chunk in entries.chunks(CHUNK_BYTES / self.page_size) {
                if chunk.iter().any(|entry| is_anonymous(*entry)) {
                    self.read_chunk(base, chunk)?;
                }
                base += chunk.len() as u64 * page_size;
            }
            // A range may be no multiple of a page.
            base = base.max(stop);
        }
        Ok(())
    }

    /// A shorter answer: the process has ended.
    fn look(&self, range: Range<u64>) -> Result<Vec<PagemapEntry>, ProcfsError> {
        let pages = (range.end - range.start).div_ceil(self.page_size as u64);
        let entries = self.space.entries(range)?;
        if (entries.len() as u64) < pages {
            return Err(ProcfsError::NoSuchProcess { process: Process::Id(self.process_id) });
        }
        Ok(entries)
    }

    /// `entries` is the first look.
    fn read_chunk(&mut self, base: u64, entries: &[PagemapEntry]) -> Result<(), Stopped> {
        let size = self.page_size;
        let address = |page: usize| base + (page * size) as u64;
        let wanted: Vec<_> = entries
            .iter()
            .enumerate()
            .map(|(page, entry)| self.reads(*entry) && self.wants(address(page)))
            .collect();
        let mut counts = Counts::default();
        let not_private =
            entries.iter().filter(|entry| is_anonymous(**entry) && !self.reads(**entry));
        counts.shared_or_zero = not_private.count() as u64;

        let got = self.read_wanted(base, &wanted)?;
        let again = if wanted.contains(&true) {
            self.look(base..address(entries.len()))?
        } else {
            entries.to_vec()
        };
        for page in 0..entries.len() {
            if !self.reads(entries[page]) {
                continue;
            }
            let missed = wanted[page] && !got[page];
            if missed || !self.reads(again[page]) {
                counts.vanished += 1;
                continue;
            }
            counts.private += 1;
            if wanted[page] {
                self.offer(address(page), page * size)?;
            }
        }
        self.counts.private += counts.private;
        self.counts.vanished += counts.vanished;
        self.counts.shared_or_zero += counts.shared_or_zero;
        self.progress.add(counts.private * (size / PAGE) as u64);
        Ok(())
    }

    /// A template shares most of its pages with those that it forked.
    fn reads(&self, entry: PagemapEntry) -> bool {
        entry.private_anonymous() || self.spool.is_of_base() && is_anonymous(entry)
    }

    /// Whether the sample has any part of the page.
    fn wants(&self, address: u64) -> bool {
        let first = address / PAGE as u64;
        let parts = (self.page_size / PAGE) as u64;
        (first..first + parts).any(|page_no| self.spool.wants(self.ordinal, page_no))
    }

    /// Reads neighbours at once; returns which pages were read.
    fn read_wanted(&mut self, base: u64, wanted: &[bool]) -> Result<Vec<bool>, ProcfsError> {
        let size = self.page_size;
        let mut got = vec![false; wanted.len()];
        let mut page = 0;
        while page < wanted.len() {
            let neighbours = wanted[page..].iter().take_while(|&&wanted| wanted).count();
            if neighbours == 0 {
                page += 1;
                continue;
            }
            let run = &mut self.buffer[page * size..(page + neighbours) * size];
            let read = match self.space.read(base + (page * size) as u64, run) {
                Ok(read) => read / size,
                // Unmapped pages have vanished; other errors end the reading.
                Err(ProcfsError::Io { .. }) => 0,
                Err(error) => return Err(error),
            };
            got[page..page + read].fill(true);
            // Skips the unreadable page.
            page += neighbours.min(read + 1);
        }
        Ok(got)
    }

    fn offer(&mut self, address: u64, place: usize) -> Result<(), EstimateError> {
        let first = address / PAGE as u64;
        let page = &self.buffer[place..place + self.page_size];
        for (page_no, part) in (first..).zip(page.chunks_exact(PAGE)) {
            self.spool.offer(self.ordinal, page_no, part)?;
        }
        Ok(())
    }
}

/// Includes the kernel's page of zeros.
pub(crate) fn is_anonymous(entry: PagemapEntry) -> bool {
    entry.present() && !entry.file_or_shared()
}

fn describe(usage: &MappingUsage, kind: MappingKind, bytes: u64, group: u32) -> MappingSummary {
    let path = usage.mapping.path.as_ref().map(|path| path.display().to_string());
    let name = match kind {
        MappingKind::Named => path.as_deref().and_then(program_name).map(str::to_owned),
        MappingKind::Heap | MappingKind::Stack => None,
        _ => path,
    };
    MappingSummary {
        start: usage.mapping.start,
        end: usage.mapping.end,
        kind,
        name,
        pages: bytes / PAGE as u64,
        bytes,
        shares: Vec::new(),
        group,
    }
}

#[cfg(test)]
#[path = "process_read_tests.rs"]
mod tests;
