//! A cgroup that holds the memory of another process to a limit, where the system lets one be made (cgroup v1 or v2).

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
};

/// The memory controller of cgroup v1 and where its limit is set, then those of v2.
const FORMS: [(&str, &str, &str); 2] = [
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.max_usage_in_bytes"),
    ("/sys/fs/cgroup", "memory.max", "memory.peak"),
];

/// Removed when dropped; its processes must have ended.
#[derive(Debug)]
pub struct MemoryCgroup {
    directory: PathBuf,
    peak: &'static str,
}

impl MemoryCgroup {
    /// Makes one whose processes may have `limit` bytes in memory.
    ///
    /// # Errors
    /// The system's, for the last form tried.
    pub fn new(name: &str, limit: u64) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for (root, file, peak) in FORMS {
            let directory = Path::new(root).join(format!("{name}-{}", process::id()));
            match fs::create_dir(&directory) {
                Ok(()) => {}
                Err(error) => {
                    last = error;
                    continue;
                }
            }
            let cgroup = Self { directory, peak };
            // The file exists only where the controller is.
            match fs::OpenOptions::new().write(true).open(cgroup.directory.join(file)) {
                Ok(mut opened) => {
                    io::Write::write_all(&mut opened, limit.to_string().as_bytes())?;
                    return Ok(cgroup);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Moves a process into it. What the process has in memory already is not counted.
    ///
    /// # Errors
    /// The system's.
    pub fn add(&self, process: u32) -> io::Result<()> {
        fs::write(self.directory.join("cgroup.procs"), process.to_string())
    }

    /// The most bytes that its processes had in memory; `None` where the kernel does not say.
    pub fn peak_bytes(&self) -> Option<u64> {
        fs::read_to_string(self.directory.join(self.peak)).ok()?.trim().parse().ok()
    }
}

impl Drop for MemoryCgroup {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.directory) {
            eprintln!("{} is still there: {error}", self.directory.display());
        }
    }
}
