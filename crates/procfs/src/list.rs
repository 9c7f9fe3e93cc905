//! The numbers of all processes.

use std::{fs, path::Path};

use super::{Process, ProcfsError};

/// The numbers of all processes that `/proc` shows, in order; with `hidepid` only the caller's own.
///
/// # Errors
/// [`ProcfsError::Unsupported`] without `/proc`, [`ProcfsError::Io`].
///
/// # Examples
/// ```
/// # #[cfg(target_os = "linux")] {
/// use pagefold_procfs::processes;
///
/// assert!(processes()?.contains(&std::process::id()));
/// # }
/// # Ok::<(), pagefold_procfs::ProcfsError>(())
/// ```
pub fn processes() -> Result<Vec<u32>, ProcfsError> {
    let root = Path::new("/proc");
    let failed = |error| Process::Current.error(root.to_owned(), error);
    let mut numbers = Vec::new();
    for entry in fs::read_dir(root).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_order_and_holds_what_certainly_lives() {
        let list = processes().unwrap();
        assert!(list.is_sorted() && !list.contains(&0), "{list:?}");
        assert!(list.contains(&std::process::id()), "{list:?}");
        assert!(list.contains(&1), "{list:?}");
    }
}
