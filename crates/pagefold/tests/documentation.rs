//! The documents and the code name the same things: every invariant that one speaks of is in the other, and every
//! file that orders memory is in the table of orderings.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// What the code writes before the name of an invariant.
const MARK: &str = "I-";

fn root() -> PathBuf {
    // Where it runs, not where it was built: target directories are copied.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where the package is");
    Path::new(&package).join("../..")
}

fn document(name: &str) -> String {
    let path = root().join("docs").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All Rust files of these crates below these folders, by path from the root, with their text.
fn sources(crates: &[&str], folders: &[&str]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open: Vec<PathBuf> = crates
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| format!("crates/{name}/{folder}")))
        .map(PathBuf::from)
        .filter(|folder| root().join(folder).is_dir())
        .collect();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(root().join(&folder)).expect("a folder of the source tree") {
            let entry = entry.expect("a folder of the source tree");
            let path = folder.join(entry.file_name());
            if entry.path().is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(entry.path()).expect("sources are text");
                found.insert(path.to_str().expect("sources have plain names").to_owned(), text);
            }
        }
    }
    found
}

/// The invariants that a text names: the mark at the start of a word, then capitals only.
fn names(text: &str) -> BTreeSet<&str> {
    let starts = text.match_indices(MARK).filter_map(|(at, _)| {
        let before = text[..at].chars().next_back();
        let name = &text[at + MARK.len()..];
        let end = name.find(|letter: char| !letter.is_ascii_uppercase()).unwrap_or(name.len());
        let after = name[end..].chars().next();
        let is_word = !before.is_some_and(|letter| letter.is_alphanumeric() || letter == '-')
            && !after.is_some_and(|letter| letter.is_alphanumeric());
        (end > 1 && is_word).then(|| &name[..end])
    });
    starts.collect()
}

/// The headings of INVARIANTS.md, `### 3. I-NAME: what it is about`, as number and name.
fn headings(text: &str) -> Vec<(usize, &str)> {
    let titles = text.lines().filter_map(|line| line.strip_prefix("### "));
    titles
        .map(|title| {
            let parsed = title.split_once(". ").and_then(|(number, rest)| {
                let name = rest.strip_prefix(MARK)?.split_once(": ")?.0;
                Some((number.parse().ok()?, name))
            });
            parsed.unwrap_or_else(|| panic!("a heading has a number, a name and words: {title}"))
        })
        .collect()
}

#[test]
fn names_are_found_where_they_are_words() {
    let text =
        format!("({MARK}LIMIT) and {MARK}SPAN: CI-RUN, {MARK}O, {MARK}Limit, HI-{MARK}OWNER");
    assert_eq!(names(&text), BTreeSet::from(["LIMIT", "SPAN"]));
}

#[test]
fn code_and_document_name_the_same_invariants() {
    let text = document("INVARIANTS.md");
    let headings = headings(&text);
    let numbers: Vec<usize> = headings.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=headings.len()).collect::<Vec<_>>(), "the numbers have a gap");
    let documented: BTreeSet<&str> = headings.iter().map(|(_, name)| *name).collect();
    assert_eq!(documented.len(), headings.len(), "a name is given twice");

    let sources = sources(
        &["sys", "frame", "pool", "codec", "spill", "store", "testkit", "cli"],
        &["src", "tests"],
    );
    assert!(sources.len() > 30, "the source tree was not found: {:?}", sources.keys());
    for (path, source) in &sources {
        for name in names(source) {
            assert!(
                documented.contains(name),
                "{path} cites {MARK}{name}; docs/INVARIANTS.md lacks it"
            );
        }
    }
    let cited: BTreeSet<&str> = sources.values().flat_map(|source| names(source)).collect();
    for name in &documented {
        assert!(cited.contains(name), "no code cites {MARK}{name}; docs/INVARIANTS.md has it");
    }
    for other in ["ARCHITECTURE.md", "CONCURRENCY.md"] {
        for name in names(&document(other)) {
            assert!(documented.contains(name), "docs/{other} speaks of {MARK}{name}");
        }
    }
}

#[test]
fn every_file_that_orders_memory_is_in_the_table() {
    let text = document("CONCURRENCY.md");
    for (path, source) in sources(&["sys", "frame", "pool", "codec", "spill", "store"], &["src"]) {
        // What `cmp` has of this name is no order of memory.
        let orders = source.replace("cmp::Ordering::", "").contains("Ordering::")
            && !path.ends_with("/tests.rs");
        let short = path.strip_prefix("crates/").expect("sources lie in crates");
        assert!(!orders || text.contains(short), "docs/CONCURRENCY.md does not speak of {path}");
    }
    let is_in_path = |letter: char| letter.is_ascii_alphanumeric() || "/_.".contains(letter);
    let named = text.split(|letter| !is_in_path(letter)).filter(|word| word.contains("/src/"));
    for path in named {
        let exists = ["", "crates"].iter().any(|top| root().join(top).join(path).exists());
        assert!(exists, "docs/CONCURRENCY.md speaks of {path}, which does not exist");
    }
}

/// All documents, by path from the root.
fn documents() -> Vec<PathBuf> {
    let root = root();
    let found: Vec<PathBuf> = ["", "docs", "docs/decisions"]
        .iter()
        .flat_map(|folder| {
            let entries = fs::read_dir(root.join(folder)).expect("a folder of documents");
            entries.map(move |entry| Path::new(folder).join(entry.expect("a file").file_name()))
        })
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    assert!(found.len() > 10, "the documents were not found: {found:?}");
    found
}

#[test]
fn links_between_documents_lead_somewhere() {
    let root = root();
    for path in documents() {
        let text = fs::read_to_string(root.join(&path)).expect("documents are text");
        for (target, _) in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')) {
            let target = target.split('#').next().unwrap_or_default();
            let is_file = !target.is_empty() && !target.contains("://") && !target.contains(' ');
            let file = root.join(&path).with_file_name("").join(target);
            assert!(!is_file || file.exists(), "{}: {target} leads nowhere", path.display());
        }
    }
}

#[test]
fn every_decision_is_in_the_index() {
    let index = document("decisions/README.md");
    let decisions = documents().into_iter().filter(|path| path.starts_with("docs/decisions"));
    for decision in decisions.filter(|path| !path.ends_with("README.md")) {
        let name = decision.file_name().and_then(|name| name.to_str()).expect("a plain name");
        assert!(index.contains(name), "docs/decisions/README.md lacks {name}");
    }
}

/// What a text has between backticks, on one line and outside of blocks of code.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    let blocks = text.split("```").step_by(2);
    blocks.flat_map(str::lines).flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// Reference pages only: records and the changelog speak of what was, too.
fn pages() -> impl Iterator<Item = PathBuf> {
    let is_page =
        |path: &PathBuf| !path.starts_with("docs/decisions") && path != Path::new("CHANGELOG.md");
    documents().into_iter().filter(is_page)
}

#[test]
fn documents_name_files_and_tests_that_exist() {
    let root = root();
    let crates = [
        "sys",
        "procfs",
        "frame",
        "pool",
        "codec",
        "spill",
        "spill-opendal",
        "store",
        "region",
        "pagefold",
        "testkit",
        "cli",
    ];
    let code: String = sources(&crates, &["src", "tests", "benches"]).into_values().collect();
    for page in pages() {
        let text = fs::read_to_string(root.join(&page)).expect("documents are text");
        for name in quoted(&text) {
            let top = name.split_once('/').map_or("", |(top, _)| top);
            let is_path = ["crates", "docs", "benches", "fuzz", "xtask", ".ci"].contains(&top);
            assert!(
                !is_path || name.contains(' ') || root.join(name).exists(),
                "{} names {name}, which does not exist",
                page.display()
            );
            // Names of four words and more are those of tests.
            let is_test = name.matches('_').count() > 2
                && name
                    .chars()
                    .all(|letter| letter.is_ascii_lowercase() || "_0123456789".contains(letter));
            assert!(
                !is_test || code.contains(name),
                "{} names {name}, which no code has",
                page.display()
            );
        }
    }
}
