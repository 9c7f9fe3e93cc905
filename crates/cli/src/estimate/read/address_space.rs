//! A process's memory as seen from outside: a trait, so that a test can script what happens to a process while it is
//! read.

use std::ops::Range;

use pagefold_procfs::{
    MappingUsage, Pagemap, PagemapEntry, Process, ProcessMemory, ProcfsError, smaps, stack_pointers,
};

/// The memory of a process. Every answer is a snapshot and may be outdated already.
pub(crate) trait AddressSpace {
    /// The bytes that one page map entry covers; a multiple of 4096.
    fn page_size(&self) -> u64;

    /// All mappings by address, with the resident part of each.
    fn mappings(&self) -> Result<Vec<MappingUsage>, ProcfsError>;

    /// The threads' stack pointers, as far as they can be seen.
    fn stack_pointers(&self) -> Vec<u64>;

    /// The entry of each page in a range of whole pages; fewer than pages once the process has ended.
    fn entries(&self, range: Range<u64>) -> Result<Vec<PagemapEntry>, ProcfsError>;

    /// Reads from an address on; fewer bytes than asked where a page cannot be read.
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, ProcfsError>;
}

/// A running process. Its files stay bound to the memory that it had when they were opened: a process that executes
/// another program appears to end.
#[derive(Debug)]
pub(crate) struct Live {
    process: Process,
    pagemap: Pagemap,
    memory: ProcessMemory,
}

impl Live {
    /// Opens a process's memory for reading. The process is neither stopped nor traced.
    ///
    /// # Errors
    /// [`ProcfsError`]; [`ProcfsError::Permission`] where the user may not.
    pub(crate) fn open(process_id: u32) -> Result<Self, ProcfsError> {
        let process = Process::Id(process_id);
        // Memory comes first: it needs the stronger right, and its refusal is the one to explain.
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
        // A kernel without the file costs only the names of stacks.
        stack_pointers(self.process).unwrap_or_default()
    }

    fn entries(&self, range: Range<u64>) -> Result<Vec<PagemapEntry>, ProcfsError> {
        self.pagemap.read(range)
    }

    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, ProcfsError> {
        self.memory.read_at(address, buffer)
    }
}
