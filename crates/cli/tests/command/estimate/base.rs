//! `--base`: what pages would be as differences from those of a template.

use std::{collections::BTreeSet, fs, path::Path};

use crate::common::{PAGE, estimate, estimate_json, noise, number, text, write};

/// A template of 40 pages, and a clone: pages of zeros, equal, changed, other, and beyond the template.
fn images() -> (tempfile::TempDir, String, String) {
    let template = [noise(20 * PAGE), text(20 * PAGE)].concat();
    let mut clone = template.clone();
    clone[..2 * PAGE].fill(0);
    for page in 10..16 {
        clone[page * PAGE + 100] ^= 0x55;
    }
    clone[19 * PAGE..20 * PAGE].copy_from_slice(&noise(50 * PAGE)[49 * PAGE..]);
    clone.extend(text(3 * PAGE));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (base, input) = (path("golden"), path("clone"));
    write(Path::new(&base), &template);
    write(Path::new(&input), &clone);
    (directory, base, input)
}

#[test]
fn equal_changed_and_other_pages_are_told_apart() {
    let (_directory, base, input) = images();
    let document = estimate_json(["--codec", "lz4", "--base", &base, &input], 0);
    let found = &document["base"];
    let expected = [
        ("pages", 43),
        ("same_filled", 2),
        ("equal", 40 - 2 - 6 - 1),
        ("deltas", 6),
        ("plain", 1 + 3),
        ("not_in_base", 3),
        ("delta_bytes", 6 * 12),
    ];
    for (key, value) in expected {
        assert_eq!(number(found, key), value, "{key} of {found}");
    }
    assert_eq!(found["name"], base.as_str());
    let keys: BTreeSet<&str> =
        found.as_object().expect("an object").keys().map(String::as_str).collect();
    let others = ["name", "codec", "delta_plain_bytes", "plain_bytes", "equal_plain_bytes"];
    let times = ["delta_encode_us", "delta_decode_us", "plain_encode_us", "plain_decode_us"];
    let documented = expected.iter().map(|(key, _)| *key).chain(others).chain(times);
    assert_eq!(keys, documented.collect());
    // Six pages of noise do not shrink without their base.
    assert_eq!(number(found, "delta_plain_bytes"), 6 * PAGE as u64);
    let shown = estimate(["--codec", "lz4", "--base", &base, &input]);
    assert_eq!(shown.code, Some(0));
    assert!(
        shown.stdout.starts_with(&format!("On the base {base}"))
            || shown.stdout.contains("On the base")
    );
    for part in ["on the base", "equal", "deltas", "without it", "us to make"] {
        assert!(shown.stdout.contains(part), "{part}: {shown:?}");
    }
    let without = estimate_json(["--codec", "lz4", &input], 0);
    assert!(without["base"].is_null());
}

#[test]
fn several_clones_and_a_sample() {
    let (_directory, base, input) = images();
    let twice = format!("{input}-2");
    fs::copy(&input, &twice).expect("room");
    let document = estimate_json(["--codec", "lz4", "--base", &base, &input, &twice], 0);
    assert_eq!((number(&document["base"], "pages"), number(&document["base"], "deltas")), (86, 12));
    let sampled =
        estimate_json(["--codec", "lz4", "--base", &base, "--sample", "0.5", &input, &twice], 0);
    let found = &sampled["base"];
    let sum: u64 =
        ["same_filled", "equal", "deltas", "plain"].iter().map(|key| number(found, key)).sum();
    assert_eq!(number(found, "pages"), number(&sampled["input"], "pages"));
    assert_eq!(sum, number(found, "pages"));
    assert!(sum < 86);
}

#[test]
fn a_page_for_a_browser_has_the_table() {
    if cfg!(not(feature = "html")) {
        return;
    }
    let (directory, base, input) = images();
    let page = directory.path().join("report.html").display().to_string();
    let outcome = estimate(["--codec", "lz4", "--base", &base, "--html", &page, &input]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let html = fs::read_to_string(page).expect("written");
    assert!(html.contains("id=\"base\"") && html.contains("without it"), "{html}");
}

#[test]
fn a_base_that_cannot_be_compared_is_refused() {
    let (directory, base, input) = images();
    let empty = directory.path().join("empty").display().to_string();
    write(Path::new(&empty), b"");
    estimate(["--base", &empty, &input]).fails(1, &["the base", &empty, "no page"]);
    estimate(["--base", "/nowhere/at-all", &input]).fails(1, &["the base", "/nowhere/at-all"]);
    estimate(["--base", &base, "--base-pid", "1", &input]).fails(2, &["--base"]);
}
