//! Exact memory use of each mapping (`smaps`) and of a process (`smaps_rollup`).

use super::{Mapping, Process, ProcfsError, maps::parse_line, source::kibibytes};

/// The memory of a range or a process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryUsage {
    /// Resident.
    pub rss: u64,
    /// Resident without a file.
    pub anonymous: u64,
    /// The part of `anonymous` in transparent huge pages.
    pub anonymous_huge: u64,
    /// Swapped out.
    pub swap: u64,
    /// The part of `anonymous` that the kernel merged with equal pages.
    pub merged: u64,
    /// In huge pages of hugetlbfs, which are not in `rss` and are never swapped.
    pub reserved_huge: u64,
    /// Resident and locked; a page that `n` processes map counts an `n`th.
    pub locked: u64,
    /// Resident anonymous memory; a page that `n` processes map counts an `n`th. This field and the two below are
    /// `None` for a single mapping, and before Linux 5.9.
    pub proportional_anonymous: Option<u64>,
    /// The same of pages of files.
    pub proportional_file: Option<u64>,
    /// The same of shared memory.
    pub proportional_shared_memory: Option<u64>,
}

/// A mapping and its memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingUsage {
    /// As from [`maps`](super::maps()).
    pub mapping: Mapping,
    /// Its memory.
    pub usage: MemoryUsage,
}

/// The memory of each mapping of a process, by address.
///
/// # Errors
/// [`ProcfsError`].
///
/// # Complexity
/// The kernel walks all page tables: about a millisecond for each 100 MB resident.
pub fn smaps(process: Process) -> Result<Vec<MappingUsage>, ProcfsError> {
    let text = process.text("smaps")?;
    parse(&text).map_err(|(line, expected)| ProcfsError::Parse {
        file: process.file("smaps"),
        line,
        expected,
    })
}

/// The kernel's sum of [`smaps()`].
///
/// # Errors
/// [`ProcfsError`].
///
/// # Examples
/// ```
/// # #[cfg(target_os = "linux")] {
/// use pagefold_procfs::{Process, smaps_rollup};
///
/// let usage = smaps_rollup(Process::Current)?;
/// assert!(usage.anonymous > 0 && usage.rss >= usage.anonymous);
/// # }
/// # Ok::<(), pagefold_procfs::ProcfsError>(())
/// ```
pub fn smaps_rollup(process: Process) -> Result<MemoryUsage, ProcfsError> {
    let text = process.text("smaps_rollup")?;
    let whole = |(line, expected)| ProcfsError::Parse {
        file: process.file("smaps_rollup"),
        line,
        expected,
    };
    match parse(&text).map_err(whole)?.as_slice() {
        [only] => Ok(only.usage),
        _ => Err(whole((0, "exactly one range"))),
    }
}

/// A block is one line as in `maps` and many lines `Name: value`.
fn parse(text: &str) -> Result<Vec<MappingUsage>, (usize, &'static str)> {
    let mut blocks = Vec::new();
    let mut current: Option<Block> = None;
    for (index, line) in text.lines().enumerate() {
        let at = |expected| (index + 1, expected);
        // A header begins with a lower-case address, a field with a capital.
        if line.starts_with(|first: char| first.is_ascii_uppercase()) {
            current
                .as_mut()
                .ok_or(at("a mapping's address range first"))?
                .field(line)
                .map_err(at)?;
        } else {
            let header = Block::new(parse_line(line).map_err(at)?);
            if let Some(block) = current.replace(header) {
                blocks.push(block.finish().map_err(|expected| (index, expected))?);
            }
        }
    }
    if let Some(block) = current {
        blocks.push(block.finish().map_err(|expected| (text.lines().count(), expected))?);
    }
    Ok(blocks)
}

struct Block {
    mapping: Mapping,
    rss: Option<u64>,
    anonymous: Option<u64>,
    anonymous_huge: Option<u64>,
    swap: Option<u64>,
    merged: Option<u64>,
    private_reserved_huge: Option<u64>,
    shared_reserved_huge: Option<u64>,
    locked: Option<u64>,
    proportional_anonymous: Option<u64>,
    proportional_file: Option<u64>,
    proportional_shared_memory: Option<u64>,
}

impl Block {
    fn new(mapping: Mapping) -> Self {
        Self {
            mapping,
            rss: None,
            anonymous: None,
            anonymous_huge: None,
            swap: None,
            merged: None,
            private_reserved_huge: None,
            shared_reserved_huge: None,
            locked: None,
            proportional_anonymous: None,
            proportional_file: None,
            proportional_shared_memory: None,
        }
    }

    fn field(&mut self, line: &str) -> Result<(), &'static str> {
        let (name, value) = line.split_once(':').ok_or("a field `Name: value`")?;
        let place = match name {
            "Rss" => &mut self.rss,
            "Anonymous" => &mut self.anonymous,
            "AnonHugePages" => &mut self.anonymous_huge,
            "Swap" => &mut self.swap,
            "KSM" => &mut self.merged,
            "Private_Hugetlb" => &mut self.private_reserved_huge,
            "Shared_Hugetlb" => &mut self.shared_reserved_huge,
            "Locked" => &mut self.locked,
            "Pss_Anon" => &mut self.proportional_anonymous,
            "Pss_File" => &mut self.proportional_file,
            "Pss_Shmem" => &mut self.proportional_shared_memory,
            _ => return Ok(()),
        };
        *place = Some(kibibytes(value).ok_or("a number of kB")?);
        Ok(())
    }

    fn finish(self) -> Result<MappingUsage, &'static str> {
        let usage = MemoryUsage {
            rss: self.rss.ok_or("a field `Rss` in this range")?,
            anonymous: self.anonymous.ok_or("a field `Anonymous` in this range")?,
            // Kernels without these features leave the fields out.
            anonymous_huge: self.anonymous_huge.unwrap_or(0),
            swap: self.swap.unwrap_or(0),
            merged: self.merged.unwrap_or(0),
            reserved_huge: self
                .private_reserved_huge
                .unwrap_or(0)
                .saturating_add(self.shared_reserved_huge.unwrap_or(0)),
            locked: self.locked.unwrap_or(0),
            proportional_anonymous: self.proportional_anonymous,
            proportional_file: self.proportional_file,
            proportional_shared_memory: self.proportional_shared_memory,
        };
        Ok(MappingUsage { mapping: self.mapping, usage })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "\
560435499000-5604354ad000 r-xp 00003000 fe:00 247749                     /usr/bin/sed
Size:                 80 kB
Rss:                  80 kB
Pss_Dirty:             0 kB
Anonymous:             4 kB
THPeligible:           0
VmFlags: rd ex mr mw me
7f0000000000-7f0000400000 rw-p 00000000 00:00 0
Rss:                4096 kB
Anonymous:          4096 kB
KSM:                   8 kB
AnonHugePages:      2048 kB
Shared_Hugetlb:     2048 kB
Private_Hugetlb:    4096 kB
Swap:                 12 kB
Locked:             1024 kB
VmFlags: rd wr
";

    #[test]
    fn each_range_has_its_own_figures() {
        let blocks = parse(TWO).unwrap();
        assert_eq!(blocks.len(), 2);
        assert_eq!(blocks[0].mapping.path, Some("/usr/bin/sed".into()));
        assert_eq!(
            blocks[0].usage,
            MemoryUsage { rss: 80 << 10, anonymous: 4 << 10, ..MemoryUsage::default() }
        );
        let second = MemoryUsage {
            rss: 4 << 20,
            anonymous: 4 << 20,
            anonymous_huge: 2 << 20,
            swap: 12 << 10,
            merged: 8 << 10,
            reserved_huge: 6 << 20,
            locked: 1 << 20,
            ..MemoryUsage::default()
        };
        assert_eq!(blocks[1].usage, second);
    }

    #[test]
    fn the_rollup_says_what_a_process_has_of_shared_pages() {
        let text = "560435499000-7ffd12345000 ---p 00000000 00:00 0                          [rollup]\n\
            Rss:    900 kB\nPss:   400 kB\nPss_Anon:   300 kB\nPss_File:  90 kB\nPss_Shmem:    10 kB\nAnonymous: 600 kB\n";
        let usage = parse(text).unwrap()[0].usage;
        let parts = [
            usage.proportional_anonymous,
            usage.proportional_file,
            usage.proportional_shared_memory,
        ];
        assert_eq!(parts, [Some(300 << 10), Some(90 << 10), Some(10 << 10)]);
    }

    #[test]
    fn hostile_text_is_an_error_with_its_line() {
        assert_eq!(parse("").unwrap(), []);
        assert_eq!(parse("Rss: 4 kB\n").unwrap_err().0, 1, "a field before any range");
        assert_eq!(
            parse(&TWO.replace("Rss:                  80 kB\n", "")).unwrap_err().0,
            6,
            "a range without Rss"
        );
        assert_eq!(parse(&TWO.replace("4096 kB\nKSM", "4096\nKSM")).unwrap_err().0, 10, "no unit");
        assert_eq!(
            parse(&TWO.replace("12 kB", "99999999999999999999 kB")).unwrap_err().0,
            15,
            "a huge number"
        );
        assert_eq!(
            parse(&TWO.replace("THPeligible:", "THPeligible")).unwrap_err().0,
            6,
            "a field without a colon"
        );
        assert_eq!(parse(&TWO.replace("7f0000000000-", "")).unwrap_err().0, 8, "half a range");
    }

    #[test]
    fn text_cut_anywhere_never_panics() {
        for cut in 0..TWO.len() {
            let _ = parse(&TWO[..cut]);
        }
    }

    #[test]
    fn the_rollup_is_about_the_sum() {
        let sum: u64 =
            smaps(Process::Current).unwrap().iter().map(|range| range.usage.anonymous).sum();
        let rollup = smaps_rollup(Process::Current).unwrap().anonymous;
        // Other tests allocate between the reads.
        assert!(sum > 0 && rollup.abs_diff(sum) < 256 << 20, "sum {sum}, rollup {rollup}");
    }
}
