//! Reads the anonymous pages that several processes share, each once: after forks, or merged.
//!
//! The frame number identifies a page (with `CAP_SYS_ADMIN`), else address and content: a fork leaves pages in place;
//! merged pages then count repeatedly. Pages of zeros are left out, for the page map shows the kernel's page of zeros
//! alike.

use std::{collections::HashSet, ops::Range};

use pagefold_codec::same_filled;
use pagefold_procfs::{PagemapEntry, ProcfsError};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::{
    estimate::{
        config::PAGE,
        error::EstimateError,
        read::{
            address_space::{AddressSpace, Live},
            process::{Candidate, Stopped},
            process_read::{CHUNK_BYTES, WINDOW_BYTES, is_anonymous},
            spool::Spool,
        },
        result::process::ProcessSummary,
    },
    progress::Progress,
};

pub(crate) const NAME: &str = "shared pages";

/// A process that has ended adds nothing; its shared pages are read from the remaining ones.
pub(crate) fn read(
    processes: &[Candidate],
    ordinal: u32,
    spool: &mut Spool,
    progress: &Progress,
) -> Result<ProcessSummary, EstimateError> {
    let mut reader = SharedReader::new(ordinal, spool)?;
    for candidate in processes {
        let Ok(space) = Live::open(candidate.process_id) else { continue };
        let before = reader.summary.pages;
        match reader.read_process(&space) {
            Ok(()) | Err(Stopped::InputSource(_)) => {}
            Err(Stopped::All(failure)) => return Err(failure),
        }
        progress.add(reader.summary.pages - before);
    }
    Ok(reader.summary)
}

struct SharedReader<'a> {
    ordinal: u32,
    spool: &'a mut Spool,
    /// Identities met.
    known: HashSet<u128>,
    buffer: Vec<u8>,
    summary: ProcessSummary,
}

impl<'a> SharedReader<'a> {
    fn new(ordinal: u32, spool: &'a mut Spool) -> Result<Self, EstimateError> {
        let mut summary = ProcessSummary::new(NAME.to_owned());
        (summary.shared_by, summary.complete) = (Some(0), true);
        summary.group = spool.begin_group()?;
        Ok(Self { ordinal, spool, known: HashSet::new(), buffer: vec![0; CHUNK_BYTES], summary })
    }

    fn read_process(&mut self, space: &impl AddressSpace) -> Result<(), Stopped> {
        let before = self.summary.pages;
        let mut found = 0;
        for usage in space.mappings()? {
            if usage.usage.anonymous > 0 && usage.usage.reserved_huge == 0 {
                found += self.read_range(space, usage.mapping.range())?;
            }
        }
        // Known pages count too.
        let counts = found > 0 || self.summary.pages > before;
        self.summary.shared_by = self.summary.shared_by.map(|by| by + u64::from(counts));
        Ok(())
    }

    /// Counts known pages too.
    fn read_range(&mut self, space: &impl AddressSpace, range: Range<u64>) -> Result<u64, Stopped> {
        let page_size = space.page_size().min(CHUNK_BYTES as u64);
        let mut found = 0;
        for base in range.clone().step_by(usize::try_from(WINDOW_BYTES).unwrap_or(CHUNK_BYTES)) {
            let window = base..base.saturating_add(WINDOW_BYTES).min(range.end);
            let entries = space.entries(window)?;
            let mut page = 0;
            while page < entries.len() {
                let most = CHUNK_BYTES / usize::try_from(page_size).unwrap_or(PAGE);
                let wanted = |entry: &&PagemapEntry| is_shared(**entry);
                let run = entries[page..].iter().take(most).take_while(wanted).count();
                if run > 0 {
                    let address = base + page as u64 * page_size;
                    found +=
                        self.read_run(space, address, &entries[page..page + run], page_size)?;
                }
                page += run.max(1);
            }
        }
        Ok(found)
    }

    /// Offers pages that are new and still shared.
    fn read_run(
        &mut self,
        space: &impl AddressSpace,
        address: u64,
        entries: &[PagemapEntry],
        page_size: u64,
    ) -> Result<u64, Stopped> {
        let size = usize::try_from(page_size).unwrap_or(PAGE);
        let bytes = entries.len() * size;
        let got = match space.read(address, &mut self.buffer[..bytes]) {
            Ok(got) => got / size,
            // Unmapped, so no longer shared.
            Err(ProcfsError::Io { .. }) => 0,
            Err(error) => return Err(error.into()),
        };
        let again = space.entries(address..address + bytes as u64)?;
        let mut found = 0;
        for (index, entry) in entries.iter().enumerate().take(got) {
            // Replaced, or no longer shared.
            if again.get(index) != Some(entry) {
                self.summary.vanished_pages += page_size / PAGE as u64;
                continue;
            }
            let page = &self.buffer[index * size..(index + 1) * size];
            if same_filled(page) == Some(0) {
                continue;
            }
            found += 1;
            let address = address + index as u64 * page_size;
            if self.known.insert(identity(*entry, address, page)) {
                self.summary.pages += page_size / PAGE as u64;
                self.summary.bytes += page_size;
                for (page_no, part) in (address / PAGE as u64..).zip(page.chunks_exact(PAGE)) {
                    self.spool.offer(self.ordinal, page_no, part)?;
                }
            }
        }
        Ok(found)
    }
}

/// Includes the kernel's page of zeros.
fn is_shared(entry: PagemapEntry) -> bool {
    is_anonymous(entry) && !entry.private_anonymous()
}

fn identity(entry: PagemapEntry, address: u64, page: &[u8]) -> u128 {
    match entry.frame_number() {
        Some(number) => number.into(),
        None => xxh3_128_with_seed(page, address),
    }
}

#[cfg(test)]
mod tests {
    use pagefold_procfs::{Mapping, MappingUsage, MemoryUsage, Permissions};

    use super::*;
    use crate::estimate::{
        config::Unit,
        read::{sampler::Sampler, spool::Room},
    };

    const SIZE: u64 = PAGE as u64;
    const SHARED: u64 = 1 << 63;
    const PRIVATE: u64 = SHARED | 1 << 56;

    /// An address, and each page's page map word and filling.
    struct Script(u64, Vec<(u64, u8)>);

    impl AddressSpace for Script {
        fn page_size(&self) -> u64 {
            SIZE
        }

        fn mappings(&self) -> Result<Vec<MappingUsage>, ProcfsError> {
            let mapping = Mapping {
                start: self.0,
                end: self.0 + self.1.len() as u64 * SIZE,
                permissions: Permissions { read: true, write: true, execute: false, shared: false },
                offset: 0,
                device: (0, 0),
                inode: 0,
                path: None,
            };
            let usage = MemoryUsage { anonymous: SIZE, ..MemoryUsage::default() };
            Ok(vec![MappingUsage { mapping, usage }])
        }

        fn stack_pointers(&self) -> Vec<u64> {
            Vec::new()
        }

        fn entries(&self, range: Range<u64>) -> Result<Vec<PagemapEntry>, ProcfsError> {
            let index = |address: u64| usize::try_from((address - self.0) / SIZE).expect("small");
            let pages = &self.1[index(range.start)..index(range.end)];
            Ok(pages.iter().map(|(word, _)| PagemapEntry::from_raw(*word)).collect())
        }

        fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, ProcfsError> {
            let first = usize::try_from((address - self.0) / SIZE).expect("small");
            for (page, (_, fill)) in buffer.chunks_mut(PAGE).zip(&self.1[first..]) {
                // Not same-filled, unlike the page of zeros.
                page.fill(*fill);
                page[0] = fill.wrapping_mul(3);
            }
            Ok(buffer.len())
        }
    }

    fn pages_of(processes: &[Script]) -> (ProcessSummary, usize) {
        let mut spool =
            Spool::new(Sampler::new(1, 1.0, Unit::Page), Room::Tighten { bytes: 1 << 30 }, 0);
        let ordinal = spool.add_source(NAME.into()).expect("the first source");
        let mut reader = SharedReader::new(ordinal, &mut spool).expect("a group");
        for process in processes {
            assert!(reader.read_process(process).is_ok());
        }
        let summary = reader.summary;
        (summary, spool.len())
    }

    #[test]
    fn a_page_of_several_processes_counts_once_by_its_frame() {
        // Frame 9 lies at two addresses, as after merging; frames 7 and 8 have the same content.
        let parent = Script(
            0x10000,
            vec![(SHARED | 7, 1), (SHARED | 8, 1), (PRIVATE | 5, 2), (SHARED | 9, 4)],
        );
        let child =
            Script(0x10000, vec![(SHARED | 7, 1), (SHARED | 8, 1), (PRIVATE | 6, 2), (0, 0)]);
        let other = Script(0x90000, vec![(SHARED | 9, 4)]);
        let (summary, kept) = pages_of(&[parent, child, other]);
        assert_eq!((summary.pages, kept, summary.shared_by), (3, 3, Some(3)));
    }

    #[test]
    fn where_frames_are_hidden_place_and_content_tell() {
        let process = |fill| Script(0x10000, vec![(SHARED, 1), (SHARED, fill)]);
        let (summary, kept) = pages_of(&[process(2), process(2), process(3)]);
        assert_eq!((summary.pages, kept), (3, 3), "the first one, and two that differ");
        let moved = Script(0x50000, vec![(SHARED, 1)]);
        assert_eq!(pages_of(&[process(1), moved]).1, 3, "alike in another place is another page");
    }

    #[test]
    fn private_pages_and_pages_of_zeros_are_not_shared_ones() {
        let (summary, kept) =
            pages_of(&[Script(0x10000, vec![(PRIVATE, 1), (SHARED, 0), (1 << 62, 1)])]);
        assert_eq!((summary.pages, kept, summary.shared_by), (0, 0, Some(0)));
    }
}
