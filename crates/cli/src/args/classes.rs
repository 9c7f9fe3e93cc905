//! The arguments of `pagefold classes`.

use std::{ops::RangeInclusive, path::PathBuf};

use clap::{Args, ValueHint};
use pagefold_pool::classes::{ClassConfig, ClassTable};

use crate::{
    allocators::classes::{ClassesConfig, Lengths},
    args::stop::{Stop, wrong},
    bytes,
};

pub(super) const ABOUT: &str = "\
Print the table of size classes of zsmalloc, and what it comes to.

For each class: how large its places are, how many frames a zspage has and how many objects, what is wasted at its \
end, and how many objects lie in two frames. Below it the density, payload / frames, that objects of the given lengths \
have when every zspage is full; and beside it what the rule comes to that the kernel's documentation describes.

With the defaults it is the table of a Linux with pages of 4 KiB and chains of 8. Other pages have other steps: a 256th \
of a page, so --frame 16K and --frame 64K print the tables of kernels with such pages.";

pub(super) const EXAMPLES: &str = "\
Examples:
  pagefold classes
      the table as zram has it by default
  pagefold classes --frame 16K
      the table of a kernel with pages of 16 KiB
  pagefold classes --chain 4 --step 32
      coarser sizes, shorter chains
  pagefold classes --uniform 200..2000
      held against lengths of 200 to 2000 bytes
  pagefold classes --sizes lengths.txt --json
      against your own: LENGTH or LENGTH COUNT on a line

Columns:
  size      bytes of a place; huge: one object has a frame to itself
  from      the least size that is merged into the class
  frames    frames of a zspage of this class
  objects   places in a zspage
  waste     bytes behind the last place
  across    places that lie in two frames
  stored    objects of the given lengths in this class
  density   payload / frames of them";

pub(super) const MORE: &str = "The JSON is described in docs/CLASSES.md.";

#[derive(Debug, Args)]
pub(super) struct ClassesArgs {
    /// From one size to the next, in bytes [default: a 256th of a frame, as in Linux]
    #[arg(long, value_name = "BYTES", value_parser = bytes::parse, allow_negative_numbers = true)]
    step: Option<usize>,

    /// The most frames of a zspage
    #[arg(long, value_name = "FRAMES", default_value_t = 8, allow_negative_numbers = true)]
    chain: u32,

    /// Bytes of a frame, the largest size
    #[arg(long, value_name = "BYTES", default_value = "4096", value_parser = bytes::parse, allow_negative_numbers = true)]
    frame: usize,

    /// The smallest size
    #[arg(long, value_name = "BYTES", default_value = "32", value_parser = bytes::parse, allow_negative_numbers = true)]
    smallest: usize,

    /// What an object carries beside its bytes, unless it has a frame to itself
    #[arg(long, value_name = "BYTES", default_value = "8", value_parser = bytes::parse, allow_negative_numbers = true)]
    header: usize,

    /// Lengths to hold it against, as many of each [default: from the smallest size to a frame]
    #[arg(long, value_name = "FROM..TO", value_parser = range, conflicts_with = "sizes")]
    uniform: Option<RangeInclusive<usize>>,

    /// Lengths to hold it against, from a file: LENGTH or LENGTH COUNT on a line, - for standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    sizes: Option<PathBuf>,

    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Linux has so many steps in a page, whatever its size.
const STEPS_A_FRAME: usize = 256;

/// The longest object that lengths may be asked for. More only counts as too long.
const LEN_MAX: usize = 1 << 20;

fn range(text: &str) -> Result<RangeInclusive<usize>, String> {
    let (from, to) = text.split_once("..").ok_or("write FROM..TO, such as 200..2000")?;
    let (from, to) = (bytes::parse(from)?, bytes::parse(to)?);
    if from == 0 || from > to || to > LEN_MAX {
        return Err(format!("lengths are 1 to {LEN_MAX} bytes, the first no longer than the last"));
    }
    Ok(from..=to)
}

impl ClassesArgs {
    pub(super) fn into_config(self) -> Result<ClassesConfig, Stop> {
        let config = ClassConfig {
            frame_bytes: self.frame,
            smallest: self.smallest,
            step: self.step.unwrap_or((self.frame / STEPS_A_FRAME).max(1)),
            chain_max: self.chain,
            header_bytes: self.header,
        };
        let table = ClassTable::new(config).map_err(|error| wrong(error.to_string()))?;
        let lengths = self.sizes.map_or(Lengths::Uniform(self.uniform), Lengths::File);
        Ok(ClassesConfig { table, lengths, json: self.json })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_both_ends() {
        assert_eq!(range("200..2000"), Ok(200..=2000));
        assert_eq!(range("1..1K"), Ok(1..=1024));
        for wrong in ["", "..", "1..", "..1", "5", "0..3", "4..3", "1..2M", "a..b", "-1..4"] {
            assert!(range(wrong).is_err(), "{wrong}");
        }
    }
}
