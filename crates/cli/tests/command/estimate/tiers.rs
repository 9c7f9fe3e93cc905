//! `--tiers`: a row as if every page were idle. The dictionary that a store trains for itself.

use std::{collections::BTreeSet, fs::File, os::unix::fs::FileExt as _};

use serde_json::Value;

use crate::common::{
    PAGE, Sleeper, estimate, estimate_json, noise, number, ratio, runs, text, write,
};

/// The row of lz4, and that of lz4 with idle pages in clusters.
fn measure(path: &str, args: &[&str]) -> (Value, Value, Value) {
    let document = estimate_json([&["--tiers", "--codec", "lz4", path], args].concat(), 0);
    let [plain, idle] = runs(&document) else { panic!("two runs: {document}") };
    assert_eq!((&plain["codec"], &idle["codec"]), (&"lz4".into(), &"lz4+idle".into()));
    assert!(plain["clusters"].is_null(), "{plain}");
    assert_eq!((&plain["verified"], &idle["verified"]), (&true.into(), &true.into()));
    for key in ["pages", "same_filled", "original_bytes"] {
        assert_eq!(plain[key], idle[key], "{key}");
    }
    let clusters = &idle["clusters"];
    let wanted =
        ["codec", "pages", "clusters", "not_shorter", "too_long", "object_bytes_max"].into();
    let keys: BTreeSet<&str> =
        clusters.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(keys, wanted);
    assert_eq!(number(clusters, "pages"), 4 * number(clusters, "clusters"));
    (plain.clone(), idle.clone(), document)
}

fn file(bytes: &[u8]) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("input");
    write(&path, bytes);
    let path = path.display().to_string();
    (dir, path)
}

#[test]
fn four_pages_make_a_cluster_and_what_is_left_stays_alone() {
    for (pages, clusters) in [(1, 0), (3, 0), (4, 1), (5, 1), (63, 15), (64, 16), (130, 32)] {
        let (_dir, path) = file(&text(pages * PAGE));
        let (plain, idle, _) = measure(&path, &[]);
        assert_eq!(number(&idle["clusters"], "clusters"), clusters, "{pages} pages");
        assert_eq!(number(&idle, "stored"), pages as u64);
        let (alone, together) = (number(&plain, "payload_bytes"), number(&idle, "payload_bytes"));
        assert_eq!(together < alone, clusters > 0, "{pages} pages: {together} of {alone}");
        assert!(idle["store_us"]["mean"].is_number() && idle["load_us"]["mean"].is_number());
    }
    let (_dir, path) = file(&[]);
    estimate(["--tiers", &path]).fails_without_report(1, &["empty"]);
}

#[test]
fn a_cluster_ends_with_its_leaf_and_a_short_page_joins_none() {
    // Two leaves of 62 pages with a same-filled one between, and a short page at the end.
    let mut bytes = text(128 * PAGE + 100);
    for same_filled in [3, 63, 64, 100] {
        bytes[same_filled * PAGE..(same_filled + 1) * PAGE].fill(7);
    }
    let (_dir, path) = file(&bytes);
    let (_, idle, _) = measure(&path, &[]);
    assert_eq!(number(&idle["clusters"], "clusters"), 15 + 15);
    assert_eq!((number(&idle, "same_filled"), number(&idle, "pages")), (4, 129));
    for threads in ["2", "3", "64"] {
        let (_, several, _) = measure(&path, &["--threads", threads]);
        for key in ["clusters", "payload_bytes", "raw", "stored"] {
            assert_eq!(several[key], idle[key], "{key} with {threads} threads");
        }
    }
}

#[test]
fn pages_that_do_not_shrink_together_stay_alone_and_same_filled_ones_take_nothing() {
    let (_dir, path) = file(&noise(8 * PAGE));
    let (plain, idle, document) = measure(&path, &[]);
    let clusters = &idle["clusters"];
    assert_eq!((number(clusters, "clusters"), number(clusters, "not_shorter")), (0, 2));
    assert_eq!((&idle["raw"], &idle["payload_bytes"]), (&plain["raw"], &plain["payload_bytes"]));
    assert_eq!(document["runs"][1]["raw"], 8);

    let (_dir, path) = file(&[9; 12 * PAGE]);
    let (_, idle, _) = measure(&path, &[]);
    assert_eq!((number(&idle, "same_filled"), number(&idle, "payload_bytes")), (12, 0));
    assert_eq!(number(&idle["clusters"], "not_shorter"), 0, "there is no group");
}

#[test]
fn pages_apart_in_a_sparse_file_are_neighbours_only_in_one_leaf() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("sparse");
    let file = File::create(&path).expect("a file");
    file.set_len(4 << 20).expect("holes take no room");
    // Three pages in each of eight leaves; zeros if the file system has larger blocks.
    for leaf in 0..8_u64 {
        let at = leaf * 64 * PAGE as u64;
        file.write_all_at(&text(3 * PAGE), at).expect("there is room");
    }
    file.sync_all().expect("there is room");
    let (_, idle, _) = measure(&path.display().to_string(), &[]);
    assert_eq!(number(&idle["clusters"], "clusters"), 0, "{idle}");
}

#[test]
fn an_allocator_of_short_objects_keeps_long_clusters_apart_and_says_so() {
    // Halves of noise: a page of 2 KiB, a cluster of 8.
    let mut bytes = text(32 * PAGE);
    for (page, noise) in bytes.chunks_exact_mut(PAGE).zip(noise(32 * PAGE).chunks_exact(PAGE)) {
        page[..PAGE / 2].copy_from_slice(&noise[..PAGE / 2]);
    }
    let (_dir, path) = file(&bytes);
    let (_, idle, _) = measure(&path, &["--allocator", "zbud"]);
    let clusters = &idle["clusters"];
    assert_eq!((number(clusters, "clusters"), number(clusters, "too_long")), (0, 8), "{clusters}");
    assert_eq!(number(clusters, "object_bytes_max"), PAGE as u64);
    let shown = estimate(["--tiers", "--codec", "lz4", "--allocator", "zbud", &path]).stdout;
    let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.contains("the longest object of zbud."), "{shown}");
    let (_, idle, _) = measure(&path, &[]);
    assert_eq!(number(&idle["clusters"], "clusters"), 8, "nbud holds them");
}

#[test]
fn the_row_stands_beside_the_others_and_the_verdict_keeps_it_apart() {
    let (_dir, path) = file(&text(200 * PAGE));
    let shown = estimate(["--tiers", &path]);
    assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""), "{shown:?}");
    let first = shown.stdout.lines().next().expect("a verdict");
    assert!(!first.contains("+idle"), "{first}");
    assert!(shown.stdout.contains("If every page were idle: "), "{}", shown.stdout);
    assert!(shown.stdout.contains("balanced+idle, nbud: as if every page were idle."));
    assert!(shown.stdout.lines().all(|line| line.chars().count() <= 80), "{}", shown.stdout);
    let without = estimate([path.as_str()]).stdout;
    assert!(!without.contains("idle:") && !without.contains("+idle"), "{without}");
}

#[cfg(feature = "html")]
#[test]
fn the_page_has_a_bar_for_idle_pages_and_says_what_it_is() {
    let (dir, path) = file(&text(200 * PAGE));
    let page = dir.path().join("report.html");
    let html = page.display().to_string();
    assert_eq!(estimate(["--tiers", "--html", &html, &path]).code, Some(0));
    let page = std::fs::read_to_string(page).expect("it was written");
    for part in ["balanced+idle · nbud", "as if every page were idle: balanced", "A bar of +idle"]
    {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn the_kernels_row_is_compared_with_that_of_a_store() {
    let (_dir, path) = file(&text(100 * PAGE));
    let document = estimate_json(["--tiers", "--like", "zram", &path], 0);
    let idle = runs(&document).last().expect("runs");
    assert_eq!((&idle["codec"], &idle["allocator"]), (&"balanced+idle".into(), &"nbud".into()));
    assert!(runs(&document)[0]["allocator"] == "zsmalloc", "{document}");
}

#[test]
fn a_lifecycle_leaves_idle_pages_alone() {
    let (_dir, path) = file(&text(64 * PAGE));
    let document = estimate_json(
        ["--tiers", "--codec", "lz4", "--lifecycle", "--allocator", "nbud", &path],
        0,
    );
    let phases = |codec: &str| runs(&document).iter().filter(|run| run["codec"] == codec).count();
    assert_eq!((phases("lz4"), phases("lz4+idle")), (4, 1));
}

#[test]
fn a_sample_keeps_neighbours_together() {
    let (_dir, path) = file(&text(64 * 64 * PAGE));
    let (plain, idle, document) = measure(&path, &["--sample", "0.6"]);
    let pages = number(&plain, "pages");
    assert!(pages.is_multiple_of(64) && (1024..3600).contains(&pages), "{pages}");
    // Every group of four of a whole leaf is a cluster.
    assert_eq!(number(&idle["clusters"], "pages"), pages);
    assert_eq!(document["input"]["sampled"], true);
    for row in [&plain, &idle] {
        let whole = ratio(row, "effective_ratio_whole");
        let interval = &row["effective_ratio_95"];
        assert_eq!(interval.is_null(), pages < 30 * 64, "{pages} pages");
        if !interval.is_null() {
            assert!(ratio(interval, "low") < whole, "{row}");
        }
    }
}

#[test]
fn a_setting_says_which_dictionary_it_has() {
    let note = |document: &Value| document["input"]["dictionaries"][0].clone();
    let (_dir, path) = file(&text(900 * PAGE));
    let small = estimate_json(["--codec", "balanced", &path], 0);
    let built_in = note(&small);
    assert_eq!(
        (&built_in["codec"], &built_in["dictionary"]),
        (&"balanced".into(), &"built_in".into())
    );
    assert!(built_in["bytes"].is_null() && built_in["trial"].is_null(), "{built_in}");
    let why = built_in["why_none"].as_str().expect("a reason");
    assert!(why.contains("1000 compressible pages"), "{why}");
    assert_eq!(runs(&small)[0]["dictionary_bytes"], Value::Null);

    let (_dir, path) = file(&text(2500 * PAGE));
    let large = estimate_json(["--codec", "balanced", "--codec", "zstd:1", &path], 0);
    let tried = note(&large);
    let trial = &tried["trial"];
    assert_eq!((number(&tried, "trained_pages"), number(trial, "pages")), (800, 200), "{tried}");
    let row = &runs(&large)[0];
    assert_eq!(row["verified"], true);
    // How long it took decides as well.
    match tried["dictionary"].as_str() {
        Some("trained") => {
            assert!(ratio(trial, "length") <= 0.98 && ratio(trial, "time") <= 1.05, "{tried}");
            assert_eq!(row["dictionary_bytes"], tried["bytes"]);
            assert!(tried["why_none"].is_null(), "{tried}");
        }
        Some("built_in") => {
            assert!(ratio(trial, "length") > 0.98 || ratio(trial, "time") > 1.05, "{tried}");
            assert_eq!(row["dictionary_bytes"], Value::Null);
        }
        other => panic!("{other:?}: {tried}"),
    }
    let dictionaries = large["input"]["dictionaries"].as_array().expect("an array");
    assert_eq!(dictionaries.len(), 1, "zstd:1 has none: {dictionaries:?}");
    let shown = estimate(["--codec", "balanced", &path]).stdout;
    assert!(shown.contains("balanced: the "), "{shown}");
}

#[test]
fn a_process_and_its_mappings_have_a_result_of_each_row() {
    let sleep = std::process::Command::new("sleep").arg("600").spawn();
    let sleeper = Sleeper(sleep.expect("every system has it"));
    let process_id = sleeper.0.id().to_string();
    let args = ["--tiers", "--codec", "lz4", "--maps", "--pid", &process_id];
    let document = estimate_json(args, 0);
    let process = &document["input"]["processes"][0];
    let codecs = |part: &Value| {
        let results = part["results"].as_array().expect("an array");
        results.iter().map(|result| result["codec"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(codecs(process), ["lz4", "lz4+idle"]);
    let maps = process["maps"].as_array().expect("an array");
    assert!(maps.iter().all(|map| codecs(map) == ["lz4", "lz4+idle"]), "{process}");
    // Clusters may lie in several mappings: their shares add up all the same.
    for row in 0..2 {
        let sum = |key: &str| maps.iter().map(|map| number(&map["results"][row], key)).sum::<u64>();
        for key in ["pages", "stored", "payload_bytes", "original_bytes"] {
            assert_eq!(sum(key), number(&process["results"][row], key), "{key} of row {row}");
            assert_eq!(sum(key), number(&runs(&document)[row], key), "{key} of row {row}");
        }
        let memory = sum("memory_bytes").abs_diff(number(&process["results"][row], "memory_bytes"));
        assert!(memory <= maps.len() as u64, "each is rounded: {memory}");
    }
    let shown = estimate(["--tiers", "--codec", "lz4", "--maps", "--pid", &process_id]).stdout;
    assert!(shown.contains("lz4 +idle"), "{shown}");
}
