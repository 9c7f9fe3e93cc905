//! What reading keeps and lists, and files that change meanwhile.

use std::io::Cursor;

use super::*;

use crate::estimate::{
    config::{Input, Sampling, Unit, Walk},
    read::spool::Room,
};

fn reader(progress: &Progress) -> Reader<'_> {
    let spool =
        Spool::new(Sampler::new(1, 1.0, Unit::Page), Room::Tighten { bytes: usize::MAX }, 0);
    let sample = Sample {
        spool,
        skipped: Vec::new(),
        total_bytes: 0,
        total_pages: 0,
        hole_bytes: 0,
        files: 0,
        processes: Vec::new(),
        cap: 0,
        bound: None,
    };
    Reader { sample, progress, per_mapping: false }
}

fn config(paths: &[&Path], sampling: Sampling, seed: u64) -> EstimateConfig {
    EstimateConfig {
        inputs: paths.iter().map(|path| Input::Path(path.to_path_buf())).collect(),
        codecs: Vec::new(),
        allocators: Vec::new(),
        limit: None,
        sampling,
        seed,
        threads: std::num::NonZeroUsize::MIN,
        lifecycle: false,
        maps: false,
        shared: false,
        walk: Walk::default(),
        like: None,
        idle: None,
        base: None,
    }
}

/// Gives small pieces, is interrupted in between, and fails at the end.
struct Fails {
    rest: usize,
    calls: usize,
}

impl Read for Fails {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.calls += 1;
        match self.rest {
            _ if self.calls.is_multiple_of(3) => Err(io::ErrorKind::Interrupted.into()),
            0 => Err(io::Error::other("the wire was cut")),
            rest => {
                let got = rest.min(buffer.len()).min(1000);
                buffer[..got].fill(7);
                self.rest -= got;
                Ok(got)
            }
        }
    }
}

#[test]
fn a_stream_is_cut_into_full_pages_and_a_short_last_one() {
    let progress = Progress::hidden();
    let mut reader = reader(&progress);
    reader.sample.spool.add_source("a stream".into()).expect("the first source");
    let bytes: Vec<u8> = (0..10_000_u32).flat_map(u32::to_le_bytes).collect();
    assert!(reader.read_stream(0, Cursor::new(&bytes)).is_ok());
    let spool = &reader.sample.spool;
    assert_eq!((spool.len(), reader.sample.total_bytes), (10, 40_000));
    assert_eq!(spool.page_len(9), 40_000 - 9 * PAGE);
    let read: Vec<u8> = (0..10).flat_map(|index| spool.page(index).to_vec()).collect();
    assert!(read == bytes, "the pages are the stream, in order");
}

#[test]
fn a_stream_that_fails_keeps_what_was_read() {
    let progress = Progress::hidden();
    let mut reader = reader(&progress);
    reader.sample.spool.add_source("a stream".into()).expect("the first source");
    let Err(Ended::InputSource(error)) =
        reader.read_stream(0, Fails { rest: 2 * PAGE + 10, calls: 0 })
    else {
        panic!("the stream fails");
    };
    assert_eq!(error.to_string(), "the wire was cut");
    assert_eq!(reader.sample.spool.len(), 2);
}

#[test]
fn a_file_that_shrank_since_it_was_found_gives_what_is_left() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("a");
    std::fs::write(&path, [5; 100]).expect("a file");
    let progress = Progress::hidden();
    let mut reader = reader(&progress);
    reader.read_source(InputSource::File { path, data_bytes: 1 << 20 }).expect("nothing fatal");
    assert_eq!((reader.sample.spool.len(), reader.sample.total_bytes), (1, 100));
}

#[test]
fn a_file_that_vanished_is_listed_and_the_rest_is_read() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("a");
    std::fs::write(&path, [5; 100]).expect("a file");
    let progress = Progress::hidden();
    let mut reader = reader(&progress);
    for path in [dir.path().join("gone"), path] {
        reader.read_source(InputSource::File { path, data_bytes: 100 }).expect("nothing fatal");
    }
    let sample = reader.sample.check().expect("one file was read");
    assert_eq!((sample.files, sample.skipped.len(), sample.spool.len()), (1, 1, 1));
    assert!(sample.skipped[0].failed && sample.skipped[0].why.contains("No such file"));
}

#[test]
fn the_same_seed_samples_the_same_pages() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let bytes: Vec<u8> =
        (0..400_u32).flat_map(|page_no| page_no.to_le_bytes().repeat(PAGE / 4)).collect();
    std::fs::write(dir.path().join("a"), bytes).expect("a file");
    let sampled = |seed| {
        let config = config(&[dir.path()], Sampling::Fraction(0.2), seed);
        let sample = read(&config, &Progress::hidden()).expect("some of 400 pages");
        assert_eq!((sample.total_pages, sample.total_bytes), (400, 400 * PAGE as u64));
        (0..sample.spool.len()).map(|index| sample.spool.describe(index)).collect::<Vec<_>>()
    };
    assert_eq!(sampled(3), sampled(3));
    assert_ne!(sampled(3), sampled(4));
    assert!((40..130).contains(&sampled(3).len()), "{}", sampled(3).len());
}

#[test]
fn an_input_without_pages_says_why() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("a");
    std::fs::write(&path, []).expect("a file");
    let progress = Progress::hidden();
    let failure = |paths: &[&Path], sampling| {
        read(&config(paths, sampling, 1), &progress).expect_err("there are no pages")
    };
    assert!(matches!(failure(&[dir.path()], Sampling::Auto), EstimateError::EmptyInput));
    assert!(matches!(failure(&[&path], Sampling::Auto), EstimateError::EmptyInput));
    let gone = [Path::new("/nonexistent/one"), Path::new("/nonexistent/two")];
    let text = failure(&gone, Sampling::Auto).to_string();
    assert!(text.contains("/nonexistent/one: No such file") && text.contains("1 more"), "{text}");
    std::fs::write(&path, [1; 3 * PAGE]).expect("a file");
    assert!(matches!(
        failure(&[&path], Sampling::Fraction(1e-12)),
        EstimateError::EmptySample { pages: 3 }
    ));
}
