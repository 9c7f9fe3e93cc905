//! `--like zram` and `--like zswap`: the codecs and the packing of this kernel's compressed memory.
//!
//! Reads `/sys/block/zram*/comp_algorithm`, `/sys/module/zswap/parameters/` and, where these list no algorithms,
//! `/proc/crypto`. Sources: *zram: Compressed RAM-based block devices* and *zswap* in the kernel's
//! administration guide. An algorithm without a codec is named but not measured: decision 0045.

use std::{fs, path::Path};

use clap::ValueEnum;
use pagefold_codec::{CodecSpec, ZstdLevel};
use pagefold_pool::Allocator;
use serde::Serialize;

/// The compressors among the entries of `/proc/crypto`.
const COMPRESSORS: [&str; 7] = ["lzo-rle", "lzo", "lz4", "lz4hc", "zstd", "deflate", "842"];

const ZSTD_LEVEL: i32 = 3;

/// A part of the kernel that compresses memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Like {
    /// A block device in memory, mostly for swap
    Zram,
    /// A cache before a swap device
    Zswap,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Algorithm {
    pub name: String,
    /// Whether it is in use.
    pub in_use: bool,
    /// The corresponding codec, if built in.
    #[serde(serialize_with = "codec_name")]
    pub codec: Option<CodecSpec>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Algorithms {
    pub kernel: Like,
    /// The file that lists the algorithms.
    pub source: Option<String>,
    pub algorithms: Vec<Algorithm>,
    /// The kernel's allocator, if named.
    pub zpool: Option<String>,
    /// Whether it is on, if known.
    pub enabled: Option<bool>,
}

#[expect(clippy::ref_option, reason = "the form that serde wants")]
fn codec_name<S: serde::Serializer>(codec: &Option<CodecSpec>, to: S) -> Result<S::Ok, S::Error> {
    codec.map(|codec| codec.to_string()).serialize(to)
}

impl Like {
    pub(crate) fn algorithms(self) -> Algorithms {
        self.read(Path::new("/"))
    }

    pub(crate) fn allocator(self) -> Allocator {
        self.algorithms().allocator()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Zram => "zram",
            Self::Zswap => "zswap",
        }
    }

    /// A missing file leaves only its own facts out.
    fn read(self, root: &Path) -> Algorithms {
        let (mut source, mut algorithms) = (None, Vec::new());
        let text = |path: &str| fs::read_to_string(root.join(path)).ok();
        let parameter = |name: &str| text(&format!("sys/module/zswap/parameters/{name}"));
        match self {
            Self::Zram => {
                if let Some((path, list)) = zram_list(root) {
                    (source, algorithms) = (Some(path), bracketed(&list));
                }
            }
            Self::Zswap => {
                let compressor = parameter("compressor").map(|name| name.trim().to_owned());
                algorithms.extend(compressor.into_iter().map(|name| algorithm(&name, true)));
                source = (!algorithms.is_empty())
                    .then(|| "/sys/module/zswap/parameters/compressor".to_owned());
            }
        }
        // zswap names only the current algorithm.
        if (self == Self::Zswap || algorithms.is_empty())
            && let Some(crypto) = text("proc/crypto")
        {
            let loaded = loaded(&crypto);
            source = source.or_else(|| (!loaded.is_empty()).then(|| "/proc/crypto".to_owned()));
            for name in loaded {
                if algorithms.iter().all(|known: &Algorithm| known.name != name) {
                    algorithms.push(algorithm(name, false));
                }
            }
        }
        let zswap = self == Self::Zswap;
        let zpool = parameter("zpool").filter(|_| zswap).map(|name| name.trim().to_owned());
        let enabled = parameter("enabled").filter(|_| zswap).map(|text| text.trim() == "Y");
        Algorithms { kernel: self, source, algorithms, zpool, enabled }
    }
}

impl Algorithms {
    /// In the kernel's order; lz4 if none is built in.
    pub(crate) fn codecs(&self) -> Vec<CodecSpec> {
        let mut codecs: Vec<_> =
            self.algorithms.iter().filter_map(|algorithm| algorithm.codec).collect();
        if codecs.is_empty() {
            codecs.push(CodecSpec::Lz4);
        }
        codecs
    }

    fn allocator(&self) -> Allocator {
        match self.zpool.as_deref() {
            Some("zbud") => Allocator::zbud(),
            _ => Allocator::zsmalloc(),
        }
    }

    pub(crate) fn describe(&self) -> String {
        let (kernel, packing) = (self.kernel.name(), self.allocator().name());
        let mut text = match &self.source {
            Some(source) => format!("Like {kernel}: {packing}, codecs by {source}."),
            None => {
                format!("Like {kernel}: {packing}; this kernel does not say which codecs it has.")
            }
        };
        let missing: Vec<_> = self
            .algorithms
            .iter()
            .filter(|algorithm| algorithm.codec.is_none())
            .map(|algorithm| {
                let remark = if algorithm.in_use { " (the one in use)" } else { "" };
                format!("{}{remark}", algorithm.name)
            })
            .collect();
        if !missing.is_empty() {
            text += &format!("\nNot built in, so not measured: {}.", missing.join(", "));
        }
        if self.algorithms.iter().all(|algorithm| algorithm.codec.is_none()) {
            text += "\nlz4 was measured in their place.";
        }
        match self.zpool.as_deref() {
            None | Some("zsmalloc" | "zbud") => {}
            Some(other) => text += &format!("\nThe allocator in use, {other}, is not built in."),
        }
        if self.enabled == Some(false) {
            text += &format!("\n{kernel} is switched off on this system.");
        }
        text
    }
}

/// The first zram device, by number.
fn zram_list(root: &Path) -> Option<(String, String)> {
    let entries = fs::read_dir(root.join("sys/block")).ok()?;
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let number = |name: String| name.strip_prefix("zram")?.parse::<u32>().ok();
    let first = names.filter_map(number).min()?;
    let path = format!("sys/block/zram{first}/comp_algorithm");
    let list = fs::read_to_string(root.join(&path)).ok()?;
    Some((format!("/{path}"), list))
}

/// Reads `lzo [lz4] zstd`.
fn bracketed(list: &str) -> Vec<Algorithm> {
    let one = |word: &str| {
        let name = word.strip_prefix('[').and_then(|word| word.strip_suffix(']'));
        algorithm(name.unwrap_or(word), name.is_some())
    };
    list.split_whitespace().map(one).collect()
}

fn loaded(crypto: &str) -> Vec<&'static str> {
    let names = crypto.lines().filter_map(|line| line.strip_prefix("name")?.split_once(':'));
    let names: Vec<_> = names.map(|(_, name)| name.trim()).collect();
    COMPRESSORS.into_iter().filter(|known| names.contains(known)).collect()
}

fn algorithm(name: &str, in_use: bool) -> Algorithm {
    let codec = match name {
        "lz4" => Some(CodecSpec::Lz4),
        "zstd" => ZstdLevel::new(ZSTD_LEVEL).map(CodecSpec::Zstd),
        _ => None,
    };
    Algorithm { name: name.to_owned(), in_use, codec }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a temporary directory");
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a directory")).expect("created");
            fs::write(path, content).expect("written");
        }
        root
    }

    fn names(algorithms: &Algorithms) -> Vec<&str> {
        algorithms.algorithms.iter().map(|algorithm| algorithm.name.as_str()).collect()
    }

    #[test]
    fn zram_lists_what_it_was_built_with_and_brackets_what_it_uses() {
        let root = system(&[
            ("sys/block/zram10/comp_algorithm", "[842] \n"),
            ("sys/block/zram2/comp_algorithm", "lzo-rle [lz4] lz4hc zstd\n"),
            ("sys/block/sda/size", "1"),
        ]);
        let found = Like::Zram.read(root.path());
        assert_eq!(names(&found), ["lzo-rle", "lz4", "lz4hc", "zstd"]);
        assert_eq!(found.source.as_deref(), Some("/sys/block/zram2/comp_algorithm"));
        let codecs: Vec<_> = found.codecs().iter().map(ToString::to_string).collect();
        assert_eq!(codecs, ["lz4", "zstd:3"]);
        assert!(found.algorithms[1].in_use && !found.algorithms[0].in_use);
        let text = found.describe();
        assert!(
            text.contains("not measured: lzo-rle, lz4hc.") && !text.contains("in their place"),
            "{text}"
        );
    }

    #[test]
    fn without_a_device_the_loaded_compressors_count() {
        let crypto = "name         : sha256\ntype         : shash\n\nname         : zstd\ndriver       : zstd-scomp\n\n\
            name         : lzo-rle\n\nname         : zstd\n";
        let root = system(&[("proc/crypto", crypto)]);
        let found = Like::Zram.read(root.path());
        assert_eq!(names(&found), ["lzo-rle", "zstd"]);
        assert_eq!(found.source.as_deref(), Some("/proc/crypto"));
    }

    #[test]
    fn zswap_says_which_one_it_takes_and_what_packs_for_it() {
        let parameters = |name: &str| format!("sys/module/zswap/parameters/{name}");
        let files = [
            (parameters("compressor"), "lz4\n"),
            (parameters("zpool"), "zbud\n"),
            (parameters("enabled"), "N\n"),
            ("proc/crypto".to_owned(), "name : lz4\n\nname : zstd\n"),
        ];
        let root = system(&files.each_ref().map(|(path, text)| (path.as_str(), *text)));
        let found = Like::Zswap.read(root.path());
        assert_eq!(names(&found), ["lz4", "zstd"]);
        assert_eq!((found.allocator(), found.enabled), (Allocator::zbud(), Some(false)));
        assert!(found.describe().contains("switched off"), "{}", found.describe());
        assert_eq!(Like::Zram.read(root.path()).zpool, None, "that is zswap's");
    }

    #[test]
    fn a_kernel_with_none_of_our_codecs_or_none_at_all_is_said_to_be_so() {
        let root = system(&[("sys/block/zram0/comp_algorithm", "[lzo-rle] lzo\n")]);
        let found = Like::Zram.read(root.path());
        assert_eq!(found.codecs(), [CodecSpec::Lz4]);
        let text = found.describe();
        assert!(
            text.contains("lzo-rle (the one in use), lzo") && text.contains("in their place"),
            "{text}"
        );

        let nothing = Like::Zswap.read(system(&[]).path());
        assert_eq!((nothing.codecs(), nothing.source.as_deref()), (vec![CodecSpec::Lz4], None));
        assert!(nothing.describe().contains("does not say"), "{}", nothing.describe());
    }
}
