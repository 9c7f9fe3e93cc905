//! What to measure, and what can go wrong.

use std::{fmt, io, path::PathBuf, str::FromStr};

use clap::ValueEnum;
use pagefold_codec::CodecSpec;
use pagefold_region::{BuildRegionError, FaultMode, RegionBuilder};
use thiserror::Error;

use crate::{
    console::{Output, OutputError},
    exit::Exit,
    interrupt::InterruptError,
};

/// The least data: an eighth of it is the least limit of a region.
pub(crate) const MIB_MIN: usize = 8;

#[derive(Debug)]
pub(crate) struct BenchConfig {
    /// Empty: the generated corpus.
    pub(crate) files: Vec<PathBuf>,
    pub(crate) mib: usize,
    pub(crate) shares: Vec<Share>,
    /// Empty: all.
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) mode: FaultMode,
    /// Of regions; `None`: the one that a store has.
    pub(crate) codec: Option<CodecSpec>,
    /// Without and with a second thread that is busy.
    pub(crate) busy: Vec<bool>,
    /// The algorithm of the peer; `None`: no peer.
    pub(crate) zram: Option<String>,
    pub(crate) output: Output,
}

impl BenchConfig {
    /// Mode and codec.
    pub(crate) fn region(&self, region: RegionBuilder) -> RegionBuilder {
        let region = region.fault_mode(self.mode);
        match self.codec {
            Some(codec) => region.codec(codec),
            None => region,
        }
    }

    pub(crate) fn has(&self, pattern: Pattern) -> bool {
        self.patterns.is_empty() || self.patterns.contains(&pattern)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pattern {
    /// Each page once, in order
    Sequential,
    /// Pages with the same probability
    Random,
    /// The n-th most frequent page 1/n as often as the first
    Zipf,
    /// A hash table of one half that the other half looks up
    Join,
    /// A comparison sort
    Sort,
}

/// A fraction of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    part: u32,
    of: u32,
}

impl Share {
    pub(crate) const DEFAULT: [Self; 3] =
        [Self { part: 1, of: 2 }, Self { part: 1, of: 4 }, Self { part: 1, of: 8 }];
    pub(crate) const QUICK: [Self; 1] = [Self { part: 1, of: 4 }];

    pub(crate) fn bytes(self, whole: usize) -> usize {
        whole / self.of as usize * self.part as usize
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| text.parse::<u32>().ok().filter(|&number| number > 0);
        let found = text.split_once('/').and_then(|(part, of)| Some((number(part)?, number(of)?)));
        match found {
            Some((part, of)) if part <= of && of <= 1024 => Ok(Self { part, of }),
            _ => Err("a fraction such as 1/4, at most 1/1 and at least 1/1024".to_owned()),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.part, self.of)
    }
}

#[derive(Debug, Error)]
pub(crate) enum BenchError {
    #[error("{}: {source}", file.display())]
    Read { file: PathBuf, source: io::Error },
    #[error("the files have {bytes} bytes; {MIB_MIN} MiB are needed")]
    Short { bytes: usize },
    #[error(transparent)]
    Region(#[from] BuildRegionError),
    #[error("{workload} in {place} gave another answer, or left other data, than in memory")]
    Wrong { workload: &'static str, place: &'static str },
    #[error("there is no workload {0}")]
    Workload(String),
    #[error("standard input: {0}")]
    Input(io::Error),
    #[error(transparent)]
    Interrupt(#[from] InterruptError),
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl From<&BenchError> for Exit {
    fn from(error: &BenchError) -> Self {
        match error {
            BenchError::Wrong { .. } => Self::Wrong,
            BenchError::Read { .. } | BenchError::Short { .. } | BenchError::Workload(_) => {
                Self::Usage
            }
            BenchError::Region(_) | BenchError::Input(_) => Self::Failed,
            BenchError::Interrupt(error) => Self::from(error),
            BenchError::Output(error) => Self::from(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_fractions() {
        let quarter: Share = "1/4".parse().unwrap();
        assert_eq!((quarter.bytes(4096), quarter.to_string()), (1024, "1/4".to_owned()));
        assert_eq!("3/8".parse::<Share>().unwrap().bytes(8 << 20), 3 << 20);
        for wrong in ["", "4", "0/4", "1/0", "5/4", "1/2000", "-1/4", "1/4/2"] {
            assert!(wrong.parse::<Share>().is_err(), "{wrong}");
        }
    }
}
