//! The sample bounds the command's own memory, not the process.

use std::process::Command;

use serde_json::Value;

use super::children::{python, wait_until_still};
use crate::common::number;

const MIB: u64 = 1 << 20;

/// As in `docs/ESTIMATE.md`: program, codecs, bookkeeping.
const BASE: u64 = 32 * MIB;
const BYTES_A_PAGE: u64 = 128;

/// A Python parent asks the kernel for its children's peak; returns peak and report.
fn peak(args: &[&str]) -> (u64, Value) {
    let program = "import resource, subprocess, sys\n\
        done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE)\n\
        assert done.returncode == 0, done.returncode\n\
        print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n\
        print(done.stdout.decode())";
    let output = Command::new("python3")
        .args(["-c", program, env!("CARGO_BIN_EXE_pagefold"), "estimate", "--json"])
        .args(args)
        .output()
        .expect("these tests need python3");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("it is text");
    let (kibibytes, document) = text.split_once('\n').expect("two parts");
    let kibibytes: u64 = kibibytes.parse().expect("a number");
    (kibibytes << 10, serde_json::from_str(document).expect("it is JSON"))
}

#[test]
fn a_sample_of_a_large_process_is_read_in_the_memory_of_the_sample() {
    // Half noise, half text.
    let python = python(
        "import random\n\
         random.seed(1)\n\
         data = [random.randbytes(1 << 20) for _ in range(128)]\n\
         text = [bytearray(b'the quick brown fox %d ' % i * 60000)[:1 << 20] for i in range(128)]",
    );
    wait_until_still(python.id());
    let id = python.id().to_string();
    let (peak, document) = peak(&["--sample", "0.125", "--codec", "lz4", "--pid", &id]);
    let process = &document["input"]["processes"][0];
    let sample = number(&document["input"], "bytes");
    assert!(number(process, "bytes") > 250 * MIB, "{process}");
    assert!((24 * MIB..48 * MIB).contains(&sample), "{sample}");
    let run = &document["runs"][0];
    let pool = number(run, "frame_bytes")
        + number(run, "idle_frame_bytes")
        + number(run, "metadata_bytes");
    let bound = sample + pool + sample / 4096 * BYTES_A_PAGE + BASE;
    assert!(
        peak <= bound,
        "{peak} for a sample of {sample} in a pool of {pool}: more than {bound}"
    );
    assert!(peak < 128 * MIB, "less than half of the process: {peak}");
}
