//! What the library is not built with.

use std::process::Command;

use crate::workspace;

/// The features of a package's build and of all that it depends on, as cargo unites them.
fn features(package: &str) -> String {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "normal,build,features", "--package", package])
        .current_dir(workspace())
        .output()
        .expect("cargo runs");
    let text = String::from_utf8(tree.stdout).expect("cargo writes UTF-8");
    assert!(tree.status.success() && text.contains("pagefold-frame"), "no tree of {package}");
    text
}

#[test]
fn the_library_injects_no_failures() {
    let injects = |package| features(package).contains("fault-injection");
    assert!(!injects("pagefold"), "a dependency of the library enables fault injection");
    assert!(injects("pagefold-cli"), "torture injects failures, so this test can see the feature");
}
