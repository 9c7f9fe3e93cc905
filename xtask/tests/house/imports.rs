//! No large circles of files, and no import upward.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use petgraph::{algo::tarjan_scc, graphmap::DiGraphMap};

use crate::{modules::Crate, roots, workspace};

/// The most files that may import each other in a circle: a parent and the children that it is told in.
const CIRCLE_FILES_MAX: usize = 4;

/// The floors of a crate, from the ground up, each a list of files and folders below `src`. A file imports from its own
/// floor and those below. What no floor names is not bound.
const FLOORS: &[(&str, &[&[&str]])] = &[
    (
        "frame",
        &[
            &["units.rs", "source.rs"],
            &["budget.rs", "owner.rs"],
            &["busy.rs", "charged.rs", "state.rs"],
            &["table.rs", "migration_stats.rs"],
            &["word_table.rs", "bits.rs", "cache.rs"],
            &["layout.rs", "deferred.rs"],
            &["buddy.rs", "buddy"],
            &["plan.rs"],
            &["arena.rs", "arena"],
            &["slab.rs", "slab/descriptor.rs", "guard.rs"],
            &["migrate.rs"],
            &["slab/access.rs", "evacuate"],
        ],
    ),
    (
        "pool",
        &[
            &["classes.rs", "classes", "handle.rs", "slices.rs", "stats.rs"],
            &["config.rs", "error.rs"],
            &["contract.rs", "read.rs"],
            &["engine"],
            &["packing"],
            &["builder.rs"],
        ],
    ),
    (
        "store",
        &[
            &["error.rs", "limit.rs", "listener.rs", "page.rs", "word.rs", "counters.rs"],
            &["index"],
            &["eviction.rs", "encoder"],
            &["config.rs"],
            &["stats.rs", "prometheus.rs"],
            &["state"],
            &["shrinker.rs", "space"],
            &["builder.rs", "store.rs"],
            &["cache"],
        ],
    ),
    (
        "testkit",
        &[
            &["alloc_counter.rs", "pattern.rs", "seed.rs", "watchdog.rs"],
            &["corpus.rs", "faulty.rs", "injected_bug.rs", "liar.rs"],
            &["model", "reference"],
            &["conformance", "sequence", "torture", "trace.rs"],
        ],
    ),
    (
        "cli",
        &[
            &["bytes.rs", "exit.rs", "numbers.rs", "printable.rs"],
            &["columns.rs", "console.rs", "interrupt.rs", "progress.rs"],
            &["allocators.rs", "allocators", "estimate.rs", "estimate"],
            &["args.rs", "args", "command.rs"],
            &["completions.rs", "man.rs"],
            &["main.rs"],
        ],
    ),
];

fn name(path: &Path, root: &Path) -> String {
    let folder = root.parent().expect("a root file lies in a folder");
    path.strip_prefix(folder).unwrap_or(path).display().to_string()
}

/// The circles of a graph of imports, each as its files in order.
fn circles(imports: &BTreeMap<PathBuf, BTreeSet<PathBuf>>) -> Vec<Vec<&Path>> {
    let mut graph = DiGraphMap::<&Path, ()>::new();
    for (from, targets) in imports {
        for to in targets {
            graph.add_edge(from, to, ());
        }
    }
    let mut circles = tarjan_scc(&graph);
    circles.retain(|files| files.len() > 1);
    for files in &mut circles {
        files.sort_unstable();
    }
    circles
}

#[test]
fn no_circle_of_files_is_large() {
    let mut complaints = Vec::new();
    for root in roots() {
        let imports = Crate::read(&root).imports();
        for circle in circles(&imports) {
            if circle.len() > CIRCLE_FILES_MAX {
                let mut complaint = format!("{}: {} files", root.display(), circle.len());
                for from in &circle {
                    let into = imports[*from].iter().filter(|to| circle.contains(&to.as_path()));
                    let into: Vec<String> = into.map(|to| name(to, &root)).collect();
                    complaint += &format!("\n  {} imports {}", name(from, &root), into.join(", "));
                }
                complaints.push(complaint);
            }
        }
    }
    assert!(complaints.is_empty(), "circles of imports:\n{}", complaints.join("\n"));
}

#[test]
fn no_file_imports_upward() {
    let mut complaints = Vec::new();
    for (package, floors) in FLOORS {
        let source = workspace().join("crates").join(package).join("src");
        let floor_of = |file: &Path| {
            let file = file.strip_prefix(&source).expect("a file of this crate");
            floors.iter().position(|rooms| rooms.iter().any(|room| file.starts_with(room)))
        };
        for room in floors.iter().copied().flatten() {
            assert!(source.join(room).exists(), "{package} has no {room}: mend the floors");
        }
        let roots = ["lib.rs", "main.rs"].map(|root| source.join(root));
        let root = roots.iter().find(|root| root.exists()).expect("a crate has a root file");
        for (from, targets) in Crate::read(root).imports() {
            for to in targets {
                if let (Some(below), Some(above)) = (floor_of(&from), floor_of(&to))
                    && above > below
                {
                    complaints.push(format!("{} imports {}", from.display(), to.display()));
                }
            }
        }
    }
    assert!(complaints.is_empty(), "imports upward:\n{}", complaints.join("\n"));
}

/// The reader on a small crate: re-exports, `super`, written-out paths, inline modules and tests.
#[test]
fn the_reader_follows_paths_to_the_file_that_defines() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("below the folder")).expect("made");
        std::fs::write(path, text).expect("written");
    };
    write("lib.rs", "mod a; mod b; mod c; pub use b::Bee; pub use a::{self as other, Ant};");
    write("a.rs", "use crate::Bee; pub struct Ant(Bee);");
    write(
        "b.rs",
        "mod deep; pub struct Bee; use deep::Deep; #[cfg(test)] mod tests { use crate::c::Sea; }",
    );
    write("b/deep.rs", "pub struct Deep; fn f() { super::super::c::sea(); std::mem::drop(1); }");
    write("c.rs", "pub fn sea() {} pub struct Sea; mod inside { use super::super::other::Ant; }");
    let imports = Crate::read(&folder.path().join("lib.rs")).imports();
    let at = |name: &str| folder.path().join(name);
    let of = |name: &str| imports[&at(name)].iter().cloned().collect::<Vec<_>>();
    assert_eq!(of("a.rs"), [at("b.rs")]);
    assert_eq!(of("b.rs"), [at("b/deep.rs")]);
    assert_eq!(of("b/deep.rs"), [at("c.rs")]);
    assert_eq!(of("c.rs"), [at("a.rs")]);
    assert_eq!(circles(&imports).concat().len(), 4);
}
