//! `--exclude PATTERN`: shell patterns for entries to leave out of directories.
//!
//! A pattern without a slash matches a name. One with a slash matches a path, as shown or below the named directory.
//! `*` and `?` match no slash, `**` any.

use std::path::Path;

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

#[derive(Debug, Clone, Default)]
pub(crate) struct Exclude {
    names: GlobSet,
    paths: GlobSet,
}

/// Ignores a trailing slash, which shell completion appends to a directory.
pub(crate) fn pattern(text: &str) -> Result<Glob, String> {
    let trimmed = text.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(text);
    if trimmed.is_empty() {
        return Err("an empty pattern matches nothing".to_owned());
    }
    let built = GlobBuilder::new(trimmed).literal_separator(true).build();
    built.map_err(|error| error.kind().to_string())
}

impl Exclude {
    /// Fails if the patterns are too large together.
    pub(crate) fn new(patterns: Vec<Glob>) -> Result<Self, String> {
        let (paths, names): (Vec<_>, Vec<_>) =
            patterns.into_iter().partition(|pattern| pattern.glob().contains('/'));
        let compile = |patterns: Vec<Glob>| {
            let mut set = GlobSetBuilder::new();
            for pattern in patterns {
                set.add(pattern);
            }
            set.build().map_err(|error| error.to_string())
        };
        Ok(Self { names: compile(names)?, paths: compile(paths)? })
    }

    /// Whether `path`, below the named directory `root`, is left out.
    pub(crate) fn matches(&self, root: &Path, path: &Path) -> bool {
        let below = || path.strip_prefix(root).is_ok_and(|below| self.paths.is_match(below));
        path.file_name().is_some_and(|name| self.names.is_match(Path::new(name)))
            || (!self.paths.is_empty() && (self.paths.is_match(path) || below()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excludes(patterns: &[&str], path: &str) -> bool {
        let patterns = patterns.iter().map(|text| pattern(text).expect("a pattern")).collect();
        Exclude::new(patterns).expect("few").matches(Path::new("/srv/data"), Path::new(path))
    }

    #[test]
    fn names_match_anywhere_and_paths_from_the_root_or_below_it() {
        for (patterns, path, excluded) in [
            (&["*.iso"][..], "/srv/data/a/b.iso", true),
            (&["*.iso"], "/srv/data/b.iso.txt", false),
            (&[".git/"], "/srv/data/x/.git", true),
            (&["cache/*.o"], "/srv/data/cache/a.o", true),
            (&["cache/*.o"], "/srv/data/x/cache/a.o", false),
            (&["**/cache/*.o"], "/srv/data/x/cache/a.o", true),
            (&["cache/*.o"], "/srv/data/cache/deep/a.o", false),
            (&["/srv/data/tmp"], "/srv/data/tmp", true),
            (&["srv"], "/srv/data/x", false),
            (&["a", "b"], "/srv/data/b", true),
            (&["[ab]?"], "/srv/data/bx", true),
            (&[], "/srv/data/x", false),
        ] {
            assert_eq!(excludes(patterns, path), excluded, "{patterns:?} on {path}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for wrong in ["", "[", "{a", "a\\"] {
            assert!(pattern(wrong).is_err(), "{wrong:?}");
        }
    }
}
