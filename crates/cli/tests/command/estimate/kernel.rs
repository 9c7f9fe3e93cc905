//! `--like` and `--dictionary`: codecs from the kernel's settings, or trained on the input.

use serde_json::Value;

use crate::common::{PAGE, estimate, estimate_json, noise, number, ratio, runs, text, write};

fn codecs(document: &Value) -> Vec<&str> {
    runs(document).iter().map(|run| run["codec"].as_str().expect("a name")).collect()
}

#[test]
fn like_the_kernel_is_its_packing_with_those_of_its_codecs_that_are_built_in() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    write(dir.path().join("data"), &text(64 * PAGE));
    let path = dir.path().display().to_string();
    for kernel in ["zram", "zswap"] {
        let document = estimate_json(["--like", kernel, &path], 0);
        let like = &document["input"]["like"];
        assert_eq!(like["kernel"], kernel, "{like}");
        let algorithms = like["algorithms"].as_array().expect("`algorithms` is an array");
        let built_in: Vec<_> = algorithms.iter().filter_map(|one| one["codec"].as_str()).collect();
        let expected = if built_in.is_empty() { vec!["lz4"] } else { built_in };
        assert_eq!(codecs(&document), expected, "{like}");
        let packing = if like["zpool"] == "zbud" { "zbud" } else { "zsmalloc" };
        assert!(
            runs(&document)
                .iter()
                .all(|run| run["allocator"] == packing && run["verified"] == true)
        );

        let text = estimate(["--like", kernel, &path]);
        assert_eq!(text.code, Some(0), "{text:?}");
        assert!(text.stdout.contains(&format!("Like {kernel}: {packing}")), "{text:?}");
        for one in algorithms.iter().filter(|one| one["codec"].is_null()) {
            let name = one["name"].as_str().expect("a name");
            let line = text.stdout.lines().find(|line| line.starts_with("Not built in"));
            assert!(line.is_some_and(|line| line.contains(name)), "{name}: {text:?}");
        }
    }
    // A named codec is measured in that packing.
    let document = estimate_json(["--like", "zram", "--codec", "zstd", &path], 0);
    assert_eq!(codecs(&document), ["zstd:3"]);
    assert_eq!(runs(&document)[0]["allocator"], "zsmalloc");
    estimate(["--like", "zram", "--allocator", "nbud", &path])
        .fails_without_report(2, &["cannot be used with"]);
    estimate(["--like", "swap", &path]).fails_without_report(2, &["--like", "zram", "zswap"]);
}

/// Words that most pages have, and few pages twice.
fn alike(pages: usize) -> Vec<u8> {
    let mut state = 7_u32;
    let mut word = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        format!("{:08x} ", ((state >> 16) % 900).wrapping_mul(2_654_435_761))
    };
    let words: String = (0..pages * PAGE / 9 + 1).map(|_| word()).collect();
    words.as_bytes()[..pages * PAGE].to_vec()
}

#[test]
fn a_dictionary_is_measured_beside_the_same_codec_without_one() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    write(dir.path().join("data"), &alike(800));
    let path = dir.path().display().to_string();
    let args = ["--dictionary", "--codec", "lz4", "--codec", "zstd:1", &path];
    let document = estimate_json(args, 0);
    assert_eq!(codecs(&document), ["lz4", "zstd:1", "zstd:1+dict"]);
    let [lz4, plain, with] = runs(&document) else { panic!("three runs") };
    assert_eq!(
        (&lz4["dictionary_bytes"], &plain["dictionary_bytes"]),
        (&Value::Null, &Value::Null)
    );
    assert!((256..=64 << 10).contains(&number(with, "dictionary_bytes")), "{with}");
    assert!(number(with, "payload_bytes") < number(plain, "payload_bytes") / 10 * 9, "{with}");
    assert_eq!(with["verified"], true);
    // It is stored once, in the codec's memory, and counts in the pages' memory.
    assert!(number(with, "codec_bytes") >= number(with, "dictionary_bytes"), "{with}");
    let taken = ["frame_bytes", "metadata_bytes", "dictionary_bytes"].map(|key| number(with, key));
    let taken: u64 = taken.iter().sum();
    let expected = number(with, "original_bytes") as f64 / taken as f64;
    assert!((ratio(with, "effective_ratio") - expected).abs() < 1e-9, "{with}");
    let note = &document["input"]["dictionaries"][0];
    assert_eq!((&note["codec"], number(note, "trained_pages")), (&"zstd:1+dict".into(), 200));
    assert_eq!(note["bytes"], with["dictionary_bytes"]);

    let text = estimate(args);
    assert!(text.stdout.contains("zstd:1+dict: a dictionary of "), "{text:?}");
    assert!(text.stdout.contains(" from 200 pages"), "{text:?}");
}

#[test]
fn where_no_dictionary_helps_that_is_said_and_the_rest_is_measured() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    write(dir.path().join("data"), &noise(400 * PAGE));
    let path = dir.path().display().to_string();
    let document = estimate_json(["--dictionary", "--codec", "zstd:1", &path], 0);
    assert_eq!(codecs(&document), ["zstd:1"]);
    let note = &document["input"]["dictionaries"][0];
    assert_eq!(note["bytes"], Value::Null);
    assert!(note["why_none"].as_str().is_some_and(|why| why.contains("shorter")), "{note}");
    let shown = estimate(["--dictionary", "--codec", "zstd:1", &path]);
    assert!(
        shown.stdout.contains("zstd:1+dict: not measured, none makes these pages shorter."),
        "{shown:?}"
    );

    write(dir.path().join("data"), &text(2 * PAGE));
    let document = estimate_json(["--codec", "zstd:1", "--codec", "zstd:1+dict", &path], 0);
    assert_eq!(codecs(&document), ["zstd:1"], "two pages are too few");
    estimate(["--dictionary", "--codec", "lz4", &path])
        .fails_without_report(2, &["--dictionary", "--codec zstd:1"]);
}
