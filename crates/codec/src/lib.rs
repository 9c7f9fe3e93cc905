//! The codecs of pagefold: `lz4`, `zstd:LEVEL`, `raw`, and the detection of same-filled pages.
//!
//! # Model
//! A [`Codec`] turns a byte string into a shorter one and back. Threads share it by reference. Its state is in a fixed
//! [`SlotArray`](pagefold_sys::sync::SlotArray), so decompression allocates nothing, takes no lock, and may nest. A
//! [`CodecSpec`] names a codec as the command line does (`lz4`, `zstd:-1`) and builds it. [`encode`] and [`decode`]
//! serve a store of pages: a page of one repeated word costs no bytes, and a page that hardly shrinks stays raw.
//!
//! A `Dictionary`, trained from some pages, makes similar pages shorter (`CodecSpec::build_with_dictionary`);
//! `CodecSpec::build_for` measures whether it does.
//!
//! # Formats
//! `lz4` is the bare block format and `zstd` a frame without magic number, content size, checksum and dictionary id.
//! Neither stores the original length or a checksum: the caller passes a destination of exactly that length, checks the
//! returned length, and is responsible for integrity.
//!
//! # Features
//! | features | `lz4` | `zstd` |
//! |---|---|---|
//! | `c-codecs` (default) | the C library | the C library |
//! | `pure-rust` without the default | `lz4_flex`, no unsafe code; same format | [`BuildCodecError::NotInThisBuild`] |
//! | both | the C library | the C library |
//! | neither | [`BuildCodecError::NotInThisBuild`] | [`BuildCodecError::NotInThisBuild`] |
//!
//! # Neighbours
//! Nothing below but the codec libraries. The store and the command stand above.
//!
//! # Examples
//! ```
//! use pagefold_codec::{CodecSpec, Encoded, accept_len, decode, encode};
//!
//! let codec = "raw".parse::<CodecSpec>()?.build()?;
//! let mut scratch = [0; accept_len(4096)];
//! let zeros = [0; 4096];
//! let encoded = encode(&*codec, &zeros, &mut scratch);
//! assert_eq!(encoded, Encoded::SameFilled(0), "no codec is needed for this one");
//!
//! let mut back = [1; 4096];
//! decode(&*codec, encoded, &mut back)?;
//! assert_eq!(back, zeros);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(unsafe_code)]

mod build;
mod checked;
mod codec;
#[cfg(feature = "c-codecs")]
mod dictionary;
#[cfg(feature = "c-codecs")]
#[expect(unsafe_code, reason = "the calls into the zstd C library for dictionaries")]
mod digested;
mod encoded;
#[cfg(feature = "c-codecs")]
mod lz4;
#[cfg(feature = "c-codecs")]
#[expect(unsafe_code, reason = "the calls into the lz4 C library")]
mod lz4_bindings;
#[cfg(feature = "pure-rust")]
mod lz4_pure;
mod raw;
mod same_filled;
mod spec;
#[cfg(feature = "c-codecs")]
mod training;
#[cfg(feature = "c-codecs")]
mod zstd;
#[cfg(feature = "c-codecs")]
#[expect(unsafe_code, reason = "the calls into the zstd C library")]
mod zstd_bindings;

pub use checked::{
    checked_compress, checked_decompress, checked_metadata_bytes_max, checked_try_decompress,
};
pub use codec::{Codec, CodecError, TryCodecError};
#[cfg(feature = "c-codecs")]
pub use dictionary::{Dictionary, DictionaryError};
pub use encoded::{Encoded, accept_len, decode, encode};
#[cfg(feature = "c-codecs")]
pub use lz4::Lz4;
#[cfg(feature = "pure-rust")]
pub use lz4_pure::Lz4Pure;
pub use raw::Raw;
pub use same_filled::{fill, same_filled};
pub use spec::{BuildCodecError, CodecSpec, ParseCodecError, ZstdLevel};
#[cfg(feature = "c-codecs")]
pub use zstd::Zstd;
