//! Swap that is compressed memory: zswap and zram, for the whole system.

use std::{fs, path::Path};

use super::{Process, ProcfsError, source::kibibytes};

/// Swap that the kernel compresses in memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CompressedSwap {
    /// The original bytes of pages in zswap; `None` without zswap.
    pub zswapped: Option<u64>,
    /// The compressed bytes of these pages.
    pub zswap_pool: Option<u64>,
    /// The zram devices in `/proc/swaps`.
    pub zram_devices: Vec<String>,
}

/// Reads the system's compressed swap.
///
/// # Errors
/// [`ProcfsError`].
///
/// # Examples
/// ```
/// # #[cfg(target_os = "linux")] {
/// use pagefold_procfs::compressed_swap;
///
/// let swap = compressed_swap()?;
/// assert_eq!(swap.zswapped.is_some(), swap.zswap_pool.is_some());
/// # }
/// # Ok::<(), pagefold_procfs::ProcfsError>(())
/// ```
pub fn compressed_swap() -> Result<CompressedSwap, ProcfsError> {
    let meminfo = Path::new("/proc/meminfo");
    let text = fs::read_to_string(meminfo)
        .map_err(|error| Process::Current.error(meminfo.to_owned(), error))?;
    // A kernel without swap has no such file.
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    parse(&text, &swaps).map_err(|(line, expected)| ProcfsError::Parse {
        file: meminfo.to_owned(),
        line,
        expected,
    })
}

fn parse(meminfo: &str, swaps: &str) -> Result<CompressedSwap, (usize, &'static str)> {
    let mut swap = CompressedSwap::default();
    for (index, line) in meminfo.lines().enumerate() {
        let place = match line.split_once(':') {
            Some(("Zswapped", value)) => (&mut swap.zswapped, value),
            Some(("Zswap", value)) => (&mut swap.zswap_pool, value),
            _ => continue,
        };
        *place.0 = Some(kibibytes(place.1).ok_or((index + 1, "a number of kB"))?);
    }
    let devices = swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    let zram =
        |device: &&str| device.rsplit('/').next().is_some_and(|name| name.starts_with("zram"));
    swap.zram_devices = devices.filter(zram).map(str::to_owned).collect();
    Ok(swap)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SWAPS: &str = "Filename\t\t\tType\t\tSize\t\tUsed\t\tPriority\n\
        /dev/zram0                              partition\t8388604\t\t0\t\t100\n\
        /dev/sda2                               partition\t8388604\t\t0\t\t-2\n";

    #[test]
    fn zswap_and_zram_are_found() {
        let meminfo = "SwapFree: 1 kB\nZswap:     120 kB\nZswapped:  360 kB\nDirty: 0 kB\n";
        let swap = CompressedSwap {
            zswapped: Some(360 << 10),
            zswap_pool: Some(120 << 10),
            zram_devices: vec!["/dev/zram0".to_owned()],
        };
        assert_eq!(parse(meminfo, SWAPS), Ok(swap));
        assert_eq!(parse("SwapFree: 1 kB\n", ""), Ok(CompressedSwap::default()));
    }

    #[test]
    fn a_figure_that_is_none_is_an_error_with_its_line() {
        assert_eq!(parse("Dirty: 0 kB\nZswap: many\n", SWAPS), Err((2, "a number of kB")));
    }
}
