//! The histogram of compressed sizes, in the JSON and on the page.

use crate::common::{PAGE, estimate_json, noise, number, runs, text, write};
use serde_json::Value;

fn counts(row: &Value) -> Vec<u64> {
    let counts = row["sizes"]["counts"].as_array().expect("`counts` is an array");
    counts.iter().map(|count| count.as_u64().expect("a number")).collect()
}

#[test]
fn each_compressed_page_of_a_fill_is_counted_once_at_its_length() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    // Eight same-filled pages, five incompressible, and pages of a quarter noise.
    write(dir.path().join("zeros"), &[0; 8 * PAGE]);
    write(dir.path().join("noise"), &noise(5 * PAGE));
    let mut quarters = noise(30 * PAGE);
    for page in quarters.chunks_mut(PAGE) {
        page[PAGE / 4..].fill(0);
    }
    write(dir.path().join("quarters"), &quarters);
    for threads in ["1", "3"] {
        let path = dir.path().display().to_string();
        let args = ["--codec", "lz4", "--allocator", "nbud", "--lifecycle"];
        let document = estimate_json(args.iter().chain(&["--threads", threads, &path]), 0);
        let [fill, others @ ..] = runs(&document) else { panic!("a lifecycle has rows") };
        let counts = counts(fill);
        let width = number(&fill["sizes"], "bucket_bytes");
        assert_eq!(counts.len() as u64 * width, PAGE as u64);
        assert_eq!((number(fill, "same_filled"), number(fill, "raw")), (8, 5));
        assert_eq!(counts.iter().sum::<u64>(), number(fill, "stored"));
        // A kilobyte of noise and a few bytes more: the bucket after the noise.
        let bucket = usize::try_from(PAGE as u64 / 4 / width).expect("a small number");
        assert_eq!(counts[bucket], 30, "{counts:?}");
        assert!(
            others.iter().all(|row| row["sizes"].is_null()),
            "only a fill stores each page once"
        );
    }
}

#[test]
fn a_fill_that_meets_its_limit_counts_what_it_stored() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    write(dir.path().join("data"), &[noise(3000 * PAGE), text(100 * PAGE)].concat());
    let path = dir.path().display().to_string();
    let document = estimate_json(["--codec", "lz4", "--limit", "8MiB", &path], 0);
    let fill = &runs(&document)[0];
    assert_eq!(fill["limit_reached"], true, "{fill}");
    assert_eq!(counts(fill).iter().sum::<u64>(), number(fill, "stored"));
}
