//! The bytes of a stopped process's heap, and what differs from the stop before.

use pagefold_procfs::{Process, ProcessMemory, ProcfsError};

use super::super::{
    error::ClassError,
    live::private_anonymous_pages,
    page_file::{PAGE_BYTES, Page},
};

/// Pages read by one call.
const RUN_PAGES: usize = 256;

/// Resident private anonymous pages, by ascending number.
#[derive(Default)]
pub(super) struct Heap {
    numbers: Vec<u64>,
    bytes: Vec<u8>,
}

impl Heap {
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Replaces the contents; returns the number of pages that the kernel refused to read.
    pub(super) fn read(&mut self, process: Process) -> Result<u64, ClassError> {
        let addresses = private_anonymous_pages(process)?;
        let memory = ProcessMemory::open(process)?;
        self.numbers.clear();
        self.bytes.clear();
        let mut unreadable = 0;
        for neighbours in addresses.chunk_by(|a, b| a + PAGE_BYTES as u64 == *b) {
            for run in neighbours.chunks(RUN_PAGES) {
                let at = self.bytes.len();
                self.bytes.resize(at + run.len() * PAGE_BYTES, 0);
                let read = match memory.read_at(run[0], &mut self.bytes[at..]) {
                    Ok(read) => read / PAGE_BYTES,
                    Err(ProcfsError::Io { .. }) => 0,
                    Err(error) => return Err(error.into()),
                };
                self.bytes.truncate(at + read * PAGE_BYTES);
                self.numbers.extend(run[..read].iter().map(|address| address / PAGE_BYTES as u64));
                unreadable += (run.len() - read) as u64;
            }
        }
        Ok(unreadable)
    }

    fn pages(&self) -> impl Iterator<Item = (u64, &Page)> {
        self.numbers.iter().copied().zip(self.bytes.as_chunks().0)
    }

    /// Pages that `before` lacks or has with other bytes, by ascending number.
    pub(super) fn changed_since<'a>(
        &'a self,
        before: &'a Self,
    ) -> impl Iterator<Item = (u64, &'a Page)> {
        let mut old = before.pages().peekable();
        self.pages().filter(move |&(number, page)| {
            while old.next_if(|&(earlier, _)| earlier < number).is_some() {}
            old.next_if(|&(same, _)| same == number).is_none_or(|(_, bytes)| bytes != page)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heap(pages: &[(u64, u8)]) -> Heap {
        Heap {
            numbers: pages.iter().map(|&(number, _)| number).collect(),
            bytes: pages.iter().flat_map(|&(_, byte)| [byte; PAGE_BYTES]).collect(),
        }
    }

    #[test]
    fn new_and_other_pages_are_changed_and_gone_ones_are_not() {
        let before = heap(&[(1, 1), (3, 3), (4, 4), (9, 9)]);
        for (pages, expected) in [
            (&[(1, 1), (3, 3), (4, 4), (9, 9)][..], &[][..]),
            (&[(1, 1), (3, 7), (9, 9)], &[3]),
            (&[(0, 0), (2, 2), (4, 4), (9, 8), (10, 9)], &[0, 2, 9, 10]),
            (&[], &[]),
        ] {
            let now = heap(pages);
            let changed: Vec<u64> = now.changed_since(&before).map(|(number, _)| number).collect();
            assert_eq!(changed, expected, "{pages:?}");
        }
        let mut last_byte = heap(&[(1, 1)]);
        last_byte.bytes[PAGE_BYTES - 1] = 0;
        assert_eq!(last_byte.changed_since(&before).count(), 1);
    }

    #[test]
    fn a_heap_is_read_with_its_numbers() {
        let own = vec![0xa7_u8; 64 * PAGE_BYTES];
        let mut heap = Heap::default();
        heap.read(Process::Current).unwrap();
        assert_eq!(heap.bytes.len(), heap.len() * PAGE_BYTES);
        assert!(heap.numbers.is_sorted_by(|a, b| a < b));
        let first = (own.as_ptr().addr() as u64).div_ceil(PAGE_BYTES as u64);
        let mine: Vec<_> =
            heap.pages().filter(|(number, _)| (first..first + 63).contains(number)).collect();
        assert_eq!(mine.len(), 63);
        assert!(mine.iter().all(|(_, page)| **page == [0xa7; PAGE_BYTES]));
    }
}
