//! What all codec tests share: the codecs that are in the build, contents made from a seed, and guarded buffers.

use pagefold_codec::{Codec, CodecSpec, ZstdLevel};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Every codec that is in the build, with a label that tells two of the same name apart.
pub(crate) fn codecs() -> Vec<(String, Box<dyn Codec>)> {
    let levels = [-7, -1, 1, 3, 9, 19].map(|level| CodecSpec::Zstd(ZstdLevel::new(level).unwrap()));
    // Without the C libraries these are lz4 or raw.
    let settings =
        [CodecSpec::Balanced, CodecSpec::Dense].into_iter().filter(|_| cfg!(feature = "c-codecs"));
    let specs = [CodecSpec::Raw, CodecSpec::Lz4].into_iter().chain(levels).chain(settings);
    let built = specs.filter_map(|spec| Some((spec.to_string(), spec.build().ok()?)));
    #[cfg(feature = "pure-rust")]
    let built = built.chain([(
        "lz4 in Rust".to_owned(),
        Box::new(pagefold_codec::Lz4Pure::new()) as Box<dyn Codec>,
    )]);
    built.collect()
}

/// The same codecs for clusters.
pub(crate) fn cluster_codecs() -> Vec<(String, Box<dyn Codec>)> {
    let levels = [-7, 1, 3, 5, 12, 19].map(|level| CodecSpec::Zstd(ZstdLevel::new(level).unwrap()));
    let settings =
        [CodecSpec::Balanced, CodecSpec::Dense].into_iter().filter(|_| cfg!(feature = "c-codecs"));
    let specs = [CodecSpec::Raw, CodecSpec::Lz4].into_iter().chain(levels).chain(settings);
    let built = specs
        .filter_map(|spec| Some((format!("{spec} for clusters"), spec.build_for_clusters().ok()?)));
    #[cfg(feature = "pure-rust")]
    let built = built.chain([(
        "lz4 in Rust".to_owned(),
        Box::new(pagefold_codec::Lz4Pure::new()) as Box<dyn Codec>,
    )]);
    built.collect()
}

pub(crate) fn is_zstd(name: &str) -> bool {
    name.starts_with("zstd") || ["balanced", "dense"].contains(&name)
}

/// What a page may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Zeros,
    /// Words of a small vocabulary.
    Text,
    /// 8-byte values with common high bytes, as pointers and lengths in a heap are.
    Heap,
    /// A pattern of 1 to 300 bytes, over and over.
    Repeated,
    /// Incompressible.
    Random,
}

impl Content {
    pub(crate) const ALL: [Self; 5] =
        [Self::Zeros, Self::Text, Self::Heap, Self::Repeated, Self::Random];

    /// `len` bytes of this kind; the same for the same seed.
    pub(crate) fn bytes(self, len: usize, seed: u64) -> Vec<u8> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut bytes = Vec::with_capacity(len + 512);
        while bytes.len() < len {
            match self {
                Self::Zeros => bytes.resize(len, 0),
                Self::Text => {
                    let words = [
                        "page ",
                        "of ",
                        "memory ",
                        "is ",
                        "cold, ",
                        "compressed ",
                        "and\n",
                        "read ",
                    ];
                    bytes.extend_from_slice(words[rng.random_range(0..words.len())].as_bytes());
                }
                Self::Heap => {
                    let pointer = 0x7F3A_0000_0000_u64 + rng.random_range(0..1 << 20) * 16;
                    bytes.extend_from_slice(
                        &(if rng.random_bool(0.3) { 0 } else { pointer }).to_le_bytes(),
                    );
                }
                Self::Repeated => {
                    let mut pattern = vec![0; rng.random_range(1..=300)];
                    rng.fill_bytes(&mut pattern);
                    bytes.extend(pattern.iter().cycle().take(len));
                }
                Self::Random => {
                    bytes.resize(len, 0);
                    rng.fill_bytes(&mut bytes);
                }
            }
        }
        bytes.truncate(len);
        bytes
    }
}

/// Calls `f` with a buffer of `len` bytes that lies between two zones which must not be touched, and returns what
/// `f` returned with the buffer.
pub(crate) fn guarded<R>(len: usize, what: &str, f: impl FnOnce(&mut [u8]) -> R) -> (R, Vec<u8>) {
    const ZONE: usize = 256;
    const UNTOUCHED: u8 = 0xA5;
    let mut memory = vec![UNTOUCHED; ZONE + len + ZONE];
    let result = f(&mut memory[ZONE..ZONE + len]);
    assert!(
        memory[..ZONE].iter().all(|&byte| byte == UNTOUCHED),
        "{what}: bytes before the destination were written"
    );
    assert!(
        memory[ZONE + len..].iter().all(|&byte| byte == UNTOUCHED),
        "{what}: bytes beyond the destination were written"
    );
    memory.truncate(ZONE + len);
    (result, memory.split_off(ZONE))
}

/// Compresses `original` into more room than any codec needs.
pub(crate) fn compressed(codec: &dyn Codec, original: &[u8], what: &str) -> Vec<u8> {
    let room = original.len() * 2 + 64;
    let (len, mut bytes) = guarded(room, what, |dst| codec.compress(original, dst));
    bytes.truncate(
        len.unwrap_or_else(|| panic!("{what}: {} bytes do not fit into {room}", original.len())),
    );
    bytes
}

/// Asserts that `bytes` decompress to `original`.
pub(crate) fn assert_gives_back(codec: &dyn Codec, bytes: &[u8], original: &[u8], what: &str) {
    let (result, back) = guarded(original.len(), what, |dst| codec.decompress(bytes, dst));
    assert_eq!(result, Ok(original.len()), "{what}");
    assert!(back == original, "{what}: other bytes came back");
}
