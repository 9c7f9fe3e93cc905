//! The address ranges of a process, from `/proc/PID/maps`.

use std::{fmt, ops::Range, path::PathBuf};

use super::{Process, ProcfsError};

/// A mapped address range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The first address.
    pub start: u64,
    /// The end, exclusive.
    pub end: u64,
    /// The permitted accesses.
    pub permissions: Permissions,
    /// The range's start in the file, in bytes; 0 without a file.
    pub offset: u64,
    /// The file's device, major and minor; zeros without a file.
    pub device: (u32, u32),
    /// The file's inode; 0 without a file.
    pub inode: u64,
    /// The file, or the kernel's name in brackets (`[heap]`, `[stack]`), as the kernel writes it: `\012` for a line
    /// end, ` (deleted)` after a removed file. `None` for plain anonymous memory.
    pub path: Option<PathBuf>,
}

impl Mapping {
    /// The addresses.
    pub fn range(&self) -> Range<u64> {
        self.start..self.end
    }

    /// The length in bytes; never 0.
    #[expect(clippy::len_without_is_empty, reason = "a mapping has at least one page")]
    pub fn len(&self) -> u64 {
        self.end - self.start
    }
}

/// The permissions of a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permissions {
    /// `r`: readable.
    pub read: bool,
    /// `w`: writable.
    pub write: bool,
    /// `x`: executable.
    pub execute: bool,
    /// `s` instead of `p`: shared.
    pub shared: bool,
}

impl Permissions {
    fn parse(letters: &str) -> Option<Self> {
        let &[read, write, execute, shared] = letters.as_bytes() else { return None };
        let flag = |letter, on| match letter {
            b'-' => Some(false),
            letter if letter == on => Some(true),
            _ => None,
        };
        let shared = match shared {
            b's' => true,
            b'p' => false,
            _ => return None,
        };
        Some(Self {
            read: flag(read, b'r')?,
            write: flag(write, b'w')?,
            execute: flag(execute, b'x')?,
            shared,
        })
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (on, letter, off) in [
            (self.read, 'r', '-'),
            (self.write, 'w', '-'),
            (self.execute, 'x', '-'),
            (self.shared, 's', 'p'),
        ] {
            write!(f, "{}", if on { letter } else { off })?;
        }
        Ok(())
    }
}

/// All mappings of a process, by address.
///
/// # Errors
/// [`ProcfsError`].
///
/// # Examples
/// ```
/// # #[cfg(target_os = "linux")] {
/// use pagefold_procfs::{Process, maps};
///
/// let value = 7;
/// let address = (&raw const value).addr() as u64;
/// let mappings = maps(Process::Current)?;
/// assert!(mappings.iter().any(|mapping| mapping.range().contains(&address) && mapping.permissions.write));
/// # }
/// # Ok::<(), pagefold_procfs::ProcfsError>(())
/// ```
pub fn maps(process: Process) -> Result<Vec<Mapping>, ProcfsError> {
    let text = process.text("maps")?;
    let line = |(index, line)| {
        parse_line(line).map_err(|expected| ProcfsError::Parse {
            file: process.file("maps"),
            line: index + 1,
            expected,
        })
    };
    text.lines().enumerate().map(line).collect()
}

/// `start-end perms offset major:minor inode   path`.
pub(super) fn parse_line(line: &str) -> Result<Mapping, &'static str> {
    // Only the path may hold spaces or be missing.
    let mut rest = line;
    let mut field = || {
        let (head, tail) = rest.split_once(' ').unwrap_or((rest, ""));
        rest = tail;
        head
    };
    let (range, permissions, offset, device, inode) = (field(), field(), field(), field(), field());
    let path = rest.trim_start();

    let (start, end) = range.split_once('-').ok_or("an address range START-END")?;
    let (start, end) = (hexadecimal(start)?, hexadecimal(end)?);
    if start >= end {
        return Err("an address range whose end is above its start");
    }
    let (major, minor) = device.split_once(':').ok_or("a device MAJOR:MINOR")?;
    let number = |text| {
        u32::from_str_radix(text, 16).map_err(|_| "a device MAJOR:MINOR of two hexadecimal numbers")
    };
    Ok(Mapping {
        start,
        end,
        permissions: Permissions::parse(permissions)
            .ok_or("four permission letters such as rw-p")?,
        offset: hexadecimal(offset)?,
        device: (number(major)?, number(minor)?),
        inode: inode.parse().map_err(|_| "the inode as a decimal number")?,
        path: (!path.is_empty()).then(|| path.into()),
    })
}

fn hexadecimal(text: &str) -> Result<u64, &'static str> {
    u64::from_str_radix(text, 16).map_err(|_| "a hexadecimal number of at most 64 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_mapping_has_all_its_fields() {
        let line = "560435499000-5604354ad000 r-xp 00003000 fe:00 247749                     /usr/bin/with space";
        let mapping = parse_line(line).unwrap();
        assert_eq!((mapping.start, mapping.end), (0x5604_3549_9000, 0x5604_354a_d000));
        assert_eq!(mapping.len(), 0x14000);
        assert_eq!(mapping.permissions.to_string(), "r-xp");
        assert_eq!((mapping.offset, mapping.device, mapping.inode), (0x3000, (0xfe, 0), 247_749));
        assert_eq!(mapping.path, Some("/usr/bin/with space".into()));
    }

    #[test]
    fn anonymous_and_named_ranges() {
        assert_eq!(parse_line("7f00-8000 ---s 00000000 00:00 0 ").unwrap().path, None);
        assert_eq!(parse_line("7f00-8000 ---s 00000000 00:00 0").unwrap().path, None);
        let vsyscall =
            "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]";
        assert_eq!(parse_line(vsyscall).unwrap().path, Some("[vsyscall]".into()));
    }

    #[test]
    fn every_line_cut_short_is_an_error_or_lacks_only_its_path() {
        let line = "7f00-8000 rw-p 00001000 fe:00 247749 /lib/x";
        let inode_begins = line.find("247749").unwrap();
        for cut in 0..line.len() {
            let outcome = parse_line(&line[..cut]);
            assert_eq!(outcome.is_ok(), cut > inode_begins, "{:?} gave {outcome:?}", &line[..cut]);
        }
    }

    #[test]
    fn hostile_lines_are_errors() {
        for hostile in [
            "7f00 rw-p 0 00:00 0",
            "8000-7f00 rw-p 0 00:00 0",
            "8000-8000 rw-p 0 00:00 0",
            "10000000000000000-10000000000001000 rw-p 0 00:00 0",
            "-8000 rw-p 0 00:00 0",
            "0-1000 rwp 0 00:00 0",
            "0-1000 wr-p 0 00:00 0",
            "0-1000 rw-q 0 00:00 0",
            "0-1000 rw-p zz 00:00 0",
            "0-1000 rw-p 0 0000 0",
            "0-1000 rw-p 0 100000000:00 0",
            "0-1000 rw-p 0 00:00 18446744073709551616",
            "0-1000 rw-p 0 00:00 x",
            "0-1000  rw-p 0 00:00 0",
            "é-1000 rw-p 0 00:00 0",
        ] {
            assert!(parse_line(hostile).is_err(), "{hostile:?}");
        }
    }
}
