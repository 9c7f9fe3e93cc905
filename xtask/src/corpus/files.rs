//! Pages of shared libraries, documentation and source text on the machine.
//!
//! Only whole pages count. Files are ordered by path and sampled evenly: one machine gives one corpus.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use walkdir::WalkDir;

use super::{
    error::ClassError,
    page_file::{PAGE_BYTES, Page, PageFile, even_sample},
};

#[derive(Debug)]
pub(super) struct Source {
    root: PathBuf,
    takes: fn(&Path) -> bool,
}

pub(super) fn libraries() -> Vec<Source> {
    vec![Source { root: "/usr/lib".into(), takes: is_shared_library }]
}

pub(super) fn text() -> Vec<Source> {
    let mut roots: Vec<PathBuf> =
        ["/usr/share/doc", "/usr/share/perl", "/usr/share/perl5"].map(Into::into).into();
    if let Some(sysroot) = answer("rustc", &["--print", "sysroot"]) {
        roots.push(sysroot.join("lib/rustlib/src"));
        roots.push(sysroot.join("share/doc/rust/html"));
    }
    roots.extend(answer(
        "python3",
        &["-c", "import sysconfig; print(sysconfig.get_path('stdlib'))"],
    ));
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home = cargo_home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    roots.extend(cargo_home.map(|home| home.join("registry/src")));
    roots
        .into_iter()
        .filter(|root| root.is_dir())
        .map(|root| Source { root, takes: is_text })
        .collect()
}

fn answer(program: &str, arguments: &[&str]) -> Option<PathBuf> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().into())
}

fn is_shared_library(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".so") || name.contains(".so.")
}

fn is_text(path: &Path) -> bool {
    const EXTENSIONS: &[&str] = &[
        "c", "h", "html", "js", "json", "md", "pl", "pm", "pod", "py", "rs", "rst", "toml", "txt",
    ];
    match path.extension() {
        Some(extension) => EXTENSIONS.iter().any(|known| extension == *known),
        None => path
            .file_name()
            .is_some_and(|name| name == "copyright" || name == "README" || name == "NEWS"),
    }
}

#[derive(Debug)]
pub(super) struct Taken {
    pub(super) candidates: u64,
    /// Chosen pages that could not be read.
    pub(super) unreadable: u64,
    /// For the manifest.
    pub(super) roots: Vec<PathBuf>,
}

pub(super) fn take(
    sources: &[Source],
    wanted: u64,
    out: &mut PageFile,
) -> Result<Taken, ClassError> {
    let lists: Vec<Vec<PagedFile>> = sources.iter().map(list).collect();
    let available: Vec<u64> =
        lists.iter().map(|files| files.iter().map(|file| file.pages).sum()).collect();
    let roots = sources.iter().map(|source| source.root.clone()).collect();
    let mut taken = Taken { candidates: available.iter().sum(), unreadable: 0, roots };
    for ((files, share), total) in
        lists.iter().zip(equal_shares(&available, wanted)).zip(&available)
    {
        taken.unreadable += copy_sample(files, even_sample(*total, share), out)?;
    }
    Ok(taken)
}

/// A file of at least one whole page.
struct PagedFile {
    path: PathBuf,
    pages: u64,
}

/// Ignores symbolic links and whatever cannot be listed.
fn list(source: &Source) -> Vec<PagedFile> {
    let entries = WalkDir::new(&source.root).sort_by_file_name().into_iter().filter_map(Result::ok);
    let files = entries.filter(|entry| entry.file_type().is_file() && (source.takes)(entry.path()));
    let paged = files.filter_map(|entry| {
        let pages = entry.metadata().ok()?.len() / PAGE_BYTES as u64;
        (pages > 0).then(|| PagedFile { path: entry.into_path(), pages })
    });
    paged.collect()
}

/// Equal shares; other sources fill the gap of a short one.
fn equal_shares(available: &[u64], wanted: u64) -> Vec<u64> {
    let mut shares = vec![0; available.len()];
    let mut order: Vec<usize> = (0..available.len()).collect();
    order.sort_by_key(|&source| available[source]);
    let mut rest = wanted;
    for (done, &source) in order.iter().enumerate() {
        let left = (order.len() - done) as u64;
        shares[source] = available[source].min(rest.div_ceil(left));
        rest -= shares[source];
    }
    shares
}

/// Copies the pages at these ascending indices; returns the number of unreadable ones.
fn copy_sample(
    files: &[PagedFile],
    indices: impl Iterator<Item = u64>,
    out: &mut PageFile,
) -> Result<u64, ClassError> {
    let mut files = files.iter();
    let mut current: Option<(&PagedFile, io::Result<File>)> = None;
    // First page of the current file, and its end.
    let (mut first, mut end) = (0, 0);
    let mut unreadable = 0;
    let mut page: Page = [0; PAGE_BYTES];
    for index in indices {
        while index >= end {
            let file =
                files.next().expect("the indices are below the number of pages of all files");
            (first, end) = (end, end + file.pages);
            current = Some((file, Err(io::ErrorKind::NotFound.into())));
            if index < end {
                current = Some((file, File::open(&file.path)));
            }
        }
        let Some((_, Ok(file))) = &mut current else {
            unreadable += 1;
            continue;
        };
        let offset = (index - first) * PAGE_BYTES as u64;
        // A file may have been replaced by a shorter one.
        match file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(&mut page)) {
            Ok(()) => out
                .push(&page)
                .map_err(|source| ClassError::Io { path: "the page file".into(), source })?,
            Err(_) => unreadable += 1,
        }
    }
    Ok(unreadable)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn shares_are_equal_as_far_as_they_go() {
        assert_eq!(equal_shares(&[100, 100, 100], 30), [10, 10, 10]);
        assert_eq!(equal_shares(&[100, 4, 100], 30), [13, 4, 13]);
        assert_eq!(equal_shares(&[5, 0, 7], 30), [5, 0, 7], "there is no more");
        assert!(equal_shares(&[], 30).is_empty());
        assert_eq!(equal_shares(&[10, 10, 10], 10).iter().sum::<u64>(), 10);
    }

    #[test]
    fn names_decide_what_is_a_library_or_text() {
        for yes in ["/l/libc.so", "/l/libc.so.6", "/l/libx.so.1.2.3"] {
            assert!(is_shared_library(Path::new(yes)), "{yes}");
        }
        for no in ["/l/libc.a", "/l/also", "/l.so/x"] {
            assert!(!is_shared_library(Path::new(no)), "{no}");
        }
        assert!(is_text(Path::new("/d/copyright")) && is_text(Path::new("/d/x.rs")));
        assert!(!is_text(Path::new("/d/changelog.gz")) && !is_text(Path::new("/d/program")));
    }

    #[test]
    fn whole_pages_of_all_files_in_order() {
        let directory = tempfile::tempdir().unwrap();
        for (name, length, fill) in
            [("a.txt", 2 * PAGE_BYTES + 5, 1), ("b.txt", 100, 2), ("c.txt", 3 * PAGE_BYTES, 3)]
        {
            fs::write(directory.path().join(name), vec![fill; length]).unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink("c.txt", directory.path().join("d.txt")).unwrap();
        let sources = [Source { root: directory.path().into(), takes: is_text }];
        let pages = |wanted| {
            let out = tempfile::tempdir().unwrap();
            let mut file = PageFile::begin(out.path()).unwrap();
            let taken = take(&sources, wanted, &mut file).unwrap();
            assert_eq!((taken.candidates, taken.unreadable), (5, 0));
            let path = out.path().join("x");
            file.finish(&path).unwrap();
            fs::read(path).unwrap().chunks(PAGE_BYTES).map(|page| page[0]).collect::<Vec<_>>()
        };
        assert_eq!(pages(10), [1, 1, 3, 3, 3]);
        assert_eq!(pages(2), [1, 3]);
    }

    #[test]
    fn a_file_that_went_away_costs_its_pages_only() {
        let directory = tempfile::tempdir().unwrap();
        let kept = directory.path().join("kept");
        fs::write(&kept, vec![1; PAGE_BYTES]).unwrap();
        let files = [
            PagedFile { path: directory.path().join("gone"), pages: 2 },
            PagedFile { path: kept.clone(), pages: 1 },
            PagedFile { path: kept, pages: 2 },
        ];
        let mut out = PageFile::begin(directory.path()).unwrap();
        assert_eq!(
            copy_sample(&files, 0..5, &mut out).unwrap(),
            3,
            "two of the first, one past the end of the last"
        );
        assert_eq!(out.counts().pages, 2);
    }
}
