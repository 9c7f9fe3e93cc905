//! Arbitrary bytes through every codec: decoded as they are, and taken there and back.
//!
//! Run with `RUSTC_BOOTSTRAP=1 cargo fuzz run codec_decode` inside `fuzz/`, where `.cargo/config.toml` is found. The first
//! three bytes of an input choose the codec and the length of the destination, the rest is the data.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pagefold_codec::{Codec, CodecSpec, Lz4Pure, Raw, accept_len, decode, encode};

/// The codecs live as long as the process, so each input meets contexts that earlier ones have used.
static CODECS: LazyLock<Vec<Box<dyn Codec>>> = LazyLock::new(|| {
    let names = ["lz4", "zstd:-7", "zstd:-1", "zstd:1", "zstd:3", "zstd:19", "balanced", "dense"];
    let built = names.map(|name| {
        name.parse::<CodecSpec>().expect("a known name").build().expect("a full build")
    });
    let rust: [Box<dyn Codec>; 2] = [Box::new(Lz4Pure::new()), Box::new(Raw)];
    built.into_iter().chain(rust).collect()
});

fuzz_target!(|input: &[u8]| {
    let Some(([choice, low, high], data)) = input.split_first_chunk() else { return };
    let codec = &*CODECS[usize::from(*choice) % CODECS.len()];

    // Boxed to the byte, so that the address sanitizer sees a write beyond the end.
    let mut dst = vec![0; usize::from(u16::from_le_bytes([*low, *high]))].into_boxed_slice();
    if let Ok(len) = codec.decompress(data, &mut dst) {
        assert!(len <= dst.len(), "{} reports {len} bytes in {}", codec.name(), dst.len());
    }

    let mut scratch = vec![0; accept_len(data.len())].into_boxed_slice();
    let encoded = encode(codec, data, &mut scratch);
    let mut back = vec![0; data.len()].into_boxed_slice();
    decode(codec, encoded, &mut back).expect("what was just encoded");
    assert!(*back == *data, "{} gives other bytes back", codec.name());
});
