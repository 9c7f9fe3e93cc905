//! The page's file: checked before the measurement, and written atomically.
//!
//! The page is written to a file beside its path and renamed, so a full disk leaves the old page. The rename replaces
//! the path, so a device, a FIFO, a directory and an input are refused; symbolic links are followed first.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use crate::estimate::{config::Input, html_error::HtmlError};

#[derive(Debug)]
pub(crate) struct Destination {
    shown: PathBuf,
    /// With links followed.
    path: PathBuf,
    directory: PathBuf,
    /// The permissions of the existing page, or of a new file before the umask.
    mode: u32,
}

impl Destination {
    /// Checks that a page can be written to `shown`: makes a file beside it and removes that file.
    pub(crate) fn check(shown: PathBuf, inputs: &[Input]) -> Result<Self, HtmlError> {
        let unwritable = |error| HtmlError::Unwritable { path: shown.clone(), error };
        let there = match fs::metadata(&shown) {
            Ok(there) if !there.is_file() => return Err(HtmlError::NotAFile(shown)),
            Ok(there) => Some(there),
            // A link that leads nowhere exists and has no metadata.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if shown.is_symlink() {
                    return Err(HtmlError::NotAFile(shown));
                }
                None
            }
            Err(error) => return Err(unwritable(error)),
        };
        let path = match &there {
            Some(_) => fs::canonicalize(&shown).map_err(unwritable)?,
            None => shown.clone(),
        };
        if there.is_some() && inputs.iter().any(|input| is_same(input, &path)) {
            return Err(HtmlError::IsAnInput(shown));
        }
        if there.is_some() {
            // The rename would not check that the old page is writable.
            fs::OpenOptions::new().append(true).open(&path).map_err(unwritable)?;
        }
        if path.file_name().is_none() {
            return Err(HtmlError::NotAFile(shown));
        }
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let mode = there.map_or(0o666, |there| there.permissions().mode() & 0o777);
        let destination = Self { shown, path, directory, mode };
        destination
            .temporary()
            .map_err(|error| HtmlError::Unwritable { path: destination.shown.clone(), error })?;
        Ok(destination)
    }

    /// On [`HtmlError::Failed`] the old file is still there.
    pub(crate) fn write(self, page: &str) -> Result<(), HtmlError> {
        let written = self.temporary().and_then(|mut file| {
            file.write_all(page.as_bytes())?;
            // The bytes must be on disk before the name.
            file.as_file().sync_all()?;
            file.persist(&self.path).map_err(|refused| refused.error)?;
            Ok(())
        });
        written.map_err(|error| HtmlError::Failed { path: self.shown, error })
    }

    /// A new file beside the page, removed on drop.
    fn temporary(&self) -> io::Result<tempfile::NamedTempFile> {
        // Opened here: the error then does not name a file unknown to the user.
        let open = |path: &Path| {
            fs::OpenOptions::new().write(true).create_new(true).mode(self.mode).open(path)
        };
        tempfile::Builder::new().prefix(".pagefold-").suffix(".html").make_in(&self.directory, open)
    }
}

fn is_same(input: &Input, path: &Path) -> bool {
    match input {
        Input::Stdin
        | Input::Process(_)
        | Input::ProcessName(_)
        | Input::Cgroup(_)
        | Input::EveryProcess => false,
        Input::Path(input) | Input::List(input) => {
            fs::canonicalize(input).is_ok_and(|input| input == path)
        }
    }
}
