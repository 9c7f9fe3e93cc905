//! What every codec does with damaged input: an error, another length, or other bytes; never a panic, never a write
//! outside the destination, and the codec works on as before.

use crate::common::{Content, assert_gives_back, codecs, compressed, guarded};
use pagefold_codec::{Codec, CodecError, Encoded, decode};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const KINDS: [Content; 3] = [Content::Text, Content::Heap, Content::Repeated];

/// Decompresses damaged bytes into a page and checks what holds for any input.
fn decompress(codec: &dyn Codec, bytes: &[u8], len: usize, what: &str) -> Option<usize> {
    let (result, _) = guarded(len, what, |dst| codec.decompress(bytes, dst));
    match result {
        Ok(decoded) => assert!(decoded <= len, "{what}: {decoded} bytes in a destination of {len}"),
        Err(error) => assert!(
            matches!(error, CodecError::Invalid { capacity, .. } if capacity == len),
            "{what}: {error:?}"
        ),
    }
    result.ok()
}

#[test]
fn every_truncation_is_noticed() {
    for (name, codec) in codecs() {
        for kind in KINDS {
            let original = kind.bytes(4096, 1);
            let bytes = compressed(&*codec, &original, &name);
            for kept in 0..bytes.len() {
                let what = format!("{name}, {kind:?}, {kept} of {}", bytes.len());
                assert_ne!(decompress(&*codec, &bytes[..kept], 4096, &what), Some(4096), "{what}");
                let mut page = vec![0; 4096];
                assert!(
                    decode(&*codec, Encoded::Compressed(&bytes[..kept]), &mut page).is_err(),
                    "{what}"
                );
            }
            assert_gives_back(&*codec, &bytes, &original, &name);
        }
    }
}

#[test]
fn trailing_bytes_are_noticed() {
    for (name, codec) in codecs() {
        let original = Content::Text.bytes(4096, 2);
        let mut bytes = compressed(&*codec, &original, &name);
        for extra in [0, 1, 0xFF] {
            bytes.push(extra);
            let decoded = decompress(&*codec, &bytes, 4096, &name);
            assert_eq!(decoded, None, "{name}: {extra} behind the object");
        }
    }
}

#[test]
fn every_changed_byte_stays_within_the_destination() {
    for (name, codec) in codecs() {
        for kind in KINDS {
            let original = kind.bytes(4096, 3);
            let good = compressed(&*codec, &original, &name);
            let mut bytes = good.clone();
            for at in 0..bytes.len() {
                for change in [0x01, 0x10, 0x80, 0xFF] {
                    bytes[at] ^= change;
                    decompress(
                        &*codec,
                        &bytes,
                        4096,
                        &format!("{name}, {kind:?}, byte {at} changed by {change:#x}"),
                    );
                    bytes[at] ^= change;
                }
            }
            assert_gives_back(&*codec, &good, &original, &name);
        }
    }
}

#[test]
fn garbage_stays_within_the_destination() {
    let seed = 4;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for (name, codec) in codecs() {
        for round in 0..20_000 {
            let mut garbage = vec![0; rng.random_range(0..200)];
            rng.fill_bytes(&mut garbage);
            let len = rng.random_range(0..5000);
            decompress(&*codec, &garbage, len, &format!("{name}, seed {seed}, round {round}"));
        }
    }
}

#[test]
fn several_damages_at_once_stay_within_the_destination() {
    let seed = 5;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for (name, codec) in codecs() {
        let objects = KINDS.map(|kind| compressed(&*codec, &kind.bytes(4096, seed), &name));
        for round in 0..20_000 {
            let mut bytes = objects[rng.random_range(0..objects.len())].clone();
            for _ in 0..rng.random_range(1..8) {
                let at = rng.random_range(0..bytes.len());
                match rng.random_range(0..3) {
                    0 => bytes[at] = rng.random(),
                    1 => drop(bytes.drain(at..(at + 5).min(bytes.len() - 1).max(at))),
                    _ => bytes.insert(at, rng.random()),
                }
            }
            let len = if rng.random() { 4096 } else { rng.random_range(0..8192) };
            decompress(&*codec, &bytes, len, &format!("{name}, seed {seed}, round {round}"));
        }
    }
}

#[test]
fn a_codec_works_on_after_each_error() {
    let original = Content::Heap.bytes(4096, 6);
    for (name, codec) in codecs() {
        let bytes = compressed(&*codec, &original, &name);
        for round in 0..1000 {
            let cut = round * bytes.len() / 1000;
            decompress(&*codec, &bytes[..cut], 4096, &name);
            assert_eq!(codec.compress(&original, &mut vec![0; cut / 2]), None, "{name}");
            assert_gives_back(
                &*codec,
                &bytes,
                &original,
                &format!("{name}, after an object cut to {cut}"),
            );
            assert!(
                compressed(&*codec, &original, &name) == bytes,
                "{name}, after a destination of {}",
                cut / 2
            );
        }
    }
}

#[test]
fn the_bytes_of_one_codec_in_another_stay_within_the_destination() {
    let all = codecs();
    for (writer_name, writer) in &all {
        let bytes = compressed(&**writer, &Content::Text.bytes(4096, 7), writer_name);
        for (reader_name, reader) in &all {
            decompress(&**reader, &bytes, 4096, &format!("{reader_name} reads {writer_name}"));
        }
    }
}
