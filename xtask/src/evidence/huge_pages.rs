//! Changes and restores the system's transparent huge pages.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

const FILE: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// `unknown` where the kernel has none.
pub(super) fn setting() -> String {
    fs::read_to_string(FILE)
        .ok()
        .and_then(|text| selected(&text).map(str::to_owned))
        .unwrap_or("unknown".to_owned())
}

/// Dropping it restores the old setting.
#[derive(Debug)]
pub(super) struct HugePages {
    file: PathBuf,
    before: String,
}

impl HugePages {
    pub(super) fn always() -> io::Result<Self> {
        Self::set(Path::new(FILE), "always")
    }

    fn set(file: &Path, value: &str) -> io::Result<Self> {
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
        let text = fs::read_to_string(file).map_err(named)?;
        let before =
            selected(&text).ok_or_else(|| named(io::ErrorKind::InvalidData.into()))?.to_owned();
        fs::write(file, value).map_err(named)?;
        Ok(Self { file: file.to_path_buf(), before })
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        if let Err(error) = fs::write(&self.file, &self.before) {
            eprintln!("cannot restore {} to `{}`: {error}", self.file.display(), self.before);
        }
    }
}

/// The word in brackets, as in `always [madvise] never`.
fn selected(text: &str) -> Option<&str> {
    text.split_once('[')?.1.split_once(']').map(|(word, _)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selected_word_is_in_brackets() {
        assert_eq!(selected("always [madvise] never\n"), Some("madvise"));
        assert_eq!(selected("[always] madvise never\n"), Some("always"));
        assert_eq!(selected("always madvise never"), None);
        assert_eq!(selected("always [madvise"), None);
    }

    #[test]
    fn the_setting_is_restored_even_by_a_panic() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "always [madvise] never\n").unwrap();
        let path = file.path().to_path_buf();
        let outcome = std::panic::catch_unwind(move || {
            let _changed = HugePages::set(&path, "always").unwrap();
            assert_eq!(
                fs::read_to_string(&path).unwrap(),
                "never to be seen",
                "this panics on purpose"
            );
        });
        assert!(outcome.is_err());
        assert_eq!(fs::read_to_string(file.path()).unwrap(), "madvise");
    }

    #[test]
    fn without_a_selection_nothing_is_changed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "off").unwrap();
        let error = HugePages::set(file.path(), "always").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(fs::read_to_string(file.path()).unwrap(), "off");
    }
}
