//! Codecs that train themselves: siblings share contexts and nothing else.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use crate::common::{Content, assert_gives_back, compressed, guarded};
use pagefold_codec::{Codec, CodecSpec, Dictionary};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Pages of words that `vocabulary` chooses; each word is rare in a page and occurs in most.
fn pages(vocabulary: u32) -> Vec<Vec<u8>> {
    let mut rng = ChaCha8Rng::seed_from_u64(vocabulary.into());
    let mut word = || {
        let number = rng.random_range(0..400) + 400 * vocabulary;
        format!("{:08x} ", number.wrapping_mul(2_654_435_761))
    };
    let mut page = || (0..456).map(|_| word()).collect::<String>().into_bytes();
    (0..400).map(|_| page()[..4096].to_vec()).collect()
}

fn slices(pages: &[Vec<u8>]) -> Vec<&[u8]> {
    pages.iter().map(Vec::as_slice).collect()
}

/// Both settings, for pages and for clusters.
fn bases() -> Vec<(String, Box<dyn Codec>)> {
    let settings = [CodecSpec::Balanced, CodecSpec::Dense];
    let built = settings.into_iter().flat_map(|spec| {
        [
            (format!("{spec} for pages"), spec.build().unwrap()),
            (format!("{spec} for clusters"), spec.build_for_clusters().unwrap()),
        ]
    });
    built.collect()
}

fn total(codec: &dyn Codec, pages: &[Vec<u8>]) -> usize {
    let lengths = pages.chunks(4).map(|group| compressed(codec, &group.concat(), "total").len());
    lengths.sum()
}

#[test]
fn a_trained_codec_is_denser_and_siblings_restore_their_own() {
    let (first_pages, second_pages) = (pages(1), pages(2));
    for (name, base) in bases() {
        assert!(base.trains(), "{name}");
        let first = base.train(&slices(&first_pages)).expect("trained");
        let second = base.train(&slices(&second_pages)).expect("trained");
        assert!(!first.trains() && first.name() == base.name(), "{name}");
        let (own, before) = (total(&*first, &first_pages), total(&*base, &first_pages));
        assert!(own < before, "{name}: {own} bytes, {before} before");
        let own = total(&*second, &second_pages);
        assert!(own < total(&*first, &second_pages), "{name}: each has its own dictionary");
        // In turn, in the same contexts.
        for page in first_pages.iter().chain(&second_pages).step_by(29) {
            let original = page.repeat(2);
            let objects = [&base, &first, &second].map(|codec| {
                let bytes = compressed(&**codec, &original, &name);
                // A destination that is too short leaves a session open.
                assert_eq!(codec.compress(&original, &mut [0; 40]), None, "{name}");
                bytes
            });
            for (codec, bytes) in [&base, &first, &second].into_iter().zip(&objects) {
                assert_gives_back(&**codec, bytes, &original, &name);
                assert!(codec.is_intact());
                for other in &objects {
                    // An error or other bytes, never outside the destination.
                    let (result, back) =
                        guarded(original.len(), &name, |dst| codec.decompress(other, dst));
                    let is_own = result == Ok(original.len()) && back == original;
                    assert!(is_own || other != bytes, "{name}");
                }
            }
        }
    }
}

#[test]
fn siblings_come_and_go_while_threads_work() {
    let (first_pages, second_pages) = (pages(3), pages(4));
    for (name, base) in bases() {
        let start = base.train(&slices(&first_pages)).expect("trained");
        thread::scope(|scope| {
            for thread in 0..4 {
                let (base, start, name, pages) = (&*base, &*start, &name, &second_pages);
                scope.spawn(move || {
                    for round in 0..60 {
                        let page = &pages[(thread * 60 + round) % pages.len()];
                        for codec in [base, start] {
                            let bytes = compressed(codec, page, name);
                            assert_gives_back(codec, &bytes, page, name);
                        }
                    }
                });
            }
            for _ in 0..3 {
                let sibling = base.train(&slices(&second_pages[..200])).expect("trained");
                for page in second_pages.iter().step_by(40) {
                    let bytes = compressed(&*sibling, page, &name);
                    assert_gives_back(&*sibling, &bytes, page, &name);
                }
                // Dropped here; the contexts that it used go on.
            }
        });
        drop(base);
        let bytes = compressed(&*start, &first_pages[0], &name);
        assert_gives_back(&*start, &bytes, &first_pages[0], &format!("{name}, without its base"));
    }
}

#[test]
fn a_sibling_counts_its_dictionary_and_the_base_the_contexts() {
    let pages = pages(5);
    for (name, base) in bases() {
        base.limit_contexts(1);
        let before = base.metadata_bytes();
        let (most, long_most) = (base.metadata_bytes_max(4096), base.metadata_bytes_max(16 << 10));
        let sibling = base.train(&slices(&pages)).expect("trained");
        assert_eq!(base.metadata_bytes(), before, "{name}");
        let own = sibling.metadata_bytes();
        assert!((4 << 10..256 << 10).contains(&own), "{name}: {own}");
        assert_eq!(own, sibling.metadata_bytes_max(16 << 10), "{name}");
        assert_eq!(sibling.context_bytes_max(4096), 0);
        assert!(!sibling.wants_context() && !sibling.add_context());
        sibling.limit_contexts(3);
        for (len, most) in [(4096, most), (16 << 10, long_most)] {
            for kind in Content::ALL {
                for codec in [&sibling, &base] {
                    let original = kind.bytes(len, 1);
                    let bytes = compressed(&**codec, &original, &name);
                    assert_gives_back(&**codec, &bytes, &original, &name);
                }
            }
            let held = base.metadata_bytes();
            assert!(before < held && held <= most, "{name}: {held} of {most}, {before} before");
        }
        assert_eq!(sibling.metadata_bytes(), own, "{name}");
        assert!(base.train_bytes_max(1 << 20) > (1 << 20) + own, "{name}");
    }
}

#[test]
fn a_codec_that_rests_has_less_and_compresses_as_before() {
    let pages = pages(7);
    for (name, base) in bases() {
        base.limit_contexts(2);
        let sibling = base.train(&slices(&pages)).expect("trained");
        for codec in [&base, &sibling] {
            let (before, most) = (codec.metadata_bytes(), codec.metadata_bytes_max(4096));
            let expected = compressed(&**codec, &pages[0], &name);
            // Its contexts have the tables of the last dictionary.
            base.release_contexts();
            codec.release_contexts();
            let rests = codec.metadata_bytes();
            // The smallest table of an encoder has 2^12 entries of four bytes.
            assert!(rests + (16 << 10) <= before, "{name}: {before}, then {rests}");
            assert_eq!(codec.metadata_bytes_max(4096), most, "{name}: what it may take stays");
            assert_gives_back(&**codec, &expected, &pages[0], &name);
            assert!(codec.metadata_bytes() < before + (64 << 10), "{name}: a decoder more");
            assert_eq!(compressed(&**codec, &pages[0], &name), expected, "{name}");
            assert!((rests..=most).contains(&codec.metadata_bytes()), "{name}");
            assert!(codec.is_intact() && !codec.wants_context(), "{name}");
        }
    }
}

#[test]
fn codecs_rest_while_threads_work() {
    let pages = pages(8);
    for (name, base) in bases() {
        let sibling = base.train(&slices(&pages)).expect("trained");
        let expected: Vec<Vec<u8>> =
            pages[..20].iter().map(|page| compressed(&*sibling, page, &name)).collect();
        let most = sibling.metadata_bytes_max(4096);
        let working = AtomicUsize::new(3);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for (page, expected) in pages.iter().zip(&expected).cycle().take(200) {
                        assert_eq!(compressed(&*sibling, page, &name), *expected, "{name}");
                    }
                    working.fetch_sub(1, Ordering::Relaxed);
                });
            }
            scope.spawn(|| {
                while working.load(Ordering::Relaxed) > 0 {
                    base.release_contexts();
                    sibling.release_contexts();
                    assert!(sibling.metadata_bytes() <= most, "{name}");
                    thread::yield_now();
                }
            });
        });
    }
}

#[test]
fn only_settings_train_and_only_from_enough_pages() {
    let trained = Dictionary::train(slices(&pages(6)), 4096).expect("enough pages");
    let zstd = "zstd:1".parse::<CodecSpec>().unwrap();
    let others = [
        zstd.build().unwrap(),
        zstd.build_for_clusters().unwrap(),
        CodecSpec::Lz4.build().unwrap(),
        CodecSpec::Balanced.build_with_dictionary(&trained).unwrap(),
    ];
    for codec in others {
        assert!(!codec.trains() && codec.train(&slices(&pages(6))).is_none(), "{}", codec.name());
        assert_eq!(codec.train_bytes_max(1 << 20), 0);
        assert!(codec.is_intact());
    }
    for (name, base) in bases() {
        assert!(base.train(&[]).is_none(), "{name}");
        assert!(base.train(&[&[7; 4096], &[], b"short"]).is_none(), "{name}");
    }
}
