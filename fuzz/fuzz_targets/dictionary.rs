//! Arbitrary bytes as a dictionary, and arbitrary objects in a codec with it.
//!
//! Run with `RUSTC_BOOTSTRAP=1 cargo fuzz run dictionary` inside `fuzz/`. The first byte of an input chooses the codec;
//! the next two the bytes of the dictionary, behind them; the rest is the object. A short dictionary, or one without
//! the magic number, gets the beginning of the built-in one, so that the tables behind it are reached.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pagefold_codec::{Codec, CodecSpec, Dictionary, accept_len};

const NAMES: [&str; 5] = ["zstd:-1", "zstd:1", "zstd:3", "zstd:5", "zstd:12"];
static BUILT_IN: LazyLock<Dictionary> = LazyLock::new(Dictionary::built_in);

/// The built-in dictionary with these bytes in place of its own, from the first that `hostile` names.
fn changed(hostile: &[u8]) -> Vec<u8> {
    let mut bytes = BUILT_IN.as_bytes().to_vec();
    let Some((&at, hostile)) = hostile.split_first() else { return bytes };
    for (byte, hostile) in bytes[usize::from(at)..].iter_mut().zip(hostile) {
        *byte = *hostile;
    }
    bytes
}

fuzz_target!(|input: &[u8]| {
    let Some(([choice, low, high], data)) = input.split_first_chunk() else { return };
    let cut = usize::from(u16::from_le_bytes([*low, *high])).min(data.len());
    let (hostile, object) = data.split_at(cut);
    let as_it_is = Dictionary::from_bytes(hostile);
    let Ok(dictionary) = as_it_is.or_else(|_| Dictionary::from_bytes(&changed(hostile))) else {
        return;
    };
    let spec: CodecSpec = NAMES[usize::from(*choice) % NAMES.len()].parse().expect("a known name");
    let Ok(codec) = spec.build_with_dictionary(&dictionary) else { return };
    drop(dictionary);
    assert!(codec.is_intact());

    // Boxed to the byte, so that the address sanitizer sees a write beyond the end.
    let mut dst = vec![0; 4096].into_boxed_slice();
    if let Ok(len) = codec.decompress(object, &mut dst) {
        assert!(len <= dst.len(), "{} reports {len} bytes in {}", codec.name(), dst.len());
    }
    let mut scratch = vec![0; accept_len(object.len())].into_boxed_slice();
    if let Some(len) = codec.compress(object, &mut scratch) {
        let mut back = vec![0; object.len()].into_boxed_slice();
        let restored = codec.decompress(&scratch[..len], &mut back);
        assert_eq!(restored, Ok(object.len()), "{}", codec.name());
        assert!(*back == *object, "{} gives other bytes back", codec.name());

        // Damage reaches further into the decoder than bytes that were never an object.
        let at = (usize::from(*high) << 8 | usize::from(*low)) % len;
        scratch[at] ^= choice.rotate_left(3) | 1;
        if let Ok(restored) = codec.decompress(&scratch[..len], &mut back) {
            assert!(restored <= back.len(), "{} reports {restored} bytes", codec.name());
        }
    }
});
