//! The bytes of a process's memory, from `/proc/PID/mem`.

use std::{fs::File, io};

use super::{Process, ProcfsError, source::read_at};

/// A process's memory, opened for reading: the same user's processes (own children if `kernel.yama.ptrace_scope` is 1),
/// or any with `CAP_SYS_PTRACE`.
///
/// # Concurrency
/// One value serves many threads. Reading a non-resident anonymous page makes the kernel provide it; ask
/// [`Pagemap`](super::Pagemap) first.
#[derive(Debug)]
pub struct ProcessMemory {
    process: Process,
    file: File,
}

impl ProcessMemory {
    /// Opens the memory of `process`.
    ///
    /// # Errors
    /// [`ProcfsError`].
    pub fn open(process: Process) -> Result<Self, ProcfsError> {
        Ok(Self { process, file: process.open("mem")? })
    }

    /// Reads from `address` into `buffer` and returns the bytes read: fewer where the mapped range ends.
    ///
    /// # Errors
    /// [`ProcfsError::Io`] if `address` is not mapped or not readable, [`ProcfsError::NoSuchProcess`] if the process
    /// has ended.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use pagefold_procfs::{Process, ProcessMemory};
    ///
    /// let text = *b"cold bytes";
    /// let mut copy = [0; 10];
    /// let memory = ProcessMemory::open(Process::Current)?;
    /// assert_eq!(memory.read_at((&raw const text).addr() as u64, &mut copy)?, 10);
    /// assert_eq!(copy, text);
    /// # }
    /// # Ok::<(), pagefold_procfs::ProcfsError>(())
    /// ```
    pub fn read_at(&self, address: u64, buffer: &mut [u8]) -> Result<usize, ProcfsError> {
        let mut done = 0;
        while done < buffer.len() {
            match read_at(&self.file, &mut buffer[done..], address.saturating_add(done as u64)) {
                // The kernel returns no bytes for a process whose memory is gone.
                Ok(0) if done == 0 => {
                    return Err(ProcfsError::NoSuchProcess { process: self.process });
                }
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) if done > 0 => break,
                Err(error) => return Err(self.process.error(self.process.file("mem"), error)),
            }
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_bytes_that_are_there() {
        let pages: Vec<u8> = (0..20_000u32).map(|index| index.to_le_bytes()[0]).collect();
        let memory = ProcessMemory::open(Process::Current).unwrap();
        let mut copy = vec![0; 12_345];
        let address = pages[777..].as_ptr().addr() as u64;
        assert_eq!(memory.read_at(address, &mut copy).unwrap(), copy.len());
        assert_eq!(copy, pages[777..777 + copy.len()]);
        assert_eq!(memory.read_at(address, &mut []).unwrap(), 0);
    }

    #[test]
    fn an_unmapped_address_is_an_error() {
        let memory = ProcessMemory::open(Process::Current).unwrap();
        for address in [0, 1 << 62, u64::MAX] {
            let error = memory.read_at(address, &mut [0; 16]).unwrap_err();
            assert!(matches!(error, ProcfsError::Io { .. }), "{address:#x}: {error}");
        }
    }
}
