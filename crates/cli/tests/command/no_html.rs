//! A build without the page with charts.

use crate::common::estimate;

#[test]
fn the_option_says_that_this_build_has_no_page() {
    let directory = tempfile::tempdir().expect("a directory");
    let page = directory.path().join("page.html");
    let args = ["--html".as_ref(), page.as_os_str(), "/proc/self/exe".as_ref()];
    estimate(args).fails_without_report(2, &["--html", "no HTML report", "feature `html`"]);
    assert!(!page.exists());
}
