//! Reads a process's files under `/proc`.

use std::{
    fmt,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::ProcfsError;

/// The process to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Process {
    /// This process.
    Current,
    /// By number.
    Id(u32),
}

impl Process {
    pub(super) fn file(self, name: &str) -> PathBuf {
        match self {
            Self::Current => Path::new("/proc/self").join(name),
            Self::Id(pid) => Path::new("/proc").join(pid.to_string()).join(name),
        }
    }

    pub(super) fn open(self, name: &str) -> Result<File, ProcfsError> {
        let file = self.file(name);
        File::open(&file).map_err(|error| self.error(file, error))
    }

    /// File names may be any bytes; invalid UTF-8 becomes replacement characters.
    pub(super) fn text(self, name: &str) -> Result<String, ProcfsError> {
        let file = self.file(name);
        let bytes = fs::read(&file).map_err(|error| self.error(file, error))?;
        Ok(String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    pub(super) fn error(self, file: PathBuf, error: io::Error) -> ProcfsError {
        let no_such_process = rustix::io::Errno::SRCH.raw_os_error();
        match error.kind() {
            io::ErrorKind::PermissionDenied => ProcfsError::Permission { what: file },
            // A live process has its directory, so the kernel lacks this file.
            io::ErrorKind::NotFound
                if !Path::new("/proc/self").exists() || self.file("").exists() =>
            {
                ProcfsError::Unsupported { file }
            }
            io::ErrorKind::NotFound => ProcfsError::NoSuchProcess { process: self },
            _ if error.raw_os_error() == Some(no_such_process) => {
                ProcfsError::NoSuchProcess { process: self }
            }
            _ => ProcfsError::Io { file, source: error },
        }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => f.write_str("this process"),
            Self::Id(pid) => write!(f, "process {pid}"),
        }
    }
}

#[cfg(unix)]
pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

/// Never called: without `/proc` no file is opened.
#[cfg(not(unix))]
pub(super) fn read_at(_: &File, _: &mut [u8], _: u64) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(super) fn kibibytes(value: &str) -> Option<u64> {
    value.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_does_not_exist_is_named() {
        // Above the maximum of pid_max.
        let error = Process::Id(1 << 30).text("status").unwrap_err();
        assert!(
            matches!(error, ProcfsError::NoSuchProcess { process: Process::Id(1_073_741_824) }),
            "{error}"
        );
        assert!(error.to_string().contains("process 1073741824"), "{error}");
    }

    #[test]
    fn a_file_that_the_kernel_lacks_is_unsupported() {
        let error = Process::Current.text("no-such-file").unwrap_err();
        assert!(matches!(error, ProcfsError::Unsupported { .. }), "{error}");
    }

    #[test]
    fn a_refusal_names_the_file() {
        let denied = io::ErrorKind::PermissionDenied.into();
        let error = Process::Current.error(Process::Current.file("mem"), denied);
        assert!(
            matches!(error, ProcfsError::Permission { .. })
                && error.to_string().contains("/proc/self/mem"),
            "{error}"
        );
    }

    #[test]
    fn kibibytes_are_bytes() {
        assert_eq!(kibibytes("     116 kB"), Some(116 << 10));
        assert_eq!(kibibytes("0 kB"), Some(0));
        for hostile in [
            "",
            "kB",
            "12",
            "12 MB",
            "-1 kB",
            "1.5 kB",
            "18446744073709551615 kB",
            "99999999999999999999 kB",
        ] {
            assert_eq!(kibibytes(hostile), None, "{hostile:?}");
        }
    }
}
