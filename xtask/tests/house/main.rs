//! The rules of the house that a compiler does not know: which file may import which, and which words are gone.

mod features;
mod imports;
mod modules;
mod words;

use std::path::{Path, PathBuf};

/// The folder of the workspace.
fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("this package lies in the workspace").to_owned()
}

/// The root files of all crates of the workspace.
fn roots() -> Vec<PathBuf> {
    let crates = workspace().join("crates");
    let folders = std::fs::read_dir(&crates).expect("the crates can be listed");
    let mut roots: Vec<PathBuf> = folders
        .map(|entry| entry.expect("an entry can be read").path())
        .chain([workspace().join("xtask"), workspace().join("benches/peers")])
        .flat_map(|folder| ["src/lib.rs", "src/main.rs"].map(|root| folder.join(root)))
        .filter(|root| root.exists())
        .collect();
    roots.sort();
    roots
}
