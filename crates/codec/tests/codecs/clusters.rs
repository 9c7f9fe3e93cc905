//! What codecs for clusters do: the start of an object comes back without the rest, and damage stays bounded.

use crate::common::{Content, assert_gives_back, cluster_codecs, compressed, guarded};
use pagefold_codec::{Codec, CodecError, TryCodecError};
use proptest::prelude::*;

const PAGE_BYTES: usize = 4096;
const CLUSTER_BYTES: usize = 4 * PAGE_BYTES;

fn config() -> ProptestConfig {
    ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() }
}

/// Four pages of one kind, or of several.
fn cluster(kinds: &[Content], len: usize, seed: u64) -> Vec<u8> {
    let pages = kinds.iter().cycle().zip(0..).take(len.div_ceil(PAGE_BYTES));
    let mut bytes: Vec<u8> =
        pages.flat_map(|(kind, index)| kind.bytes(PAGE_BYTES, seed + index)).collect();
    bytes.truncate(len);
    bytes
}

/// The end of the block in which `wanted` ends.
fn block_end(wanted: usize, len: usize) -> usize {
    wanted.next_multiple_of(PAGE_BYTES).min(len)
}

fn assert_starts(codec: &dyn Codec, bytes: &[u8], original: &[u8], wanted: usize, what: &str) {
    let len = original.len();
    let (restored, back) = guarded(len, what, |dst| codec.decompress_start(bytes, dst, wanted));
    let restored = restored.unwrap_or_else(|error| panic!("{what}, {wanted} of {len}: {error}"));
    assert!((wanted.min(len)..=len).contains(&restored), "{what}: {restored}, wanted {wanted}");
    assert!(back[..restored] == original[..restored], "{what}: other bytes, wanted {wanted}");
    // Only lz4 in Rust restores everything. zstd stops at the end of a block, so each block is a page.
    let in_rust =
        what.starts_with("lz4 in Rust") || what.starts_with("lz4") && !cfg!(feature = "c-codecs");
    let most = if in_rust { len } else { block_end(wanted, len) };
    assert!(restored <= most, "{what}: {restored} of {len}, wanted {wanted}");
    let (tried, tried_back) =
        guarded(len, what, |dst| codec.try_decompress_start(bytes, dst, wanted));
    assert_eq!(tried, Ok(restored), "{what}");
    assert!(tried_back[..restored] == back[..restored], "{what}");
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn each_start_comes_back(
        kinds in proptest::collection::vec(proptest::sample::select(&Content::ALL[..]), 1..5),
        len in 0_usize..=CLUSTER_BYTES, wanted in 0_usize..=CLUSTER_BYTES + 9, seed: u32,
    ) {
        let original = cluster(&kinds, len, seed.into());
        for (name, codec) in cluster_codecs() {
            let what = format!("{name}, {kinds:?}, {len} bytes");
            let bytes = compressed(&*codec, &original, &what);
            assert_gives_back(&*codec, &bytes, &original, &what);
            assert_starts(&*codec, &bytes, &original, wanted, &what);
        }
    }
}

#[test]
fn each_edge_of_a_block_comes_back() {
    let mixed = [Content::Random, Content::Zeros, Content::Heap, Content::Zeros, Content::Text];
    for (name, codec) in cluster_codecs() {
        let lengths = [0, 1, 4095, 4096, 4097, 8192, 12_289, 16_383, 16_384, 65_536];
        for kinds in [&mixed[..], &[Content::Text], &[Content::Heap], &[Content::Repeated]] {
            for len in lengths {
                let original = cluster(kinds, len, 1);
                let what = format!("{name}, {kinds:?}, {len} bytes");
                let bytes = compressed(&*codec, &original, &what);
                for edge in (0..=len + PAGE_BYTES).step_by(PAGE_BYTES) {
                    for wanted in edge.saturating_sub(1)..=edge + 1 {
                        assert_starts(&*codec, &bytes, &original, wanted, &what);
                    }
                }
            }
        }
    }
}

#[test]
fn later_pages_are_shorter_for_those_before() {
    for (name, codec) in cluster_codecs() {
        // Repeats only in another page.
        let page = Content::Random.bytes(PAGE_BYTES, 2);
        let original = page.repeat(4);
        let bytes = compressed(&*codec, &original, &name);
        assert_eq!(bytes.len() < PAGE_BYTES + 600, !name.starts_with("raw"), "{name}");
        assert_starts(&*codec, &bytes, &original, 2 * PAGE_BYTES, &name);
    }
}

/// Decompresses damaged bytes at each page and checks what holds for any bytes.
fn assert_bounded(codec: &dyn Codec, bytes: &[u8], len: usize, what: &str) {
    for wanted in [0, 1, 4096, 4097, 8192, 12_288, len] {
        let (result, _) = guarded(len, what, |dst| codec.decompress_start(bytes, dst, wanted));
        match result {
            Ok(restored) => assert!(restored <= len, "{what}: {restored} of {len}"),
            Err(error) => assert!(
                matches!(error, CodecError::Invalid { capacity, .. } if capacity == len),
                "{what}: {error:?}"
            ),
        }
        let (tried, _) = guarded(len, what, |dst| codec.try_decompress_start(bytes, dst, wanted));
        assert_eq!(tried, result.map_err(TryCodecError::from), "{what}, wanted {wanted}");
    }
}

fn damaged_kinds() -> [Vec<u8>; 2] {
    let mixed = [Content::Text, Content::Zeros, Content::Random, Content::Heap];
    // Short objects, so that each byte can be changed.
    [cluster(&mixed, 9000, 3), cluster(&[Content::Repeated, Content::Text], CLUSTER_BYTES, 4)]
}

#[test]
fn every_truncation_is_noticed_and_the_start_is_still_there() {
    for (name, codec) in cluster_codecs() {
        for original in damaged_kinds() {
            let bytes = compressed(&*codec, &original, &name);
            for kept in (0..bytes.len()).rev().step_by(7) {
                let what = format!("{name}, {kept} of {}", bytes.len());
                let cut = &bytes[..kept];
                let (whole, _) = guarded(original.len(), &what, |dst| codec.decompress(cut, dst));
                assert_ne!(whole, Ok(original.len()), "{what}");
                assert_bounded(&*codec, cut, original.len(), &what);
            }
            assert_gives_back(&*codec, &bytes, &original, &name);
        }
    }
}

#[test]
fn every_changed_byte_stays_within_the_destination() {
    for (name, codec) in cluster_codecs() {
        for original in damaged_kinds() {
            let good = compressed(&*codec, &original, &name);
            let mut bytes = good.clone();
            for at in 0..bytes.len() {
                for change in [0x01, 0x40, 0x80, 0xFF] {
                    bytes[at] ^= change;
                    let what = format!("{name}, byte {at} changed by {change:#x}");
                    assert_bounded(&*codec, &bytes, original.len(), &what);
                    bytes[at] ^= change;
                }
            }
            assert_gives_back(&*codec, &good, &original, &name);
        }
    }
}

#[test]
fn trailing_bytes_and_other_lengths_are_noticed() {
    for (name, codec) in cluster_codecs() {
        let original = cluster(&[Content::Text], CLUSTER_BYTES, 5);
        let mut bytes = compressed(&*codec, &original, &name);
        for len in [0, 1, 4095, 4096, 8192, CLUSTER_BYTES - 1] {
            let (result, _) = guarded(len, &name, |dst| codec.decompress(&bytes, dst));
            assert!(result.is_err(), "{name}: {result:?} of {len}");
        }
        let longer = CLUSTER_BYTES + 10;
        let (result, _) = guarded(longer, &name, |dst| codec.decompress(&bytes, dst));
        assert_ne!(result, Ok(longer), "{name}");
        bytes.push(0);
        let (result, _) = guarded(CLUSTER_BYTES, &name, |dst| codec.decompress(&bytes, dst));
        assert!(result.is_err(), "{name}: a byte behind the object");
    }
}

#[test]
fn contexts_stay_within_their_maximum() {
    for (name, codec) in cluster_codecs() {
        let most = codec.metadata_bytes_max(CLUSTER_BYTES);
        for len in [1, 4096, CLUSTER_BYTES, 5000, 300, CLUSTER_BYTES] {
            let original = cluster(&[Content::Heap, Content::Text], len, 6);
            let bytes = compressed(&*codec, &original, &name);
            assert_gives_back(&*codec, &bytes, &original, &name);
            let held = codec.metadata_bytes();
            // lz4 in Rust holds a buffer for the worst case, and says what it holds now.
            let is_bounded = held <= most || name == "lz4 in Rust";
            assert!(is_bounded, "{name}: {held} of {most} after {len} bytes");
        }
    }
}
