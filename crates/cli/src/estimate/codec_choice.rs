//! A codec to measure, by its name: `balanced`, `lz4`, `zstd:3`, `zstd:3+dict`, `raw`.

use std::fmt;

use pagefold_codec::CodecSpec;

const DICTIONARY: &str = "+dict";

/// `zstd` without a level.
const ZSTD_DEFAULT: &str = "zstd:3";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CodecChoice {
    pub spec: CodecSpec,
    /// Whether to train a dictionary from the input; zstd only.
    pub dictionary: bool,
}

impl From<CodecSpec> for CodecChoice {
    fn from(spec: CodecSpec) -> Self {
        Self { spec, dictionary: false }
    }
}

impl fmt::Display for CodecChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.spec, if self.dictionary { DICTIONARY } else { "" })
    }
}

pub(crate) fn codec(text: &str) -> Result<CodecChoice, String> {
    let (name, dictionary) = match text.strip_suffix(DICTIONARY) {
        Some(name) => (name, true),
        None => (text, false),
    };
    let name = if name == "zstd" { ZSTD_DEFAULT } else { name };
    let spec = name.parse::<CodecSpec>().map_err(|error| error.to_string())?;
    if dictionary && !takes_dictionary(spec) {
        return Err(format!("{spec} takes no dictionary; zstd:LEVEL{DICTIONARY} does"));
    }
    Ok(CodecChoice { spec, dictionary })
}

/// A setting has a dictionary of its own.
pub(crate) fn takes_dictionary(spec: CodecSpec) -> bool {
    matches!(spec, CodecSpec::Zstd(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_codec_is_printed_as_it_is_parsed() {
        for name in ["balanced", "dense", "lz4", "raw", "zstd:-7", "zstd:1+dict", "zstd:19+dict"] {
            assert_eq!(codec(name).map(|choice| choice.to_string()).as_deref(), Ok(name));
        }
        for wrong in
            ["balanced+dict", "lz4+dict", "raw+dict", "+dict", "zstd:20+dict", "zstd:1+", "lzo"]
        {
            assert!(codec(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn zstd_without_a_level_is_zstds_own_default() {
        assert_eq!(codec("zstd"), codec("zstd:0"));
        assert_eq!(codec("zstd").map(|choice| choice.to_string()).as_deref(), Ok("zstd:3"));
        assert_eq!(
            codec("zstd+dict").map(|choice| choice.to_string()).as_deref(),
            Ok("zstd:3+dict")
        );
    }
}
