//! The sampled pages in memory, back to back: every run takes the same bytes. A 128-bit hash checks what a pool
//! returns. A group is a process, a mapping, or (the first) all files.

use std::{collections::HashSet, path::PathBuf};

use pagefold_codec::same_filled;
use pagefold_sys::heap::fallible;
use xxhash_rust::xxh3::xxh3_128;

use crate::estimate::{config::Unit, error::EstimateError, read::sampler::Sampler};

pub(crate) const PAGE: usize = 4096;

#[derive(Debug)]
pub(crate) struct Spool {
    bytes: Vec<u8>,
    pages: Vec<Page>,
    names: Vec<PathBuf>,
    /// Of the next pages; the last group.
    group: u32,
    sampler: Sampler,
    room: Room,
    /// Of a base: only pages with these numbers.
    only: Option<HashSet<u64>>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Room {
    /// The sample shrinks.
    Tighten { bytes: usize },
    /// The user asked for this sample.
    Refuse { bytes: usize },
}

#[derive(Debug, Clone, Copy)]
struct Page {
    hash: u128,
    start: usize,
    page_no: u64,
    source: u32,
    group: u32,
    len: u16,
}

impl Spool {
    /// Reserves `expected` bytes if possible.
    pub(crate) fn new(sampler: Sampler, room: Room, expected: usize) -> Self {
        let (mut bytes, mut pages) = (Vec::new(), Vec::new());
        let _ = fallible(|| {
            bytes.try_reserve_exact(expected)?;
            pages.try_reserve_exact(expected.div_ceil(PAGE))
        });
        Self { bytes, pages, names: Vec::new(), group: 0, sampler, room, only: None }
    }

    /// For a base: the pages with the numbers of this sample, shared ones included.
    pub(crate) fn of_base(&self) -> Self {
        let numbers: HashSet<u64> = self.pages.iter().map(|page| page.page_no).collect();
        let whole = Sampler::new(0, 1.0, Unit::Page);
        let room = Room::Refuse { bytes: usize::MAX };
        Self { only: Some(numbers), ..Self::new(whole, room, 0) }
    }

    pub(crate) fn is_of_base(&self) -> bool {
        self.only.is_some()
    }

    pub(crate) fn page_no(&self, index: usize) -> u64 {
        self.pages[index].page_no
    }

    /// The next pages belong to it.
    pub(crate) fn begin_group(&mut self) -> Result<u32, EstimateError> {
        self.group = self.group.checked_add(1).ok_or(EstimateError::TooManyPages)?;
        Ok(self.group)
    }

    pub(crate) fn groups(&self) -> usize {
        self.group as usize + 1
    }

    pub(crate) fn group(&self, index: usize) -> usize {
        self.pages[index].group as usize
    }

    pub(crate) fn add_source(&mut self, name: PathBuf) -> Result<u32, EstimateError> {
        let ordinal = u32::try_from(self.names.len()).map_err(|_| EstimateError::TooManyPages)?;
        self.names.push(name);
        Ok(ordinal)
    }

    pub(crate) fn wants(&self, source: u32, page_no: u64) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&page_no))
            && self.sampler.takes(source, page_no)
    }

    /// Keeps a page of the sample. Fails when the room is used up, or without memory.
    ///
    /// # Panics
    /// If the page is empty or longer than [`PAGE`].
    pub(crate) fn offer(
        &mut self,
        source: u32,
        page_no: u64,
        page: &[u8],
    ) -> Result<(), EstimateError> {
        assert!((1..=PAGE).contains(&page.len()), "a page has 1 to 4096 bytes, not {}", page.len());
        if !self.wants(source, page_no) {
            return Ok(());
        }
        if self.pages.len() >= u32::MAX as usize {
            return Err(EstimateError::TooManyPages);
        }
        self.make_room(page.len())?;
        let start = self.bytes.len();
        self.bytes.extend_from_slice(page);
        #[expect(clippy::cast_possible_truncation, reason = "asserted above")]
        let len = page.len() as u16;
        let (hash, group) = (xxh3_128(page), self.group);
        self.pages.push(Page { hash, start, page_no, source, group, len });
        self.keep_within_room()
    }

    fn make_room(&mut self, len: usize) -> Result<(), EstimateError> {
        let full = self.bytes.capacity() - self.bytes.len() < len
            || self.pages.len() == self.pages.capacity();
        if !full {
            return Ok(());
        }
        let (bytes, pages) = (&mut self.bytes, &mut self.pages);
        // By an eighth: unused reservations count where address space is bounded.
        let few = (1 << 20).max(bytes.len() / 8);
        let reserved = fallible(|| {
            bytes.try_reserve_exact(len.max(few))?;
            pages.try_reserve_exact(few.div_ceil(PAGE))
        });
        let wanted = self.bytes.len() as u64;
        reserved.map_err(|_| EstimateError::OutOfMemory { bytes: wanted, what: "sampled pages" })
    }

    fn keep_within_room(&mut self) -> Result<(), EstimateError> {
        match self.room {
            Room::Refuse { bytes } if self.bytes.len() > bytes => {
                Err(EstimateError::SampleTooLarge {
                    wanted: self.bytes.len() as u64,
                    cap: bytes as u64,
                    bound: "this system".to_owned(),
                    advice: "use a smaller --sample".to_owned(),
                })
            }
            Room::Tighten { bytes } => {
                while self.bytes.len() > bytes && self.sampler.tighten() {
                    self.drop_untaken();
                }
                Ok(())
            }
            Room::Refuse { .. } => Ok(()),
        }
    }

    fn drop_untaken(&mut self) {
        let (bytes, sampler) = (&mut self.bytes, self.sampler);
        let mut end = 0;
        self.pages.retain_mut(|page| {
            let keep = sampler.takes(page.source, page.page_no);
            if keep {
                bytes.copy_within(page.start..page.start + usize::from(page.len), end);
                page.start = end;
                end += usize::from(page.len);
            }
            keep
        });
        bytes.truncate(end);
    }

    pub(crate) fn len(&self) -> usize {
        self.pages.len()
    }

    pub(crate) fn total_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Pages of one repeated word.
    pub(crate) fn same_filled(&self) -> u64 {
        (0..self.len()).filter(|&index| same_filled(self.page(index)).is_some()).count() as u64
    }

    pub(crate) fn page(&self, index: usize) -> &[u8] {
        let page = &self.pages[index];
        &self.bytes[page.start..page.start + usize::from(page.len)]
    }

    /// Whether the page before is of another unit, or there is none. Pages of a unit ascend.
    pub(crate) fn begins_unit(&self, index: usize) -> bool {
        let unit = |page: &Page| (page.source, self.sampler.unit().of(page.page_no));
        let page = &self.pages[index];
        index == 0 || {
            let before = &self.pages[index - 1];
            unit(before) != unit(page) || before.page_no >= page.page_no
        }
    }

    pub(crate) fn page_len(&self, index: usize) -> usize {
        usize::from(self.pages[index].len)
    }

    pub(crate) fn matches(&self, index: usize, bytes: &[u8]) -> bool {
        bytes.len() == self.page_len(index) && xxh3_128(bytes) == self.pages[index].hash
    }

    pub(crate) fn describe(&self, index: usize) -> String {
        let page = &self.pages[index];
        format!("{} of {}", page.page_no, self.names[page.source as usize].display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spool(room: Room) -> Spool {
        let mut spool = Spool::new(Sampler::new(1, 1.0, Unit::Page), room, 0);
        assert_eq!(spool.add_source("a file".into()).expect("the first source"), 0);
        spool
    }

    #[test]
    fn pages_come_back_at_their_own_lengths() {
        let mut spool = spool(Room::Tighten { bytes: usize::MAX });
        for (page_no, page) in [&[7; PAGE][..], b"short", &[0; 8]].into_iter().enumerate() {
            spool.offer(0, page_no as u64, page).expect("there is room");
        }
        assert_eq!((spool.len(), spool.total_bytes()), (3, 4096 + 5 + 8));
        assert_eq!(spool.page(1), b"short");
        assert_eq!(spool.same_filled(), 2);
        assert!(spool.matches(1, b"short"));
        assert!(
            !spool.matches(1, b"shorT")
                && !spool.matches(1, b"shor")
                && !spool.matches(0, b"short")
        );
        assert_eq!(spool.describe(1), "1 of a file");
    }

    #[test]
    fn a_spool_that_may_tighten_never_holds_more_than_its_room_and_keeps_the_right_bytes() {
        let room = 64 * PAGE;
        let mut spool = spool(Room::Tighten { bytes: room });
        for page_no in 0..4000_u64 {
            let mut page = [0; PAGE];
            page[..8].copy_from_slice(&page_no.to_le_bytes());
            let len = if page_no % 5 == 0 { 100 } else { PAGE };
            spool.offer(0, page_no, &page[..len]).expect("a smaller sample always fits");
            assert!(spool.total_bytes() <= room as u64);
        }
        assert!(spool.len() > 40, "{} pages kept", spool.len());
        for index in 0..spool.len() {
            let page = spool.page(index);
            assert_eq!(page[..8], spool.pages[index].page_no.to_le_bytes());
            assert!(spool.matches(index, page));
            assert!(spool.wants(0, spool.pages[index].page_no));
        }
    }

    #[test]
    fn a_leaf_ends_at_its_border_with_its_source_and_where_numbers_go_back() {
        let leaves = Sampler::new(1, 1.0, Unit::Leaf);
        let mut spool = Spool::new(leaves, Room::Tighten { bytes: usize::MAX }, 0);
        for name in ["a", "b"] {
            spool.add_source(name.into()).expect("a few sources");
        }
        let places = [(0, 3), (0, 5), (0, 63), (0, 64), (1, 64), (1, 70), (1, 65), (1, 90)];
        for (source, page_no) in places {
            spool.offer(source, page_no, b"page").expect("there is room");
        }
        let begins: Vec<_> = (0..spool.len()).filter(|&at| spool.begins_unit(at)).collect();
        assert_eq!(begins, [0, 3, 4, 6]);
    }

    #[test]
    fn a_spool_that_may_not_tighten_refuses() {
        let mut spool = spool(Room::Refuse { bytes: PAGE });
        spool.offer(0, 0, &[1; PAGE]).expect("exactly the room");
        let refused = spool.offer(0, 1, &[1]).expect_err("one byte too many").to_string();
        assert!(refused.contains("--sample"), "{refused}");
    }
}
