//! Which pages of a scripted process count, and changes meanwhile.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
};

use pagefold_procfs::{Mapping, MemoryUsage, Permissions};

use super::*;

use crate::estimate::{
    config::Unit,
    read::{sampler::Sampler, spool::Room},
};

const SIZE: u64 = PAGE as u64;
/// Bits of the page map, as the kernel documents them.
const PRIVATE: u64 = 1 << 63 | 1 << 56;
const SHARED: u64 = 1 << 63;
const OF_A_FILE: u64 = 1 << 63 | 1 << 61 | 1 << 56;
const SWAPPED: u64 = 1 << 62;

/// Pages are words of the page map, and change at the first read.
#[derive(Default)]
struct Script {
    page_size: u64,
    mappings: Vec<MappingUsage>,
    pages: RefCell<BTreeMap<u64, u64>>,
    turns: Vec<(u64, u64)>,
    unreadable: Vec<u64>,
    /// Reads before the process ends.
    reads_left: Cell<Option<usize>>,
    reads: RefCell<Vec<(u64, usize)>>,
}

impl Script {
    fn new(page_size: u64) -> Self {
        Self { page_size, ..Self::default() }
    }

    /// The kernel reports `anonymous` of these pages as anonymous.
    fn map(mut self, start: u64, states: &[u64], anonymous: u64, path: Option<&str>) -> Self {
        let mapping = Mapping {
            start,
            end: start + states.len() as u64 * self.page_size,
            permissions: Permissions { read: true, write: true, execute: false, shared: false },
            offset: 0,
            device: (0, 0),
            inode: 0,
            path: path.map(Into::into),
        };
        let anonymous = anonymous * self.page_size;
        let usage = MemoryUsage { rss: anonymous, anonymous, ..MemoryUsage::default() };
        self.mappings.push(MappingUsage { mapping, usage });
        let addresses = (start..).step_by(usize::try_from(self.page_size).expect("a page"));
        self.pages.borrow_mut().extend(addresses.zip(states.iter().copied()));
        self
    }

    fn ended(&self) -> bool {
        self.reads_left.get() == Some(0)
    }
}

impl AddressSpace for Script {
    fn page_size(&self) -> u64 {
        self.page_size
    }

    fn mappings(&self) -> Result<Vec<MappingUsage>, ProcfsError> {
        Ok(self.mappings.clone())
    }

    fn stack_pointers(&self) -> Vec<u64> {
        Vec::new()
    }

    fn entries(&self, range: Range<u64>) -> Result<Vec<PagemapEntry>, ProcfsError> {
        if self.ended() {
            return Ok(Vec::new());
        }
        let pages = self.pages.borrow();
        let address = |page| range.start + page * self.page_size;
        let word = |page| pages.get(&address(page)).copied().unwrap_or(0);
        let count = (range.end - range.start) / self.page_size;
        Ok((0..count).map(|page| PagemapEntry::from_raw(word(page))).collect())
    }

    /// Fills each page with its page number.
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, ProcfsError> {
        if self.ended() {
            return Err(ProcfsError::NoSuchProcess { process: Process::Id(7) });
        }
        self.reads_left.set(self.reads_left.get().map(|left| left - 1));
        self.reads.borrow_mut().push((address, buffer.len()));
        self.pages.borrow_mut().extend(self.turns.iter().copied());
        let mut done = 0;
        for page in buffer.chunks_mut(PAGE) {
            let at = address + done as u64;
            if self.unreadable.contains(&at) {
                break;
            }
            page.fill((at / SIZE % 251) as u8);
            done += page.len();
        }
        if done == 0 {
            let source = io::Error::from_raw_os_error(5);
            return Err(ProcfsError::Io { file: "/proc/7/mem".into(), source });
        }
        Ok(done)
    }
}

fn read_sampled(
    script: &Script,
    per_mapping: bool,
    fraction: f64,
) -> (Spool, ProcessSummary, Result<(), Stopped>) {
    let mut spool =
        Spool::new(Sampler::new(1, fraction, Unit::Page), Room::Tighten { bytes: usize::MAX }, 0);
    let ordinal = spool.add_source("process 7".into()).expect("the first source");
    let candidate = Candidate {
        // No process has this number.
        process_id: 1 << 30,
        name: "script".to_owned(),
        named: true,
        expected_bytes: 0,
    };
    let progress = Progress::hidden();
    let (summary, outcome) =
        read(script, &candidate, (ordinal, per_mapping), &mut spool, &progress);
    (spool, summary, outcome)
}

fn read_all(script: &Script) -> (Spool, ProcessSummary, Result<(), Stopped>) {
    read_sampled(script, false, 1.0)
}

#[test]
fn only_private_pages_count_and_each_has_its_own_bytes() {
    let states = [PRIVATE, 0, PRIVATE, SHARED, OF_A_FILE, SWAPPED, PRIVATE, PRIVATE];
    let script = Script::new(SIZE).map(0x10_0000, &states, 5, None);
    let (spool, summary, outcome) = read_all(&script);
    assert!(outcome.is_ok() && summary.complete, "{outcome:?}");
    assert_eq!((summary.pages, summary.bytes, summary.vanished_pages), (4, 4 * SIZE, 0));
    assert_eq!(summary.beside.shared_anonymous, Some(SIZE), "another process has one page too");
    let read: Vec<_> = (0..spool.len()).map(|index| spool.page(index)[77]).collect();
    assert_eq!(read, [0x100, 0x102, 0x106, 0x107].map(|number: u64| (number % 251) as u8));
    let reads = script.reads.borrow();
    assert_eq!(reads[..], [(0x10_0000, PAGE), (0x10_2000, PAGE), (0x10_6000, 2 * PAGE)]);
}

#[test]
fn the_page_of_zeros_is_not_shared_memory() {
    // The mapping's sum has only the private page.
    let script = Script::new(SIZE).map(0x1000, &[PRIVATE, SHARED, SHARED], 1, None);
    assert_eq!(read_all(&script).1.beside.shared_anonymous, Some(0));
}

#[test]
fn a_page_that_is_given_back_swapped_or_forked_meanwhile_has_vanished() {
    for later in [0, SWAPPED, SHARED] {
        let mut script = Script::new(SIZE).map(0x1000, &[PRIVATE; 6], 6, None);
        script.turns = vec![(0x3000, later), (0x4000, later)];
        let (spool, summary, outcome) = read_all(&script);
        assert!(outcome.is_ok(), "{outcome:?}");
        assert_eq!((summary.pages, summary.vanished_pages, spool.len()), (4, 2, 4), "{later:#x}");
    }
}

#[test]
fn a_page_that_cannot_be_read_has_vanished_and_its_neighbours_have_not() {
    let mut script = Script::new(SIZE).map(0x1000, &[PRIVATE; 6], 6, None);
    script.unreadable = vec![0x1000, 0x4000, 0x6000];
    let (spool, summary, outcome) = read_all(&script);
    assert!(outcome.is_ok(), "{outcome:?}");
    assert_eq!((summary.pages, summary.vanished_pages, spool.len()), (3, 3, 3));
}

#[test]
fn a_process_that_ends_leaves_what_was_read() {
    // One read for each mapping, and the process ends with the third.
    let mut script = Script::new(SIZE);
    for number in 1..=4_u64 {
        script = script.map(number << 20, &[PRIVATE; 10], 10, None);
    }
    script.reads_left.set(Some(3));
    let (spool, summary, outcome) = read_all(&script);
    let Err(Stopped::InputSource(why)) = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("ended") && !summary.complete, "{why}");
    // Whether the third mapping's pages stayed private is unknown.
    assert_eq!((summary.pages, spool.len()), (20, 20));
}

#[test]
fn a_sample_reads_its_pages_and_counts_all() {
    let states = vec![PRIVATE; 5000];
    let script = Script::new(SIZE).map(0x10_0000, &states, 5000, None);
    let (spool, summary, outcome) = read_sampled(&script, false, 0.1);
    assert!(outcome.is_ok(), "{outcome:?}");
    assert_eq!(summary.pages, 5000);
    assert!((400..600).contains(&spool.len()), "{}", spool.len());
    let read: usize = script.reads.borrow().iter().map(|(_, len)| len / PAGE).sum();
    assert_eq!(read, spool.len(), "nothing else is read");
}

#[test]
fn a_large_range_is_read_in_pieces_of_a_mebibyte() {
    let states = vec![PRIVATE; 5000];
    let script = Script::new(SIZE).map(0x10_0000, &states, 5000, None);
    let (spool, summary, _) = read_all(&script);
    assert_eq!((summary.pages, spool.len()), (5000, 5000));
    assert!(script.reads.borrow().iter().all(|&(_, len)| len <= CHUNK_BYTES));
}

#[test]
fn ranges_without_anonymous_pages_and_reserved_huge_pages_are_not_looked_at() {
    let mut script = Script::new(SIZE).map(0x10_0000, &[OF_A_FILE; 4], 0, Some("/lib/x")).map(
        0x20_0000,
        &[PRIVATE; 4],
        4,
        None,
    );
    script.mappings[1].usage.reserved_huge = 2 << 20;
    let (spool, summary, outcome) = read_all(&script);
    assert!(outcome.is_ok() && script.reads.borrow().is_empty());
    assert_eq!((summary.pages, spool.len()), (0, 0));
}

#[test]
fn mappings_are_told_apart_when_asked_for() {
    let script = Script::new(SIZE)
        .map(0x10_0000, &[PRIVATE; 3], 3, Some("[heap]"))
        .map(0x20_0000, &[SHARED; 3], 3, None)
        .map(0x30_0000, &[PRIVATE; 2], 2, Some("[anon:js heap]"))
        .map(0x40_0000, &[PRIVATE; 1], 1, Some("/usr/lib/libc.so.6"));
    let (spool, summary, _) = read_sampled(&script, true, 1.0);
    let found: Vec<_> = summary
        .mappings
        .iter()
        .map(|mapping| (mapping.kind, mapping.name.as_deref(), mapping.pages))
        .collect();
    assert_eq!(
        found,
        [
            (MappingKind::Heap, None, 3),
            (MappingKind::Named, Some("js heap"), 2),
            (MappingKind::File, Some("/usr/lib/libc.so.6"), 1)
        ]
    );
    for mapping in &summary.mappings {
        let pages = (0..spool.len()).filter(|&index| spool.group(index) == mapping.group as usize);
        assert_eq!(pages.count() as u64, mapping.pages, "{mapping:?}");
    }
    assert!(read_all(&script).1.mappings.is_empty(), "they were not asked for");
}

#[test]
fn pages_of_16_kib_are_cut_into_four() {
    let script = Script::new(4 * SIZE).map(0x10_0000, &[PRIVATE, 0, PRIVATE], 2, None);
    let (spool, summary, outcome) = read_all(&script);
    assert!(outcome.is_ok(), "{outcome:?}");
    assert_eq!((summary.pages, summary.bytes, spool.len()), (8, 8 * SIZE, 8));
    assert_eq!(spool.page(5)[0], (0x109 % 251) as u8);
}
