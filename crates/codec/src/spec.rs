//! The names of codecs.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// A codec by name: a setting (`fast`, `balanced`, `dense`), `lz4`, `raw`, or `zstd:LEVEL` with a level from -7 to 19.
/// `zstd:0` means `zstd:3`.
///
/// A setting may change with the version, so bytes outlive a process only under the other names. In builds without the
/// feature `c-codecs` each setting builds `lz4`; without `pure-rust` as well, `raw`.
///
/// # Examples
/// ```
/// use pagefold_codec::CodecSpec;
///
/// let spec: CodecSpec = "zstd:-1".parse()?;
/// assert_eq!(spec.to_string(), "zstd:-1");
/// assert_eq!("balanced".parse(), Ok(CodecSpec::Balanced));
/// assert!("zstd".parse::<CodecSpec>().is_err(), "the level is always said");
/// # Ok::<(), pagefold_codec::ParseCodecError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CodecSpec {
    /// The least time: `lz4`.
    Fast,
    /// The best ratio for its time: `zstd:1` with the dictionary `Dictionary::built_in`.
    Balanced,
    /// The best ratio at about three times the time of `zstd:1`: `zstd:5` with the same dictionary.
    Dense,
    /// Copies.
    Raw,
    /// lz4 blocks.
    Lz4,
    /// zstd frames.
    Zstd(ZstdLevel),
}

#[cfg(feature = "c-codecs")]
impl CodecSpec {
    /// The zstd level for clusters. An idle cluster is compressed once and seldom read: settings give it more time.
    pub(crate) fn cluster_level(self) -> Option<ZstdLevel> {
        match self {
            Self::Balanced => Some(ZstdLevel::BALANCED_CLUSTERS),
            Self::Dense => Some(ZstdLevel::DENSE_CLUSTERS),
            other => other.level(),
        }
    }

    /// The zstd level of a level or a setting.
    pub(crate) fn level(self) -> Option<ZstdLevel> {
        match self {
            Self::Zstd(level) => Some(level),
            Self::Balanced => Some(ZstdLevel::BALANCED),
            Self::Dense => Some(ZstdLevel::DENSE),
            Self::Fast | Self::Lz4 | Self::Raw => None,
        }
    }
}

impl fmt::Display for CodecSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fast => f.write_str("fast"),
            Self::Balanced => f.write_str("balanced"),
            Self::Dense => f.write_str("dense"),
            Self::Raw => f.write_str("raw"),
            Self::Lz4 => f.write_str("lz4"),
            Self::Zstd(level) => write!(f, "zstd:{}", level.get()),
        }
    }
}

impl FromStr for CodecSpec {
    type Err = ParseCodecError;

    fn from_str(name: &str) -> Result<Self, ParseCodecError> {
        match (name, name.split_once(':')) {
            ("fast", _) => Ok(Self::Fast),
            ("balanced", _) => Ok(Self::Balanced),
            ("dense", _) => Ok(Self::Dense),
            ("raw", _) => Ok(Self::Raw),
            ("lz4", _) => Ok(Self::Lz4),
            ("zstd", _) | (_, Some(("zstd", ""))) => Err(ParseCodecError::LevelMissing),
            (_, Some(("zstd", level))) => {
                let parsed = level.parse().ok().and_then(ZstdLevel::new);
                parsed
                    .map(Self::Zstd)
                    .ok_or_else(|| ParseCodecError::LevelInvalid { level: level.to_owned() })
            }
            (_, Some((codec @ ("fast" | "balanced" | "dense" | "raw" | "lz4"), _))) => {
                Err(ParseCodecError::LevelNotTaken { codec: codec.to_owned() })
            }
            _ => Err(ParseCodecError::Unknown { name: name.to_owned() }),
        }
    }
}

/// A zstd compression level from -7 (fastest) to 19 (densest).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ZstdLevel(i8);

impl ZstdLevel {
    /// The fastest level; lz4 is both faster and denser.
    pub const MIN: i32 = -7;
    /// The densest level; higher ones only enlarge the window.
    pub const MAX: i32 = 19;
    const DEFAULT: i8 = 3;
    #[cfg(feature = "c-codecs")]
    const BALANCED: Self = Self(1);
    #[cfg(feature = "c-codecs")]
    const DENSE: Self = Self(5);
    #[cfg(feature = "c-codecs")]
    const BALANCED_CLUSTERS: Self = Self(5);
    #[cfg(feature = "c-codecs")]
    const DENSE_CLUSTERS: Self = Self(12);

    /// The level, if it is in [`MIN`](Self::MIN) to [`MAX`](Self::MAX). 0 becomes zstd's default, 3.
    pub fn new(level: i32) -> Option<Self> {
        match i8::try_from(level).ok()? {
            0 => Some(Self(Self::DEFAULT)),
            small if (Self::MIN..=Self::MAX).contains(&level) => Some(Self(small)),
            _ => None,
        }
    }

    /// The level; never 0.
    pub fn get(self) -> i32 {
        self.0.into()
    }
}

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseCodecError {
    /// No codec has this name.
    #[error(
        "unknown codec `{name}`; known are fast, balanced, dense, lz4, raw, and zstd:LEVEL with LEVEL from -7 to 19"
    )]
    Unknown {
        /// The name given.
        name: String,
    },
    /// `zstd` without a level.
    #[error("zstd needs a level: write zstd:LEVEL with LEVEL from -7 to 19, for example zstd:-1")]
    LevelMissing,
    /// Not a number, or out of range.
    #[error("`{level}` is not a zstd level; write zstd:LEVEL with LEVEL from -7 to 19")]
    LevelInvalid {
        /// The text after the colon.
        level: String,
    },
    /// Only zstd has levels.
    #[error("{codec} takes no level; write just {codec}")]
    LevelNotTaken {
        /// The codec's name.
        codec: String,
    },
}

/// Why a codec could not be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BuildCodecError {
    /// The codec was left out at compile time.
    #[error(
        "{codec} is not in this build; build with the feature `c-codecs`, or use {}",
        IN_THIS_BUILD
    )]
    NotInThisBuild {
        /// The codec.
        codec: CodecSpec,
    },
    /// Only zstd has dictionaries.
    #[error("{codec} takes no dictionary; use balanced or zstd:LEVEL, or build it without one")]
    NoDictionary {
        /// The codec.
        codec: CodecSpec,
    },
    /// No memory for the contexts.
    #[error("there is no memory for the contexts of {codec}")]
    OutOfMemory {
        /// The codec.
        codec: CodecSpec,
    },
    /// The codec's library refuses the parameters.
    #[error(
        "the linked library refuses the parameters of {codec} ({reason}); link the one that comes with the crate"
    )]
    Refused {
        /// The codec.
        codec: CodecSpec,
        /// The library's message.
        reason: &'static str,
    },
}

const IN_THIS_BUILD: &str =
    if cfg!(any(feature = "c-codecs", feature = "pure-rust")) { "lz4 or raw" } else { "raw" };

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str) -> Result<CodecSpec, ParseCodecError> {
        name.parse()
    }

    #[test]
    fn every_name_is_printed_as_it_is_parsed() {
        let levels = (-7..=19).filter(|&level| level != 0).map(|level| format!("zstd:{level}"));
        let others = ["fast", "balanced", "dense", "raw", "lz4"];
        for name in others.map(str::to_owned).into_iter().chain(levels) {
            assert_eq!(parse(&name).map(|spec| spec.to_string()).as_ref(), Ok(&name));
        }
    }

    #[test]
    fn level_0_is_the_default_level() {
        assert_eq!(parse("zstd:0"), parse("zstd:3"));
        assert_eq!(parse("zstd:0").map(|spec| spec.to_string()).as_deref(), Ok("zstd:3"));
    }

    #[test]
    fn a_bad_level_names_the_range() {
        for level in ["-8", "20", "259", "-2147483649", "x", "1.5", " 1", "1:2"] {
            let error = parse(&format!("zstd:{level}")).unwrap_err();
            assert_eq!(error, ParseCodecError::LevelInvalid { level: level.to_owned() });
            assert!(error.to_string().contains("from -7 to 19"), "{error}");
        }
        for name in ["zstd", "zstd:"] {
            assert_eq!(parse(name), Err(ParseCodecError::LevelMissing));
        }
        assert!(ParseCodecError::LevelMissing.to_string().contains("zstd:LEVEL"));
        for codec in ["lz4", "balanced"] {
            let refused = ParseCodecError::LevelNotTaken { codec: codec.to_owned() };
            assert_eq!(parse(&format!("{codec}:1")), Err(refused));
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        for name in ["", "lzo", "LZ4", "lz4 ", ":", "gzip:1"] {
            let text = parse(name).unwrap_err().to_string();
            for known in ["fast", "balanced", "dense", "lz4", "raw", "zstd:LEVEL", "-7 to 19"] {
                assert!(text.contains(known), "{text}");
            }
        }
    }
}
