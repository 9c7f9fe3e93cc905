//! `/proc/PID/status`: names, state, and approximate memory.

use super::{Process, ProcfsError, source::kibibytes};

/// A process as `status` describes it. Sizes are in bytes and may be off by a few hundred pages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProcessStatus {
    /// The first thread's name, at most 15 bytes.
    pub name: String,
    /// The process number, also if another thread's was asked for.
    pub process_id: u32,
    /// `R` running, `S` sleeping, `Z` ended and not yet waited for, and so on.
    pub state: char,
    /// A thread of the kernel, without memory of its own.
    pub kernel_thread: bool,
    /// Resident private anonymous memory; `None` for a kernel thread or an ended process.
    pub rss_anon: Option<u64>,
    /// Resident pages of files.
    pub rss_file: u64,
    /// Resident shared memory (`tmpfs`, System V, `MAP_SHARED | MAP_ANONYMOUS`).
    pub rss_shared: u64,
    /// Swapped-out anonymous memory.
    pub swap: u64,
    /// In huge pages of hugetlbfs.
    pub reserved_huge: u64,
}

impl ProcessStatus {
    /// Whether the process only waits to be reaped.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// Describes a process.
///
/// # Errors
/// [`ProcfsError`].
///
/// # Examples
/// ```
/// # #[cfg(target_os = "linux")] {
/// use pagefold_procfs::{Process, status};
///
/// let this = status(Process::Current)?;
/// assert_eq!(this.process_id, std::process::id());
/// assert!(!this.kernel_thread && this.rss_anon.is_some());
/// # }
/// # Ok::<(), pagefold_procfs::ProcfsError>(())
/// ```
pub fn status(process: Process) -> Result<ProcessStatus, ProcfsError> {
    let text = process.text("status")?;
    parse(&text).map_err(|(line, expected)| ProcfsError::Parse {
        file: process.file("status"),
        line,
        expected,
    })
}

/// Resident private anonymous memory in bytes: one small read, off by up to a few hundred pages.
/// [`smaps_rollup`](super::smaps_rollup) is exact.
///
/// # Errors
/// [`ProcfsError`]; [`ProcfsError::Parse`] for a kernel thread.
///
/// # Examples
/// ```
/// # #[cfg(target_os = "linux")] {
/// use pagefold_procfs::{Process, rss_anon};
///
/// assert!(rss_anon(Process::Current)? > 0);
/// # }
/// # Ok::<(), pagefold_procfs::ProcfsError>(())
/// ```
pub fn rss_anon(process: Process) -> Result<u64, ProcfsError> {
    let missing = || ProcfsError::Parse {
        file: process.file("status"),
        line: 0,
        expected: "a line `RssAnon:`",
    };
    status(process)?.rss_anon.ok_or_else(missing)
}

fn parse(text: &str) -> Result<ProcessStatus, (usize, &'static str)> {
    let (mut name, mut process_id, mut state) = (None, None, None);
    let (mut has_memory, mut kernel_thread) = (false, None);
    let mut found = ProcessStatus::default();
    for (index, line) in text.lines().enumerate() {
        let at = |expected| (index + 1, expected);
        let Some((field, value)) = line.split_once(':') else {
            return Err(at("a field `Name: value`"));
        };
        let value = value.trim_start();
        let size = || kibibytes(value).ok_or(at("a number of kB"));
        match field {
            "Name" => name = Some(value.to_owned()),
            "Tgid" => {
                process_id = Some(value.parse().map_err(|_| at("the number of a process"))?);
            }
            "State" => state = Some(value.chars().next().ok_or(at("the letter of a state"))?),
            "Kthread" => kernel_thread = Some(value == "1"),
            "VmSize" => has_memory = true,
            "RssAnon" => found.rss_anon = Some(size()?),
            "RssFile" => found.rss_file = size()?,
            "RssShmem" => found.rss_shared = size()?,
            "VmSwap" => found.swap = size()?,
            "HugetlbPages" => found.reserved_huge = size()?,
            _ => {}
        }
    }
    found.name = name.ok_or((0, "a line `Name:`"))?;
    found.process_id = process_id.ok_or((0, "a line `Tgid:`"))?;
    found.state = state.ok_or((0, "a line `State:`"))?;
    // On older kernels without this field, a live process without memory is a kernel thread.
    found.kernel_thread = kernel_thread.unwrap_or(!has_memory && !found.has_ended());
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLEEPING: &str = "Name:\tredis-server\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t4321\nPid:\t4322\n\
        Groups:\t \nKthread:\t0\nVmSize:\t    3060 kB\nVmRSS:\t    1740 kB\nRssAnon:\t     116 kB\n\
        RssFile:\t    1624 kB\nRssShmem:\t       4 kB\nVmSwap:\t      12 kB\nHugetlbPages:\t    2048 kB\n";

    #[test]
    fn the_fields_are_found_among_others() {
        let expected = ProcessStatus {
            name: "redis-server".to_owned(),
            process_id: 4321,
            state: 'S',
            kernel_thread: false,
            rss_anon: Some(116 << 10),
            rss_file: 1624 << 10,
            rss_shared: 4 << 10,
            swap: 12 << 10,
            reserved_huge: 2048 << 10,
        };
        assert_eq!(parse(SLEEPING), Ok(expected));
    }

    #[test]
    fn a_kernel_thread_is_known_by_its_field_or_by_what_it_lacks() {
        let told = "Name:\tkthreadd\nState:\tS (sleeping)\nTgid:\t2\nKthread:\t1\n";
        let untold = "Name:\tkthreadd\nState:\tS (sleeping)\nTgid:\t2\n";
        let ended = "Name:\tsh\nState:\tZ (zombie)\nTgid:\t7\n";
        for (text, kernel_thread, has_ended) in [
            (told, true, false),
            (untold, true, false),
            (ended, false, true),
            (SLEEPING, false, false),
        ] {
            let status = parse(text).unwrap();
            assert_eq!((status.kernel_thread, status.has_ended()), (kernel_thread, has_ended));
            assert_eq!(status.rss_anon.is_some(), !kernel_thread && !has_ended);
        }
    }

    #[test]
    fn hostile_text_is_an_error_with_its_line() {
        assert_eq!(parse(""), Err((0, "a line `Name:`")));
        // A process chooses its name; the kernel escapes line ends.
        let named = parse("Name:\tRssAnon: 1 kB\nState:\tS\nTgid:\t7\nVmSize:\t1 kB\n").unwrap();
        assert_eq!((named.name.as_str(), named.rss_anon), ("RssAnon: 1 kB", None));
        for cut in [
            "RssAnon",
            "RssAnon:",
            "RssAnon:\t",
            "RssAnon:\t11",
            "RssAnon:\t11 k",
            "RssAnon:\t36893488147419103232 kB",
            "Tgid:\t-1",
            "Tgid:\t4294967296",
            "State:\t",
            "VmSwap:\tx kB",
        ] {
            assert_eq!(parse(&format!("Name:\tx\n{cut}")).unwrap_err().0, 2, "{cut:?}");
        }
    }

    #[test]
    fn text_cut_anywhere_never_panics() {
        for cut in 0..SLEEPING.len() {
            let _ = parse(&SLEEPING[..cut]);
        }
    }
}
