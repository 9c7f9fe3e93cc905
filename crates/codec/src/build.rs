//! Builds codecs from names.

use crate::{BuildCodecError, Codec, CodecSpec, Raw};
#[cfg(feature = "c-codecs")]
use crate::{Dictionary, zstd_bindings::Form};

impl CodecSpec {
    /// Makes the codec.
    ///
    /// # Errors
    /// [`BuildCodecError`] when the codec was left out at compile time or its contexts cannot be made.
    pub fn build(self) -> Result<Box<dyn Codec>, BuildCodecError> {
        match self {
            Self::Raw => Ok(Box::new(Raw)),
            #[cfg(feature = "c-codecs")]
            Self::Lz4 | Self::Fast => Ok(Box::new(crate::Lz4::new())),
            #[cfg(all(feature = "pure-rust", not(feature = "c-codecs")))]
            Self::Lz4 | Self::Fast | Self::Balanced | Self::Dense => {
                Ok(Box::new(crate::Lz4Pure::new()))
            }
            #[cfg(not(any(feature = "pure-rust", feature = "c-codecs")))]
            Self::Fast | Self::Balanced | Self::Dense => Ok(Box::new(Raw)),
            #[cfg(feature = "c-codecs")]
            Self::Zstd(_) | Self::Balanced | Self::Dense => {
                Ok(Box::new(crate::Zstd::of_setting(self, Form::Pages)?))
            }
            #[cfg(not(feature = "c-codecs"))]
            codec => Err(BuildCodecError::NotInThisBuild { codec }),
        }
    }

    /// Makes the codec for clusters: inputs of several pages, of which
    /// [`decompress_start`](Codec::decompress_start) restores the first without the others.
    ///
    /// zstd compresses blocks of 4 KiB, each with those before it as its history. `balanced` is `zstd:5` here and
    /// `dense` is `zstd:12`, both with `Dictionary::built_in`, and both can be trained. The output is not that of
    /// [`build`](Self::build), except of `lz4` and `raw`.
    ///
    /// # Errors
    /// As for [`build`](Self::build).
    ///
    /// # Examples
    /// ```
    /// use pagefold_codec::CodecSpec;
    ///
    /// let codec = CodecSpec::for_idle_pages().build_for_clusters()?;
    /// let cluster: Vec<u8> = (0..16 << 10).map(|at: u32| (at / 16 % 200) as u8).collect();
    /// let mut compressed = vec![0; cluster.len()];
    /// let len = codec.compress(&cluster, &mut compressed).ok_or("no room")?;
    ///
    /// let mut back = vec![0; cluster.len()];
    /// let restored = codec.decompress_start(&compressed[..len], &mut back, 4096)?;
    /// assert!(restored >= 4096);
    /// assert_eq!(back[..4096], cluster[..4096]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn build_for_clusters(self) -> Result<Box<dyn Codec>, BuildCodecError> {
        match self {
            #[cfg(feature = "c-codecs")]
            Self::Zstd(_) | Self::Balanced | Self::Dense => {
                Ok(Box::new(crate::Zstd::of_setting(self, Form::Clusters)?))
            }
            other => other.build(),
        }
    }

    /// The codec for idle pages, in clusters: the densest in this build.
    pub fn for_idle_pages() -> Self {
        Self::Dense
    }
}

#[cfg(feature = "c-codecs")]
impl CodecSpec {
    /// As [`build`](Self::build), with a dictionary: for zstd, and for settings of zstd in place of the built-in one.
    ///
    /// # Errors
    /// [`BuildCodecError`]; `NoDictionary` for other codecs.
    pub fn build_with_dictionary(
        self,
        dictionary: &Dictionary,
    ) -> Result<Box<dyn Codec>, BuildCodecError> {
        match self.level() {
            Some(_) => Ok(Box::new(crate::Zstd::of(self, Some(dictionary))?)),
            None => Err(BuildCodecError::NoDictionary { codec: self }),
        }
    }

    /// As [`build`](Self::build), with a [`Dictionary`] trained from a few hundred random `pages`, if it makes them
    /// shorter; [`Dictionary::train_for`](Dictionary::train_for) gives the dictionary itself.
    ///
    /// # Errors
    /// As for `build`. Pages that yield no dictionary give a codec without one.
    ///
    /// # Examples
    /// ```
    /// use pagefold_codec::CodecSpec;
    ///
    /// let word = |number: u32| format!("{:08x} ", (number % 900).wrapping_mul(2_654_435_761));
    /// let mixed = |number: u32| number.wrapping_mul(0x9E37_79B9) >> 8;
    /// let page = |number: u32| (0..450).map(|at| word(mixed(number * 450 + at))).collect::<String>();
    /// let seen: Vec<String> = (0..400).map(page).collect();
    ///
    /// let spec = "zstd:1".parse::<CodecSpec>()?;
    /// let fit = spec.build_for(seen.iter().map(String::as_bytes))?;
    /// let new = page(1000);
    /// let shorter = fit.compress(new.as_bytes(), &mut [0; 4096]).ok_or("it compresses")?;
    /// let plain = spec.build()?.compress(new.as_bytes(), &mut [0; 4096]).ok_or("as well")?;
    /// assert!(shorter < plain);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn build_for<'p>(
        self,
        pages: impl IntoIterator<Item = &'p [u8]>,
    ) -> Result<Box<dyn Codec>, BuildCodecError> {
        let longest = Dictionary::BYTES_MAX;
        match Dictionary::train_for(self, pages, longest) {
            Ok(Some(dictionary)) => self.build_with_dictionary(&dictionary),
            Ok(None) | Err(_) => self.build(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str) -> Result<CodecSpec, crate::ParseCodecError> {
        name.parse()
    }

    #[test]
    fn what_is_not_in_the_build_says_so() {
        let zstd = parse("zstd:1").unwrap().build().map(|codec| codec.name().to_owned());
        if cfg!(feature = "c-codecs") {
            assert_eq!(zstd.as_deref(), Ok("zstd:1"));
        } else {
            let text = zstd.unwrap_err().to_string();
            assert!(
                text.starts_with("zstd:1 is not in this build") && text.contains("raw"),
                "{text}"
            );
        }
        for name in ["fast", "balanced", "dense"] {
            let built = parse(name).unwrap().build().map(|codec| codec.name().to_owned());
            let expected = match (cfg!(feature = "c-codecs"), cfg!(feature = "pure-rust")) {
                (true, _) if name != "fast" => name,
                (false, false) => "raw",
                _ => "lz4",
            };
            assert_eq!(built.as_deref(), Ok(expected));
        }
        let lz4 = parse("lz4").unwrap().build();
        assert_eq!(lz4.is_ok(), cfg!(any(feature = "c-codecs", feature = "pure-rust")));
    }
}
