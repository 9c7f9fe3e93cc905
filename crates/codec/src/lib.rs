//! The codecs of pagefold: settings `fast`, `balanced`, `dense`; `lz4`, `zstd:LEVEL`, `raw`; same-filled pages.
//!
//! A [`CodecSpec`] names and builds a [`Codec`]. [`encode`] and [`decode`] serve a store of pages. A `Dictionary` makes
//! similar pages shorter.
//!
//! # Formats
//! `lz4` is the bare block format. `zstd` is a frame without magic number, content size, checksum and dictionary id; from
//! [`CodecSpec::build_for_clusters`], blocks of which each restores 4 KiB. None stores the original length or a checksum: the caller does.
//!
//! # Features
//! | features | `lz4`, `fast` | `zstd` | `balanced`, `dense` |
//! |---|---|---|---|
//! | `c-codecs` (default) | C library | C library | zstd |
//! | `pure-rust` without the default | `lz4_flex`, same format | [`BuildCodecError::NotInThisBuild`] | `lz4` |
//! | both | C library | C library | zstd |
//! | neither | `NotInThisBuild`; `fast` is `raw` | `NotInThisBuild` | `raw` |
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

#[cfg(feature = "c-codecs")]
mod block_form;
mod build;
mod checked;
mod codec;
mod delta;
mod deltas;
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
#[cfg(feature = "c-codecs")]
mod page_form;
#[cfg(feature = "c-codecs")]
mod prefixed;
mod raw;
mod same_filled;
#[cfg(feature = "c-codecs")]
mod self_training;
mod spec;
#[cfg(feature = "c-codecs")]
mod training;
#[cfg(feature = "c-codecs")]
mod zstd;
#[cfg(feature = "c-codecs")]
#[expect(unsafe_code, reason = "the calls into the zstd C library")]
mod zstd_bindings;
#[cfg(feature = "c-codecs")]
mod zstd_contexts;
#[cfg(feature = "c-codecs")]
#[expect(unsafe_code, reason = "the calls into the zstd C library, in memory of the system")]
mod zstd_decoder;

pub use checked::{
    checked_compress, checked_decompress, checked_metadata_bytes_max, checked_try_decompress,
};
pub use codec::{Codec, CodecError, TryCodecError};
pub use delta::{DELTA_BYTES_MAX, DELTA_PAGE_BYTES, apply_delta, delta};
pub use deltas::Deltas;
#[cfg(feature = "c-codecs")]
pub use dictionary::{Dictionary, DictionaryError};
pub use encoded::{Encoded, accept_len, decode, encode};
#[cfg(feature = "c-codecs")]
pub use lz4::Lz4;
#[cfg(feature = "pure-rust")]
pub use lz4_pure::Lz4Pure;
#[cfg(feature = "c-codecs")]
pub use prefixed::Prefixed;
pub use raw::Raw;
pub use same_filled::{fill, same_filled};
pub use spec::{BuildCodecError, CodecSpec, ParseCodecError, ZstdLevel};
#[cfg(feature = "c-codecs")]
pub use zstd::Zstd;
