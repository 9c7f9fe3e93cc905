//! What every codec does with good input, over sizes, contents and destinations.

use crate::common::{Content, assert_gives_back, codecs, compressed, guarded, is_zstd};
use pagefold_codec::{CodecError, CodecSpec, Encoded, accept_len, decode, encode};
use proptest::prelude::*;

fn content() -> impl Strategy<Value = Content> {
    proptest::sample::select(&Content::ALL[..])
}

// A failing case is printed as its kind, length and seed, which is all that it is made from.
fn config() -> ProptestConfig {
    ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_length_comes_back(kind in content(), len in 1_usize..=65536, seed: u64) {
        let original = kind.bytes(len, seed);
        for (name, codec) in codecs() {
            let bytes = compressed(&*codec, &original, &name);
            assert_gives_back(&*codec, &bytes, &original, &name);
        }
    }

    #[test]
    fn a_destination_of_any_length_is_enough_or_none(
        kind in content(), len in 1_usize..=8192, room in 0_usize..=9000, seed: u64,
    ) {
        let original = kind.bytes(len, seed);
        for (name, codec) in codecs() {
            let (result, bytes) = guarded(room, &name, |dst| codec.compress(&original, dst));
            if let Some(written) = result {
                prop_assert!(written <= room);
                assert_gives_back(&*codec, &bytes[..written], &original, &name);
            } else {
                let needed = compressed(&*codec, &original, &name).len();
                // lz4 asks for a few bytes more than it ends up using.
                prop_assert!(room <= needed + 16, "{}: {} into {} failed, needs {}", name, len, room, needed);
            }
        }
    }

    #[test]
    fn encode_and_decode_are_inverse(kind in content(), len in 0_usize..=9000, room in 0_usize..=9000, seed: u64) {
        let page = kind.bytes(len, seed);
        for (name, codec) in codecs() {
            let mut scratch = vec![0; room];
            let encoded = encode(&*codec, &page, &mut scratch);
            if let Encoded::Compressed(bytes) = encoded {
                prop_assert!(bytes.len() <= accept_len(len), "{}", name);
            }
            let (result, back) = guarded(len, &name, |dst| decode(&*codec, encoded, dst));
            prop_assert_eq!(result, Ok(()));
            prop_assert!(back == page, "{}: other bytes came back", name);
        }
    }
}

#[test]
fn every_short_length_comes_back() {
    for (name, codec) in codecs() {
        for kind in Content::ALL {
            for len in 1..=300 {
                let original = kind.bytes(len, 1);
                let bytes = compressed(&*codec, &original, &name);
                assert_gives_back(
                    &*codec,
                    &bytes,
                    &original,
                    &format!("{name}, {kind:?}, {len} bytes"),
                );
            }
        }
    }
}

#[test]
fn nothing_at_all_comes_back() {
    for (name, codec) in codecs() {
        let bytes = compressed(&*codec, &[], &name);
        assert_gives_back(&*codec, &bytes, &[], &name);
    }
}

#[test]
fn longer_than_a_window_comes_back() {
    for (name, codec) in codecs() {
        for kind in Content::ALL {
            let original = kind.bytes(300_000, 2);
            let bytes = compressed(&*codec, &original, &name);
            assert_gives_back(&*codec, &bytes, &original, &format!("{name}, {kind:?}"));
        }
    }
}

#[test]
fn pages_shrink_by_their_kind() {
    for (name, codec) in codecs() {
        for kind in Content::ALL {
            let page = kind.bytes(4096, 3);
            let result = codec.compress(&page, &mut vec![0; accept_len(4096)]);
            // zstd below level 1 hardly looks for matches as short as those of the heap page.
            let shrinks = kind != Content::Random && name != "raw";
            assert!(
                result.is_some() == shrinks || (kind == Content::Heap && name == "zstd:-7"),
                "{name}, {kind:?}: {result:?}"
            );
            assert_eq!(codec.compress(&page, &mut []), None, "{name}, {kind:?}: into nothing");
        }
    }
}

#[test]
fn a_destination_too_short_for_the_original_is_an_error_at_every_length() {
    for (name, codec) in codecs() {
        for kind in [Content::Text, Content::Heap, Content::Random] {
            let original = kind.bytes(4096, 4);
            let bytes = compressed(&*codec, &original, &name);
            for len in 0..4096 {
                let (result, _) = guarded(len, &name, |dst| codec.decompress(&bytes, dst));
                assert!(
                    matches!(result, Err(CodecError::Invalid { capacity, .. }) if capacity == len),
                    "{name}, {kind:?}, {len}: {result:?}"
                );
            }
            assert_gives_back(&*codec, &bytes, &original, &name);
        }
    }
}

#[test]
fn another_value_of_the_codec_understands_the_bytes() {
    let original = Content::Text.bytes(4096, 5);
    for ((name, writer), (_, reader)) in codecs().into_iter().zip(codecs()) {
        let bytes = compressed(&*writer, &original, &name);
        drop(writer);
        assert_gives_back(&*reader, &bytes, &original, &name);
    }
}

#[test]
fn the_state_of_a_context_does_not_show_in_the_bytes() {
    let page = Content::Heap.bytes(4096, 6);
    for (name, codec) in codecs() {
        let first = compressed(&*codec, &page, &name);
        for (seed, len) in [65536, 1, 4096, 30_000, 4096, 17].into_iter().enumerate() {
            compressed(&*codec, &Content::Text.bytes(len, seed as u64), &name);
            assert_eq!(
                codec.compress(&Content::Random.bytes(4096, 7), &mut [0; 100]),
                None,
                "{name}"
            );
            assert!(
                compressed(&*codec, &page, &name) == first,
                "{name}: after {len} other bytes the page is coded otherwise"
            );
        }
    }
}

#[test]
fn names_are_those_that_are_parsed() {
    for (_, codec) in codecs() {
        let spec: CodecSpec = codec.name().parse().unwrap();
        assert_eq!(spec.to_string(), codec.name());
        assert_eq!(spec.build().unwrap().name(), codec.name());
    }
}

#[test]
fn contexts_are_counted() {
    for (name, codec) in codecs() {
        let before = codec.metadata_bytes();
        compressed(&*codec, &Content::Text.bytes(4096, 8), &name);
        let after = codec.metadata_bytes();
        assert!(after >= before, "{name}");
        // An encoder of zstd is made at its first use, and has a table of 8 KiB at the least after a page.
        let expected = if is_zstd(&name) { 5_000 + 8_192 } else { 0 };
        assert!(after - before >= expected, "{name}: {before}, then {after}");
        assert_eq!(before == 0, name == "raw");
        let bytes = compressed(&*codec, &Content::Text.bytes(4096, 8), &name);
        assert_gives_back(&*codec, &bytes, &Content::Text.bytes(4096, 8), &name);
        let decoded = codec.metadata_bytes();
        assert!(decoded <= codec.metadata_bytes_max(4096), "{name}");
        // A decoder of zstd is 44 KiB once it was used for a page.
        let expected = if is_zstd(&name) { 32 << 10 } else { 0 };
        assert!(decoded - after >= expected, "{name}: {after}, then {decoded}");
        eprintln!("{name}: {before} bytes, {after} after the first page");
    }
}

#[cfg(feature = "c-codecs")]
#[test]
fn what_zstd_does_not_shorten_has_six_bytes_that_are_not_data() {
    let codec = "zstd:1".parse::<CodecSpec>().unwrap().build().unwrap();
    for len in [1, 100, 4096, 65536] {
        let bytes = compressed(&*codec, &Content::Random.bytes(len, 9), "zstd:1");
        assert_eq!(
            bytes.len(),
            len + 1 + 2 + 3,
            "a mark, a frame header of two bytes and a block header of three"
        );
    }
}

#[cfg(all(feature = "c-codecs", feature = "pure-rust"))]
#[test]
fn both_lz4_read_each_other() {
    let (c, rust) = (pagefold_codec::Lz4::new(), pagefold_codec::Lz4Pure::new());
    for kind in Content::ALL {
        for len in [1, 12, 13, 100, 4096, 65535, 65536] {
            let original = kind.bytes(len, 10);
            assert_gives_back(&rust, &compressed(&c, &original, "C"), &original, "Rust reads C");
            assert_gives_back(&c, &compressed(&rust, &original, "Rust"), &original, "C reads Rust");
        }
    }
}
