//! Page files: whole pages of 4 KiB, one after another, as `cargo xtask corpus` makes them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::zram::{PAGE_BYTES, Page};

/// The file, or the page files of the folder, by name.
///
/// # Errors
/// When the folder cannot be read.
pub fn page_files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut files: Vec<PathBuf> =
        fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "pages"));
    files.sort();
    Ok(files)
}

/// The first pages of a file, at most so many.
///
/// # Errors
/// When it cannot be read.
pub fn read_pages(file: &Path, most: usize) -> io::Result<Vec<Page>> {
    let bytes = fs::read(file)?;
    let (pages, _) = bytes.as_chunks::<PAGE_BYTES>();
    Ok(pages.iter().take(most).map(|page| Page(*page)).collect())
}
