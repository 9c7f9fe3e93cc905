//! Resident anonymous memory as `/proc/PID/status` counts it.

use super::{Process, ProcfsError, source::kibibytes};

/// The private anonymous memory of a process that is resident, in bytes.
///
/// One small read, whatever the size of the process. The kernel keeps this counter per processor and adds it up
/// loosely: it may be off by a few hundred pages. Where that matters, take
/// [`smaps_rollup`](super::smaps_rollup), which is exact and walks the page tables.
///
/// # Errors
/// [`ProcfsError`]; a kernel thread has no such field, which is [`ProcfsError::Parse`].
///
/// # Examples
/// ```
/// # #[cfg(target_os = "linux")] {
/// use pagefold_sys::procfs::{Process, rss_anon};
///
/// assert!(rss_anon(Process::Current)? > 0);
/// # }
/// # Ok::<(), pagefold_sys::procfs::ProcfsError>(())
/// ```
pub fn rss_anon(process: Process) -> Result<u64, ProcfsError> {
    let text = process.text("status")?;
    parse(&text).map_err(|(line, expected)| ProcfsError::Parse {
        file: process.file("status"),
        line,
        expected,
    })
}

fn parse(text: &str) -> Result<u64, (usize, &'static str)> {
    for (index, line) in text.lines().enumerate() {
        if let Some(value) = line.strip_prefix("RssAnon:") {
            return kibibytes(value).ok_or((index + 1, "RssAnon as a number of kB"));
        }
    }
    Err((0, "a line `RssAnon:`"))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_field_is_found_among_others() {
        assert_eq!(
            parse("Name:\tx\nVmRSS:\t    1740 kB\nRssAnon:\t     116 kB\nRssFile:\t    1624 kB\n"),
            Ok(116 << 10)
        );
    }

    #[test]
    fn hostile_text_is_an_error_with_its_line() {
        assert_eq!(parse(""), Err((0, "a line `RssAnon:`")));
        // The name of a process is its own choice; the kernel escapes line ends in it.
        assert_eq!(parse("Name:\tRssAnon: 1 kB\nVmRSS:\t1 kB\n").unwrap_err().0, 0);
        for cut in [
            "RssAnon:",
            "RssAnon:\t",
            "RssAnon:\t11",
            "RssAnon:\t11 k",
            "RssAnon:\t36893488147419103232 kB",
        ] {
            assert_eq!(parse(&format!("Name:\tx\n{cut}")).unwrap_err().0, 2, "{cut:?}");
        }
    }
}
