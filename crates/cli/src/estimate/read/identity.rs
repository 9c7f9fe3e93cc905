//! Recognises a file that is met again.
//!
//! On network and stacked file systems different files may share device and inode. So only a file with several names is
//! identified by them, else by its real path.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

#[derive(Debug, Default)]
pub(crate) struct Seen {
    linked: HashSet<(u64, u64)>,
    places: HashSet<PathBuf>,
    /// Only then can a path come twice.
    several_inputs: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) links: u64,
}

impl Seen {
    pub(crate) fn new(inputs: usize) -> Self {
        Self { several_inputs: inputs > 1, ..Self::default() }
    }

    /// `place` is the real path.
    pub(crate) fn is_new(&mut self, file: Identity, place: impl FnOnce() -> PathBuf) -> bool {
        if file.links > 1 {
            self.linked.insert((file.device, file.inode))
        } else {
            !self.several_inputs || self.places.insert(place())
        }
    }
}

pub(crate) fn place_of(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(links: u64) -> Identity {
        Identity { device: 7, inode: 42, links }
    }

    #[test]
    fn two_files_of_one_number_are_two_unless_the_link_count_says_otherwise() {
        let mut seen = Seen::new(2);
        assert!(seen.is_new(file(1), || "/mnt/a".into()));
        assert!(seen.is_new(file(1), || "/mnt/b".into()), "one name each, so they are two");
        assert!(!seen.is_new(file(1), || "/mnt/a".into()), "the same place");
        assert!(seen.is_new(file(2), || "/mnt/c".into()));
        assert!(!seen.is_new(file(2), || "/mnt/d".into()), "another name of it");
    }

    #[test]
    fn a_single_input_needs_no_places() {
        let mut seen = Seen::new(1);
        assert!(seen.is_new(file(1), || unreachable!("nothing overlaps")));
    }
}
