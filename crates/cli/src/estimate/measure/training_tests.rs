//! Self-training with a codec whose trained form is both shorter and faster, so that no clock decides.

use std::{
    collections::HashSet,
    hint::black_box,
    sync::{Arc, Mutex},
};

use pagefold_codec::CodecError;

use super::*;
use crate::estimate::{
    config::Unit,
    measure::codecs::Codecs,
    read::{sampler::Sampler, spool::Room},
};

/// What the codecs were trained on, in order.
type Lessons = Arc<Mutex<Vec<Vec<Vec<u8>>>>>;

/// Makes pages `len` bytes long. Only the untrained one takes its time.
struct Fake {
    len: usize,
    is_slow: bool,
    trained_len: usize,
    lessons: Lessons,
}

impl Codec for Fake {
    fn name(&self) -> &str {
        "fake"
    }

    fn compress(&self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        // An incompressible page.
        if src[8] == 1 {
            return None;
        }
        if self.is_slow {
            (0..20_000_u64).for_each(|step| _ = black_box(step));
        }
        dst.get_mut(..self.len)?.fill(0);
        Some(self.len)
    }

    fn decompress(&self, _src: &[u8], dst: &mut [u8]) -> Result<usize, CodecError> {
        Ok(dst.len())
    }

    fn trains(&self) -> bool {
        true
    }

    fn train(&self, pages: &[&[u8]]) -> Option<Box<dyn Codec>> {
        let mut lessons = self.lessons.lock().expect("no test panics here");
        lessons.push(pages.iter().map(|page| page.to_vec()).collect());
        let (len, lessons) = (self.trained_len, Arc::clone(&self.lessons));
        Some(Box::new(Fake { len, is_slow: false, trained_len: len, lessons }))
    }

    fn metadata_bytes(&self) -> usize {
        5000
    }
}

fn fake(trained_len: usize) -> Fake {
    Fake { len: 1000, is_slow: true, trained_len, lessons: Lessons::default() }
}

/// One page of eight is incompressible, one is same-filled.
fn spool(pages: u64) -> Spool {
    let room = Room::Tighten { bytes: usize::MAX };
    let mut spool = Spool::new(Sampler::new(1, 1.0, Unit::Page), room, 0);
    spool.add_source("pages".into()).expect("a source");
    for number in 0..pages {
        let mut page = [0; PAGE];
        page[..8].copy_from_slice(&number.to_le_bytes());
        page[8] = u8::from(number % 8 == 1);
        if number % 8 == 2 {
            page.fill(3);
        }
        spool.offer(0, number, &page).expect("there is room");
    }
    spool
}

/// How many pages have the own codec, and which each trained one has.
fn assigned(codec: &Fake, spool: &Spool, trained: &Trained) -> [usize; 3] {
    let codecs = Codecs { trained: Some(trained), ..Codecs::of_one(codec) };
    let lessons = codec.lessons.lock().expect("no test panics here");
    let lessons: Vec<HashSet<&[u8]>> =
        lessons.iter().map(|pages| pages.iter().map(Vec::as_slice).collect()).collect();
    let mut counts = [0; 3];
    for page in 0..spool.len() {
        let number = trained.of_page[page];
        counts[usize::from(number)] += 1;
        if number > 0 {
            let taught = &lessons[usize::from(number) - 1];
            assert!(
                !taught.contains(spool.page(page)),
                "page {page} is measured as it was learned"
            );
        }
        assert_eq!(codecs.of(page).metadata_bytes(), 5000);
    }
    counts
}

#[test]
fn pages_that_were_put_before_keep_the_built_in_dictionary() {
    let (codec, spool) = (fake(900), spool(2400));
    let own = train("balanced".to_owned(), &codec, &spool, 2400, 1);
    assert_eq!((own.note.dictionary, own.note.bytes), (Some(Origin::Trained), Some(5000)));
    let trial = own.note.trial.expect("it was tried");
    assert_eq!((own.note.trained_pages, trial.pages), (800, 200));
    assert!((trial.length - 0.905).abs() < 0.01, "{trial:?}");
    let trained = own.trained.expect("it wins");
    assert_eq!(assigned(&codec, &spool, &trained), [1000, 1400, 0]);
}

#[test]
fn of_a_sample_learned_pages_are_measured_with_a_dictionary_from_others() {
    let (codec, spool) = (fake(900), spool(3200));
    let own = train("dense".to_owned(), &codec, &spool, 32_000, 1);
    let trained = own.trained.expect("it wins");
    assert_eq!(codec.lessons.lock().expect("no test panics here").len(), 2);
    assert_eq!(assigned(&codec, &spool, &trained), [100, 2400, 700]);
}

#[test]
fn what_does_not_win_two_percent_or_has_too_few_pages_is_not_adopted() {
    for (trained_len, pages, whole, why, trained_pages) in [
        // Both count as 1008 bytes, then 992 of 1008: 1.6 percent.
        (1000, 2400, 2400, "does not win", 800),
        (992, 2400, 2400, "does not win", 800),
        (900, 1320, 1320, "from 1000 compressible pages", 0),
        (900, 1200, 12_000, "fewer than 1000 compressible pages", 0),
    ] {
        let (codec, spool) = (fake(trained_len), spool(pages));
        let own = train("balanced".to_owned(), &codec, &spool, whole, 1);
        let note = own.note;
        assert!(own.trained.is_none() && note.dictionary == Some(Origin::BuiltIn), "{note:?}");
        assert_eq!((note.bytes, note.trained_pages), (None, trained_pages), "{note:?}");
        assert!(note.why_none.as_deref().is_some_and(|text| text.contains(why)), "{note:?}");
    }
}

#[test]
fn only_a_setting_with_a_dictionary_is_trained() {
    let codec = fake(900);
    for (name, is_trained_so) in
        [("balanced", true), ("dense", true), ("fast", false), ("zstd:1", false), ("lz4", false)]
    {
        let spec: CodecSpec = name.parse().expect("a codec");
        assert_eq!(is_trained(spec, &codec), is_trained_so, "{name}");
        let built = spec.build().expect("in this build");
        assert!(built.trains() || !is_trained_so, "{name} can be trained");
    }
}

#[test]
fn the_rule_is_that_of_a_store() {
    let score = |bytes, ns| Score { bytes, time: Duration::from_nanos(ns) };
    let trial = |new| TrialScores { pages: 200, own: score(10_000, 1000), new };
    assert!(trial(score(9800, 1050)).is_won());
    assert!(!trial(score(9801, 1000)).is_won());
    assert!(!trial(score(5000, 1051)).is_won());
    let note = trial(score(9000, 1100)).note();
    assert_eq!((note.pages, note.length, note.time), (200, 0.9, 1.1));
}
