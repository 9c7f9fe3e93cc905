//! A process's memory as a trait, so that a test can script changes.

use std::ops::Range;

use pagefold_procfs::{
    MappingUsage, Pagemap, PagemapEntry, Process, ProcessMemory, ProcfsError, smaps, stack_pointers,
};

/// Answers may be outdated already.
pub(crate) trait AddressSpace {
    /// Bytes of one page map entry; a multiple of 4096.
    fn page_size(&self) -> u64;

    /// Sorted by address.
    fn mappings(&self) -> Result<Vec<MappingUsage>, ProcfsError>;

    fn stack_pointers(&self) -> Vec<u64>;

    /// An entry for each page; fewer once the process has ended.
    fn entries(&self, range: Range<u64>) -> Result<Vec<PagemapEntry>, ProcfsError>;

    /// Reads less where a page cannot be read.
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, ProcfsError>;
}

/// The open files stay bound to this memory: a process that executes another program appears to end.
#[derive(Debug)]
pub(crate) struct Live {
    process: Process,
    pagemap: Pagemap,
    memory: ProcessMemory,
}

impl Live {
    pub(crate) fn open(process_id: u32) -> Result<Self, ProcfsError> {
        let process = Process::Id(process_id);
        // Memory needs the stronger right, so its refusal comes first.
        let memory = ProcessMemory::open(process)?;
        Ok(Self { process, pagemap: Pagemap::open(process)?, memory })
    }
}

impl AddressSpace for Live {
    fn page_size(&self) -> u64 {
        self.pagemap.page_size()
    }

    fn mappings(&self) -> Result<Vec<MappingUsage>, ProcfsError> {
        smaps(self.process)
    }

    fn stack_pointers(&self) -> Vec<u64> {
        // Without it only the names of stacks are missing.
        stack_pointers(self.process).unwrap_or_default()
    }

    fn entries(&self, range: Range<u64>) -> Result<Vec<PagemapEntry>, ProcfsError> {
        self.pagemap.read(range)
    }

    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, ProcfsError> {
        self.memory.read_at(address, buffer)
    }
}
