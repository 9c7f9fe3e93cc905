//! The heaps of CPython, Node and a Java virtual machine.

use std::{
    fs, io,
    path::Path,
    process::{Command, Stdio},
};

use super::{error::ClassError, live::LiveProcess};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runtime {
    Python,
    Node,
    Java,
}

impl Runtime {
    /// Returns it with a heap of at least `heap_bytes`.
    pub(super) fn start(self, heap_bytes: u64, seed: u64) -> Result<LiveProcess, ClassError> {
        let description = self.version()?;
        let unplaced = |source| ClassError::Start { program: description.program, source };
        let directory = tempfile::tempdir().map_err(unplaced)?;
        let program = directory.path().join(self.file_name());
        fs::write(&program, self.program_text()).map_err(unplaced)?;
        let mut command = self.command(&program, heap_bytes);
        // The smallest seed type of the programs.
        command
            .arg(heap_bytes.to_string())
            .arg((seed & 0x7fff_ffff).to_string())
            .current_dir(directory.path());
        LiveProcess::start(description.program, command, directory)?.wait_ready()
    }

    pub(super) fn version(self) -> Result<Version, ClassError> {
        let (program, remedy) = match self {
            Self::Python => ("python3", "apt-get install python3"),
            Self::Node => ("node", "apt-get install nodejs"),
            Self::Java => ("java", "apt-get install default-jdk-headless"),
        };
        let output = Command::new(program).arg("--version").stdin(Stdio::null()).output();
        match output {
            Ok(output) if output.status.success() => {
                let text = String::from_utf8_lossy(&output.stdout);
                Ok(Version {
                    program,
                    version: text.lines().next().unwrap_or_default().trim().to_owned(),
                })
            }
            Ok(output) => {
                let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                Err(ClassError::Ended { program, status: output.status, message })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(ClassError::Missing { program, remedy })
            }
            Err(source) => Err(ClassError::Start { program, source }),
        }
    }

    fn file_name(self) -> &'static str {
        match self {
            Self::Python => "heap.py",
            Self::Node => "heap.js",
            Self::Java => "Main.java",
        }
    }

    fn program_text(self) -> &'static str {
        match self {
            Self::Python => include_str!("programs/heap.py"),
            Self::Node => include_str!("programs/heap.js"),
            Self::Java => include_str!("programs/Main.java"),
        }
    }

    fn command(self, program: &Path, heap_bytes: u64) -> Command {
        // Room for garbage; the default limits depend on the machine's memory.
        let limit_mib = (heap_bytes >> 20) * 4 + 512;
        match self {
            Self::Python => {
                let mut command = Command::new("python3");
                command.arg(program);
                command
            }
            Self::Node => {
                let mut command = Command::new("node");
                command.arg(format!("--max-old-space-size={limit_mib}")).arg(program);
                command
            }
            Self::Java => {
                let mut command = Command::new("java");
                command.arg(format!("-Xmx{limit_mib}m")).arg(program);
                command
            }
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) program: &'static str,
    pub(super) version: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_python_heap_is_built() {
        match Runtime::Python.start(24 << 20, 1) {
            Ok(process) => {
                let directory = tempfile::tempdir().unwrap();
                let mut out = super::super::page_file::PageFile::begin(directory.path()).unwrap();
                let snapshot = process.snapshot(512, &mut out).unwrap();
                assert!(snapshot.candidates >= (24 << 20) / 4096 * 9 / 10, "{snapshot:?}");
                assert_eq!(out.counts().pages + snapshot.unreadable, 512);
                assert!(
                    out.counts().zero < 256,
                    "most of a heap in use is no zeros: {:?}",
                    out.counts()
                );
            }
            Err(ClassError::Missing { .. }) => eprintln!("skipped: python3 is not installed"),
            Err(error) => panic!("{error}"),
        }
    }
}
