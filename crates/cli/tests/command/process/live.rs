//! Live processes: the figures agree with the kernel and between runs, and the process still works.

use serde_json::Value;

use super::children::{self, Redis, python, python_with_a_heap, rss_anon, wait_until_still};
use crate::common::{estimate, estimate_json, number, ratio, runs};

const PAGE: u64 = 4096;

fn measure(process_id: u32, args: &[&str]) -> Value {
    let process_id = process_id.to_string();
    estimate_json(["--codec", "lz4", "--pid", &process_id].iter().chain(args), 0)
}

fn process(document: &Value) -> &Value {
    let processes = document["input"]["processes"].as_array().expect("`processes` is an array");
    assert_eq!(processes.len(), 1, "{document}");
    &processes[0]
}

fn far(one: f64, other: f64) -> f64 {
    (one / other - 1.0).abs()
}

/// Pages within 2 % of the kernel's, two runs within 1 % of each other.
fn check(process_id: u32) {
    wait_until_still(process_id);
    let before = rss_anon(process_id);
    let first = measure(process_id, &[]);
    let second = measure(process_id, &[]);
    let after = rss_anon(process_id);

    for document in [&first, &second] {
        let found = process(document);
        let bytes = number(found, "bytes");
        assert_eq!(bytes, number(found, "pages") * PAGE);
        // The process may change between the two reads.
        let (least, most) = (before.min(after) as f64 * 0.98, before.max(after) as f64 * 1.02);
        let shared = number(found, "shared_anonymous_bytes");
        let anonymous = (bytes + shared) as f64;
        assert!(
            (least..=most).contains(&anonymous),
            "{bytes} and {shared} shared; RssAnon {before}, then {after}"
        );
        assert!(shared * 50 <= bytes, "other processes share little with it: {found}");
        assert_eq!(found["complete"], true);
        assert_eq!(number(&document["input"], "pages"), number(found, "pages"));
        assert_eq!(number(&document["input"], "files"), 0);
        let [run] = runs(document) else { panic!("one run: {document}") };
        assert_eq!(run["verified"], true);
        assert_eq!(number(run, "pages"), number(found, "pages"));
    }
    let figures = |document: &Value, key| number(process(document), key) as f64;
    let pages = far(figures(&first, "pages"), figures(&second, "pages"));
    let ratios = far(
        ratio(&runs(&first)[0], "effective_ratio"),
        ratio(&runs(&second)[0], "effective_ratio"),
    );
    assert!(pages <= 0.01 && ratios <= 0.01, "two runs differ by {pages} and {ratios}");
}

#[test]
fn python_is_measured_and_goes_on() {
    let mut python = python_with_a_heap();
    let digest = python.ask("digest()");
    assert_eq!(digest.len(), 64, "{digest}");
    check(python.id());
    assert_eq!(python.ask("digest()"), digest, "its content is as it was");
    assert_eq!(python.ask("1 + 1"), "2");
}

#[test]
fn node_is_measured_and_goes_on() {
    let Some(mut node) = children::node() else {
        eprintln!("SKIPPED: there is no node");
        return;
    };
    let digest = node.ask("digest");
    check(node.id());
    assert_eq!(node.ask("digest"), digest, "its content is as it was");
}

#[test]
fn redis_is_measured_and_goes_on() {
    let Some(mut redis) = Redis::start() else {
        eprintln!("SKIPPED: there is no redis-server");
        return;
    };
    check(redis.id());
    assert_eq!(redis.ask("GET before"), "$4\r\nkept");
    assert_eq!(redis.ask("SET after kept"), "+OK");
    assert_eq!(redis.ask("DBSIZE"), ":100002");
}

#[test]
fn what_a_process_shares_is_left_out_and_told() {
    // Parent and child share 32 MiB and have a little of their own.
    let mut parent = python(
        "import os, mmap, random\n\
         random.seed(1)\n\
         common = random.randbytes(32 << 20)\n\
         memory = mmap.mmap(-1, 16 << 20)\n\
         memory.write(common[:16 << 20])\n\
         child = os.fork()\n\
         if child == 0:\n    import signal\n    signal.pause()",
    );
    wait_until_still(parent.id());
    let document = measure(parent.id(), &[]);
    let found = process(&document);
    assert!(number(found, "shared_anonymous_bytes") >= 32 << 20, "{found}");
    assert!(number(found, "shared_memory_bytes") >= 16 << 20, "{found}");
    assert!(number(found, "file_bytes") > 1 << 20, "{found}");
    assert!(number(found, "bytes") < 16 << 20, "{found}");
    parent.ask("os.kill(child, 9)");
    parent.ask("os.waitpid(child, 0)");
    wait_until_still(parent.id());
    let document = measure(parent.id(), &[]);
    assert!(number(process(&document), "bytes") > 32 << 20, "its own again: {document}");
}

/// As `docs/ESTIMATE.md` documents.
#[test]
fn json_has_exactly_the_documented_keys() {
    let python = python("");
    let document = measure(python.id(), &["--maps"]);
    let found = process(&document);
    let keys = |value: &Value| {
        let mut keys: Vec<_> = value.as_object().expect("an object").keys().cloned().collect();
        keys.sort_unstable();
        keys.join(" ")
    };
    assert_eq!(
        keys(found),
        "bytes complete core file_bytes hole_bytes hugetlb_bytes ksm_bytes locked_bytes maps name pages pid \
         proportional read_only_bytes results rss_anon_bytes shared_anonymous_bytes shared_by \
         shared_memory_bytes swap_bytes vanished_pages zero_bytes"
    );
    let proportional = "file_bytes shared_anonymous_bytes shared_memory_bytes";
    assert_eq!(keys(&found["proportional"]), proportional);
    assert_eq!(keys(&found["maps"][0]), "bytes end kind name pages results start");
    let result = "allocator codec effective_ratio effective_ratio_95 memory_bytes original_bytes pages \
                  payload_bytes raw same_filled stored";
    assert_eq!(keys(&found["results"][0]), result);
    assert_eq!(keys(&found["maps"][0]["results"][0]), result);
    let swap = &document["input"]["compressed_swap"];
    assert_eq!(keys(swap), "zram_devices zswap_pool_bytes zswapped_bytes");
}

#[test]
fn a_run_that_reached_its_limit_is_no_sample() {
    let python = python_with_a_heap();
    let document = measure(python.id(), &["--sample", "0.5", "--limit", "8MiB"]);
    let run = &runs(&document)[0];
    assert_eq!(
        (run["limit_reached"].clone(), run["effective_ratio_95"].clone()),
        (true.into(), Value::Null)
    );
    assert_eq!(process(&document)["results"][0]["effective_ratio_95"], Value::Null);
    assert_eq!(number(&process(&document)["results"][0], "pages"), number(run, "pages"));
}

#[test]
fn mappings_add_up_to_the_process_and_are_named() {
    let python = python(
        "import threading, random\n\
         random.seed(1)\n\
         noise = random.randbytes(4 << 20)\n\
         threading.stack_size(1 << 20)\n\
         threading.Thread(target=threading.Event().wait, daemon=True).start()",
    );
    wait_until_still(python.id());
    let document = measure(python.id(), &["--maps"]);
    let found = process(&document);
    let maps = found["maps"].as_array().expect("`maps` is an array");
    let kind = |kind: &str| maps.iter().filter(|map| map["kind"] == kind).collect::<Vec<_>>();
    for expected in ["heap", "stack", "thread_stack", "anonymous", "file"] {
        assert!(!kind(expected).is_empty(), "no {expected}: {found}");
    }
    let sum = |key| maps.iter().map(|map| number(map, key)).sum::<u64>();
    assert_eq!((sum("pages"), sum("bytes")), (number(found, "pages"), number(found, "bytes")));
    let result = |part: &Value, key| number(&part["results"][0], key);
    for key in ["pages", "stored", "raw", "same_filled", "original_bytes", "payload_bytes"] {
        let parts: u64 = maps.iter().map(|map| result(map, key)).sum();
        assert_eq!(parts, result(found, key), "{key}");
    }
    let run = &runs(&document)[0];
    let memory = number(run, "frame_bytes") + number(run, "metadata_bytes");
    assert!(memory.abs_diff(result(found, "memory_bytes")) <= 1, "{document}");
    // The noise lies in a mapping or in the heap, and so do most raw pages.
    let rawest = maps.iter().map(|map| result(map, "raw")).max();
    assert!(rawest >= Some(1000), "{found}");

    let text = estimate(["--codec", "lz4", "--maps", "--pid", &python.id().to_string()]);
    assert_eq!(text.code, Some(0), "{text:?}");
    assert!(text.stdout.contains("Mappings of ") && text.stdout.contains("\nheap "), "{text:?}");
    assert!(text.stdout.contains("pages of 1 process;"), "{text:?}");
    assert!(text.stdout.lines().all(|line| line.chars().count() <= 80), "{}", text.stdout);
}

#[test]
fn a_sample_says_how_sure_it_is() {
    let python = python_with_a_heap();
    wait_until_still(python.id());
    let whole = measure(python.id(), &[]);
    assert_eq!(runs(&whole)[0]["effective_ratio_95"], Value::Null, "all of it was measured");
    let sampled = measure(python.id(), &["--sample", "0.2"]);
    let found = process(&sampled);
    let pages = number(found, "pages");
    assert!(far(pages as f64, number(process(&whole), "pages") as f64) < 0.01, "{found}");
    let kept = number(&sampled["input"], "pages");
    assert!((pages / 6..pages / 4).contains(&kept), "{kept} of {pages}");
    assert_eq!(number(&sampled["input"], "total_pages"), pages);

    for interval in [&runs(&sampled)[0], &found["results"][0]] {
        let (truth, interval) =
            (ratio(&runs(&whole)[0], "effective_ratio"), &interval["effective_ratio_95"]);
        let (low, high) = (ratio(interval, "low"), ratio(interval, "high"));
        assert!(low < high && far(low, high) < 0.2, "{interval}");
        // Addresses, and so the sample, are new in every process: one in twenty misses. Four times as wide misses none.
        let (middle, reach) = ((low + high) / 2.0, (high - low) * 2.0);
        assert!((middle - truth).abs() < reach, "{truth} for {interval}");
    }
    let id = python.id().to_string();
    let text = estimate(["--codec", "lz4", "--sample", "0.2", "--pid", &id]);
    assert!(text.stdout.contains("with 95 % confidence: lz4 "), "{text:?}");
}

#[test]
fn several_processes_have_a_line_each_and_a_sum() {
    let processes = [python_with_a_heap(), python_with_a_heap()];
    let ids = processes.each_ref().map(|process| process.id().to_string());
    let named = ["--pid", &ids[0], "--pid", &ids[1], "--pid", &ids[0]];
    let document = estimate_json(["--codec", "lz4"].iter().chain(&named), 0);
    let found = document["input"]["processes"].as_array().expect("`processes` is an array");
    let numbers: Vec<_> = found.iter().map(|process| number(process, "pid").to_string()).collect();
    assert_eq!(numbers, ids, "each once");
    let pages: u64 = found.iter().map(|process| number(process, "pages")).sum();
    assert_eq!(pages, number(&document["input"], "pages"));
    let text = estimate(["--codec", "lz4"].iter().chain(&named));
    assert!(
        text.stdout.contains(" of 2 processes;") && text.stdout.contains("\ntotal "),
        "{text:?}"
    );
}
