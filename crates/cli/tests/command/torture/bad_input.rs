//! Every mistake is reported in one line, with code 2, before anything runs.

use std::fs;

use super::{text, torture};

fn refused(args: &[&str], words: &str) {
    let output = torture(args);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
    assert!(output.stdout.is_empty(), "{args:?}: {output:?}");
    let error = text(&output.stderr);
    assert_eq!(error.lines().count(), 1, "{args:?}: {error}");
    assert!(error.contains(words), "{args:?}: {words}: {error}");
}

#[test]
fn every_option_says_what_is_wrong_with_it() {
    for (args, words) in [
        (&["--allocator", "slab"][..], "unknown allocator `slab`; known: nbud"),
        (&["--allocator", "map:Nothing"], "no mutant `Nothing`"),
        (&["--threads", "0"], "1 to 1024"),
        (&["--threads", "-1"], "1 to 1024"),
        (&["--threads", "1025"], "1 to 1024"),
        (&["--seconds", "0"], "0 is not in 1.."),
        (&["--seconds", "-3"], "--seconds"),
        (&["--seconds", "1.5"], "--seconds"),
        (&["--ops", "0"], "0 is not in 1.."),
        (&["--ops", "many"], "--ops"),
        (&["--ops", "5", "--seconds", "5"], "cannot be used with"),
        (&["--seed", "-1"], "is no seed"),
        (&["--seed", "0x10000000000000000"], "is no seed"),
        (&["--limit", "12 frames"], "not a size in bytes"),
        (&["--limit", "-1"], "not a size in bytes"),
        (&["--limit", "1"], "too small"),
        (&["--limit", "120TiB"], "too large"),
        (&["--mix", ""], "NAME=WEIGHT"),
        (&["--mix", "alloc=1,fly=2"], "no operation is called `fly`"),
        (&["--mix", "alloc=0,free=0"], "needs a weight for `alloc`"),
        (&["--mix", "alloc=1,alloc=1"], "two weights"),
        (&["--mix", "alloc=-1"], "no weight"),
        (&["--faults", ""], "is no fault"),
        (&["--faults", "frame=2"], "no probability"),
        (&["--faults", "disk=0.5"], "no fault is called `disk`"),
        (&["--faults", "frame@0"], "the first one is 1"),
        (&["--inject-bug=rust"], "invalid value 'rust'"),
        (&["--record", "x"], "--record needs one allocator"),
        (&["--record", "x", "--allocator", "nbud", "--threads", "2"], "--threads 1"),
        (&["--record", "x", "--allocator", "nbud", "--inject-bug"], "cannot be used with"),
        (&["--record", "/nowhere/x", "--allocator", "nbud"], "/nowhere/x"),
        (&["--replay", "/nowhere/x"], "/nowhere/x"),
        (&["--replay", "x", "--seed", "1"], "cannot be used with"),
        (&["--replay", "x", "--mix", "alloc=1"], "cannot be used with"),
        (&["--replay", "x", "--threads", "1"], "cannot be used with"),
        (&["--bogus"], "--bogus"),
        (&["nbud"], "nbud"),
    ] {
        refused(args, words);
    }
}

#[test]
fn a_hostile_trace_is_refused_by_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let head = "pagefold-trace 1\nseed 1\nlimit 4194304\nsteps\n";
    for (number, (body, words)) in [
        (Vec::new(), "line 1: this is no trace"),
        (b"\xff\xfe\x00".to_vec(), "line 1"),
        (b"\x7fELF".to_vec(), "line 1: this is no trace"),
        (format!("{head}store 0").into_bytes(), "line 5: `store` needs more numbers"),
        (format!("{head}trim\nexplode 1").into_bytes(), "line 6: no step is called `explode`"),
        (format!("{head}store 0 9999999999").into_bytes(), "line 5: `9999999999`"),
        (vec![b'x'; 1 << 20], "line 1: longer than 256 bytes"),
        (b"pagefold-trace 1\nseed 1\nlimit 1\nsteps\n".to_vec(), "too small"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = directory.path().join(format!("{number}.trace"));
        fs::write(&path, body).expect("it can be written");
        refused(&["--replay", path.to_str().expect("a plain name")], words);
    }
    refused(&["--replay", directory.path().to_str().expect("a plain name")], "line 1");
}
