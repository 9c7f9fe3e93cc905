//! `pagefold estimate` on known content.

use std::collections::BTreeSet;

use crate::common::{
    PAGE, estimate, estimate_json, estimate_stdin, noise, number, ratio, runs, sample_dir, text,
    write,
};
use serde_json::Value;

/// JSON's digits may lose precision.
fn assert_ratio(found: f64, expected: f64) {
    assert!((found / expected - 1.0).abs() < 1e-12, "{found} instead of {expected}");
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

fn set<'a>(keys: &[&'a str]) -> BTreeSet<&'a str> {
    keys.iter().copied().collect()
}

/// The keys of the format, and later ones.
#[test]
fn json_has_exactly_the_documented_keys() {
    let dir = sample_dir();
    std::os::unix::fs::symlink("zeros", dir.path().join("link")).expect("a symbolic link");
    let document = estimate_json([dir.path()], 0);
    assert_eq!(keys(&document), set(&["version", "input", "runs", "base", "interrupted"]));
    assert_eq!(document["version"], 1);
    let input = &document["input"];
    let wanted = [
        "bytes",
        "pages",
        "same_filled",
        "skipped",
        "files",
        "total_bytes",
        "total_pages",
        "hole_bytes",
        "sampled",
        "seed",
        "processes",
        "compressed_swap",
        "like",
        "dictionaries",
    ];
    assert_eq!(keys(input), set(&wanted));
    assert_eq!(keys(&input["skipped"][0]), set(&["what", "why"]));
    let wanted = [
        "codec",
        "allocator",
        "phase",
        "pages",
        "stored",
        "raw",
        "same_filled",
        "payload_bytes",
        "frame_bytes",
        "metadata_bytes",
        "density",
        "effective_ratio",
        "rss_delta_bytes",
        "moved_bytes",
        "store_us",
        "load_us",
        "verified",
        "original_bytes",
        "compression_ratio",
        "idle_frame_bytes",
        "resident_bytes",
        "limit_bytes",
        "codec_bytes",
        "dictionary_bytes",
        "elapsed_ms",
        "limit_reached",
        "interrupted",
        "sizes",
        "effective_ratio_95",
        "effective_ratio_whole",
        "clusters",
    ];
    for run in runs(&document) {
        assert_eq!(keys(run), set(&wanted));
        assert_eq!(keys(&run["sizes"]), set(&["bucket_bytes", "counts"]));
        for times in ["store_us", "load_us"] {
            assert_eq!(keys(&run[times]), set(&["p50", "p99", "mean"]));
        }
    }
}

#[test]
fn zeros_noise_and_text_are_told_apart_and_everything_is_read_back() {
    let dir = sample_dir();
    let document = estimate_json([dir.path()], 0);
    let input = &document["input"];
    assert_eq!(
        (number(input, "pages"), number(input, "same_filled"), number(input, "files")),
        (125, 8, 3)
    );
    assert_eq!(number(input, "bytes"), 124 * PAGE as u64 + 1000);
    assert_eq!((input["sampled"].clone(), number(input, "total_pages")), (Value::Bool(false), 125));

    let codecs: Vec<_> =
        runs(&document).iter().map(|run| run["codec"].as_str().expect("a name")).collect();
    assert_eq!(codecs, ["lz4", "zstd:-1", "zstd:1", "balanced"], "the default codecs, in order");
    for run in runs(&document) {
        assert_eq!(
            (run["allocator"].as_str(), run["phase"].as_str()),
            (Some("nbud"), Some("fill"))
        );
        assert_eq!(
            (run["verified"].clone(), run["limit_reached"].clone()),
            (Value::Bool(true), Value::Bool(false))
        );
        assert_eq!(
            (number(run, "stored"), number(run, "raw"), number(run, "same_filled")),
            (101, 16, 8)
        );
        assert_eq!(
            (number(run, "pages"), number(run, "original_bytes")),
            (125, number(input, "bytes"))
        );
        let (payload, frames) = (number(run, "payload_bytes"), number(run, "frame_bytes"));
        assert!(payload > 16 * PAGE as u64 && payload <= frames, "{run}");
        assert_ratio(ratio(run, "density"), payload as f64 / frames as f64);
        let taken = frames + number(run, "metadata_bytes");
        assert_ratio(ratio(run, "effective_ratio"), number(input, "bytes") as f64 / taken as f64);
        let encoded = number(input, "bytes") - 8 * PAGE as u64;
        assert_ratio(ratio(run, "compression_ratio"), encoded as f64 / payload as f64);
        assert!(run["rss_delta_bytes"].is_i64(), "{run}");
        for times in ["store_us", "load_us"] {
            let (p50, p99) = (ratio(&run[times], "p50"), ratio(&run[times], "p99"));
            assert!(p50 > 0.0 && p50 <= p99 && ratio(&run[times], "mean") > 0.0, "{run}");
        }
    }
}

#[test]
fn text_compresses_to_less_than_half() {
    let dir = sample_dir();
    for run in runs(&estimate_json([dir.path().join("sub")], 0)) {
        assert!(ratio(run, "compression_ratio") > 2.0, "{run}");
        assert_eq!(number(run, "raw"), 0, "{run}");
    }
}

#[test]
fn zeros_alone_take_no_frames() {
    let dir = sample_dir();
    for run in
        runs(&estimate_json(["--lifecycle".as_ref(), dir.path().join("zeros").as_os_str()], 0))
    {
        let (payload, frames) = (number(run, "payload_bytes"), number(run, "frame_bytes"));
        assert_eq!((payload, frames, &run["compression_ratio"]), (0, 0, &Value::Null), "{run}");
        assert!(ratio(run, "effective_ratio") > 0.0 && ratio(run, "density") == 1.0, "{run}");
        assert_eq!(run["verified"], true, "{run}");
    }
}

#[test]
fn codecs_and_allocators_are_repeatable_and_keep_their_order() {
    let dir = sample_dir();
    let mut args =
        vec!["--codec", "zstd:3", "--codec=raw", "--allocator", "nbud", "--allocator=nbud"];
    let path = dir.path().display().to_string();
    args.push(&path);
    let document = estimate_json(args, 0);
    let codecs: Vec<_> =
        runs(&document).iter().map(|run| run["codec"].as_str().expect("a name")).collect();
    assert_eq!(codecs, ["zstd:3", "zstd:3", "raw", "raw"]);
}

#[test]
fn a_lifecycle_has_a_row_for_each_phase() {
    let dir = sample_dir();
    let path = dir.path().display().to_string();
    let nbud = ["--lifecycle", "--codec", "lz4", "--allocator", "nbud", "--threads", "2", &path];
    let document = estimate_json(nbud, 0);
    let [fill, churn, half_freed, compacted] = runs(&document) else {
        panic!("four rows: {document}")
    };
    for (run, phase) in
        [(fill, "fill"), (churn, "churn"), (half_freed, "half_freed"), (compacted, "compacted")]
    {
        assert_eq!(
            (run["phase"].as_str(), &run["verified"]),
            (Some(phase), &Value::Bool(true)),
            "{run}"
        );
        assert!(ratio(&run["load_us"], "p50") > 0.0, "every phase is read back: {run}");
        assert_eq!(
            number(run, "pages"),
            number(run, "stored") + number(run, "raw") + number(run, "same_filled")
        );
        let stores = matches!(phase, "fill" | "churn");
        assert_eq!(run["store_us"]["p50"].is_f64(), stores, "{run}");
    }
    assert_eq!((number(fill, "pages"), number(churn, "pages")), (125, 125));
    // Each of two threads frees half of its share.
    assert_eq!(number(half_freed, "pages"), 125 - 63 / 2 - 62 / 2);
    assert_eq!(number(compacted, "pages"), number(half_freed, "pages"));
    assert!(number(half_freed, "payload_bytes") < number(churn, "payload_bytes"));
    assert_eq!(number(compacted, "payload_bytes"), number(half_freed, "payload_bytes"));
    assert!(number(compacted, "frame_bytes") <= number(half_freed, "frame_bytes"));
}

/// Every allocator stores the same pages, and reports resident memory after compaction.
#[test]
fn a_lifecycle_compares_what_stays_resident_with_each_allocator() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    write(dir.path().join("data"), &[text(600 * PAGE), noise(200 * PAGE)].concat());
    let path = dir.path().display().to_string();
    let args = ["--lifecycle", "--codec", "lz4", &path];
    let document = estimate_json(args, 0);
    let of = |phase: &str| -> Vec<&Value> {
        runs(&document).iter().filter(|run| run["phase"] == phase).collect()
    };
    let (fills, compacted) = (of("fill"), of("compacted"));
    let names: Vec<_> = fills.iter().map(|run| run["allocator"].as_str().expect("text")).collect();
    let known: Vec<_> = pagefold_pool::Allocator::ALL.iter().map(|known| known.name()).collect();
    assert_eq!(names, known, "each allocator, in order");
    for (fill, compacted) in fills.iter().zip(&compacted) {
        assert_eq!(fill["payload_bytes"], fills[0]["payload_bytes"], "the same pages: {fill}");
        assert_eq!(fill["raw"], 200, "a page that does not compress fits: {fill}");
        let parts = ["frame_bytes", "idle_frame_bytes", "metadata_bytes"];
        for run in [fill, compacted] {
            let sum: u64 = parts.iter().map(|part| number(run, part)).sum();
            assert_eq!(number(run, "resident_bytes"), sum, "{run}");
            assert_eq!(run["verified"], true, "{run}");
        }
        let (before, after) = (number(fill, "resident_bytes"), number(compacted, "resident_bytes"));
        assert!(after < before, "half is gone, and {before} bytes became {after}: {compacted}");
        assert_eq!(number(compacted, "idle_frame_bytes"), 0, "it was trimmed: {compacted}");
    }

    let shown = estimate(args).stdout;
    let (_, table) = shown.split_once("Resident after compaction:\n").expect("a table of its own");
    for name in known {
        let line = table.lines().find(|line| line.contains(name));
        assert!(line.is_some_and(|line| line.contains("KiB") || line.contains("MiB")), "{shown}");
    }
}

#[test]
fn any_number_of_threads_finds_the_same() {
    let dir = sample_dir();
    let path = dir.path().display().to_string();
    let found = |threads: &str| {
        let document = estimate_json(["--codec", "zstd:1", "--threads", threads, &path], 0);
        let run = &runs(&document)[0];
        (number(run, "pages"), number(run, "payload_bytes"), number(run, "raw"))
    };
    assert_eq!(found("1"), found("3"));
    assert_eq!(found("1"), found("1000"), "more threads than pages");
}

#[test]
fn a_sample_is_the_same_for_the_same_seed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    write(dir.path().join("text"), &text(500 * PAGE));
    let path = dir.path().display().to_string();
    let sampled = |seed: &str| {
        let document =
            estimate_json(["--codec", "lz4", "--sample", "0.2", "--seed", seed, &path], 0);
        let input = &document["input"];
        assert_eq!(
            (number(input, "total_pages"), number(input, "total_bytes")),
            (500, 500 * PAGE as u64)
        );
        assert_eq!(
            (input["sampled"].as_bool(), number(input, "seed").to_string()),
            (Some(true), seed.to_owned())
        );
        let pages = number(input, "pages");
        assert!((50..150).contains(&pages), "{pages} of 500");
        assert_eq!(number(input, "bytes"), pages * PAGE as u64);
        (pages, number(&runs(&document)[0], "payload_bytes"))
    };
    assert_eq!(sampled("3"), sampled("3"));
    assert_ne!(sampled("3"), sampled("4"));
}

#[test]
fn standard_input_is_measured_like_a_file() {
    let bytes = text(20 * PAGE + 17);
    let outcome = estimate_stdin(&["--json", "--codec", "zstd:1", "-"], &bytes);
    let piped = outcome.json(0);
    assert_eq!(
        (number(&piped["input"], "pages"), number(&piped["input"], "bytes")),
        (21, 20 * PAGE as u64 + 17)
    );

    let dir = tempfile::tempdir().expect("a temporary directory");
    write(dir.path().join("text"), &bytes);
    let path = dir.path().display().to_string();
    let filed = estimate_json(["--codec", "zstd:1", &path], 0);
    assert_eq!(runs(&piped)[0]["payload_bytes"], runs(&filed)[0]["payload_bytes"]);

    let both = estimate_stdin(&["--json", "--codec", "zstd:1", &path, "-"], &bytes).json(0);
    assert_eq!((number(&both["input"], "files"), number(&both["input"], "pages")), (2, 42));
}

#[test]
fn a_short_last_page_is_stored_at_its_own_length() {
    let bytes = noise(PAGE + 9);
    let document = estimate_stdin(&["--json", "--codec", "lz4", "-"], &bytes).json(0);
    let run = &runs(&document)[0];
    assert_eq!((number(run, "pages"), number(run, "raw")), (2, 2));
    assert_eq!(number(run, "payload_bytes"), PAGE as u64 + 9);

    let one = estimate_stdin(&["--json", "--codec", "lz4", "-"], b"x").json(0);
    let run = &runs(&one)[0];
    assert_eq!((number(run, "payload_bytes"), run["verified"].as_bool()), (1, Some(true)));
}

#[test]
fn a_limit_stops_the_run_and_what_fits_is_reported() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    write(dir.path().join("noise"), &noise(16 << 20));
    let path = dir.path().display().to_string();
    let args = ["--codec", "lz4", "--allocator", "nbud", "--lifecycle", "--limit", "8MiB", &path];
    let document = estimate_json(args, 0);
    let [run] = runs(&document) else { panic!("no phase follows: {document}") };
    assert_eq!(
        (run["limit_reached"].as_bool(), run["verified"].as_bool()),
        (Some(true), Some(true))
    );
    let (taken, limit) =
        (number(run, "frame_bytes") + number(run, "metadata_bytes"), number(run, "limit_bytes"));
    assert_eq!(limit, 8 << 20);
    assert!(taken + number(run, "idle_frame_bytes") <= limit, "{run}");
    let pages = number(run, "pages");
    assert!(pages > 1024 && pages < 2048, "more than half of the limit is used: {run}");

    let shown = estimate(args);
    assert_eq!(shown.code, Some(0));
    assert!(
        shown.stdout.contains("the limit of 8.0 MiB was reached; it holds"),
        "{}",
        shown.stdout
    );
    assert!(
        !shown.stdout.contains("would fit"),
        "no verdict without the whole input: {}",
        shown.stdout
    );
}
