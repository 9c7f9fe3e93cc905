//! Arbitrary bytes as the object of a cluster: its start restored at every page, then the bytes taken there and back.
//!
//! Run with `RUSTC_BOOTSTRAP=1 cargo fuzz run cluster_decode` inside `fuzz/`. The first byte of an input chooses the
//! codec, the next two the length of the destination, up to 64 KiB. The rest is the object.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pagefold_codec::{Codec, CodecSpec, Lz4Pure, TryCodecError, accept_len};

const PAGE_BYTES: usize = 4096;

/// The codecs live as long as the process, so each input meets contexts that earlier ones have used. The settings
/// share theirs with codecs that they trained.
static CODECS: LazyLock<Vec<Box<dyn Codec>>> = LazyLock::new(|| {
    let names = ["lz4", "raw", "zstd:-1", "zstd:1", "zstd:5", "zstd:19", "balanced", "dense"];
    let built = names.map(|name| {
        let spec: CodecSpec = name.parse().expect("a known name");
        spec.build_for_clusters().expect("a full build")
    });
    let mut codecs = Vec::from(built);
    let pages: Vec<Vec<u8>> = (0..200_u32).map(page).collect();
    let pages: Vec<&[u8]> = pages.iter().map(Vec::as_slice).collect();
    let trained = codecs.iter().filter_map(|codec| codec.train(&pages)).collect::<Vec<_>>();
    assert_eq!(trained.len(), 2, "both settings train");
    codecs.extend(trained);
    codecs.push(Box::new(Lz4Pure::new()));
    codecs
});

/// Words of a vocabulary that all pages share.
fn page(number: u32) -> Vec<u8> {
    let word = |at: u32| {
        let mixed = (number * 512 + at).wrapping_mul(0x9E37_79B9) >> 8;
        format!("{:08x} ", (mixed % 600).wrapping_mul(2_654_435_761))
    };
    (0..456).map(word).collect::<String>().into_bytes()
}

fuzz_target!(|input: &[u8]| {
    let Some(([choice, low, high], object)) = input.split_first_chunk() else { return };
    let codec = &*CODECS[usize::from(*choice) % CODECS.len()];
    let len = usize::from(u16::from_le_bytes([*low, *high])) + 1;

    // Boxed to the byte, so that the address sanitizer sees a write beyond the end.
    let mut dst = vec![0; len].into_boxed_slice();
    for edge in (0..=len).step_by(PAGE_BYTES) {
        for wanted in [edge, edge + 1] {
            let result = codec.decompress_start(object, &mut dst, wanted);
            let restored = result.unwrap_or(0);
            assert!(restored <= len, "{} reports {restored} bytes in {len}", codec.name());
            let tried = codec.try_decompress_start(object, &mut dst, wanted);
            assert_eq!(tried, result.map_err(TryCodecError::from));
        }
    }
    if let Ok(restored) = codec.decompress(object, &mut dst) {
        assert!(restored <= len, "{} reports {restored} bytes in {len}", codec.name());
    }

    let mut scratch = vec![0; accept_len(object.len())].into_boxed_slice();
    let Some(stored) = codec.compress(object, &mut scratch) else { return };
    for edge in (0..=object.len() + PAGE_BYTES).step_by(PAGE_BYTES) {
        let wanted = edge.min(object.len());
        let mut back = vec![0; object.len()].into_boxed_slice();
        let restored = codec.decompress_start(&scratch[..stored], &mut back, wanted);
        let restored = restored.expect("what was just compressed");
        assert!(restored >= wanted, "{}: {restored} of {wanted}", codec.name());
        assert!(back[..wanted] == object[..wanted], "{} gives other bytes back", codec.name());
    }

    // Damage reaches further into the decoder than bytes that were never an object.
    let object = &mut scratch[..stored];
    for (index, byte) in [*choice, *low, *high].into_iter().enumerate() {
        let at = (usize::from(*high) << 8 | usize::from(byte)) * (index + 1) % object.len().max(1);
        if let Some(damaged) = object.get_mut(at) {
            *damaged ^= byte.rotate_left(3) | 1;
        }
        for wanted in (0..=len).step_by(PAGE_BYTES) {
            if let Ok(restored) = codec.decompress_start(object, &mut dst, wanted) {
                assert!(restored <= len, "{} reports {restored} bytes in {len}", codec.name());
            }
        }
    }
});
