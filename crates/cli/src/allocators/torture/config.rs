//! What `pagefold torture` does.

use std::{fmt, num::NonZeroUsize, path::PathBuf, str::FromStr, time::Duration};

use pagefold_pool::Allocator;
use pagefold_testkit::{
    canary::Fault,
    reference::Flaw,
    seed::Seed,
    torture::{Faults, Mix},
};

use crate::console::Output;

/// What `pagefold torture` does.
#[derive(Debug)]
pub(crate) struct TortureConfig {
    /// One after another; at least one.
    pub subjects: Vec<Subject>,
    pub threads: NonZeroUsize,
    pub length: Length,
    pub seed: Seed,
    /// The limit of each pool in bytes; `None` leaves it to a trace.
    pub limit: Option<usize>,
    pub mix: Mix,
    /// `None` leaves them to a trace.
    pub faults: Option<Faults>,
    /// The faults to plant, one run each; empty for sound pools.
    pub canaries: Vec<CanaryKind>,
    pub record: Option<PathBuf>,
    pub replay: Option<PathBuf>,
    pub output: Output,
}

/// How long a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// All runs together.
    Time(Duration),
    /// Each run.
    Ops(u64),
}

/// What is tortured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Allocator(Allocator),
    /// The reference pool, sound or with a flaw.
    Reference(Option<Flaw>),
}

pub(crate) const ALL: &str = "all";
const REFERENCE: &str = "map";

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allocator(allocator) => allocator.fmt(f),
            Self::Reference(None) => f.write_str(REFERENCE),
            Self::Reference(Some(flaw)) => write!(f, "{REFERENCE}:{flaw:?}"),
        }
    }
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if name == REFERENCE {
            return Ok(Self::Reference(None));
        }
        if let Some(name) = name.strip_prefix("map:") {
            let found = Flaw::ALL.into_iter().find(|flaw| format!("{flaw:?}") == name);
            return found
                .map(|flaw| Self::Reference(Some(flaw)))
                .ok_or_else(|| format!("the reference pool has no flaw `{name}`"));
        }
        name.parse().map(Self::Allocator).map_err(|error: pagefold_pool::UnknownAllocator| {
            format!("{error}; `{ALL}` for all of them, `{REFERENCE}` for the reference pool")
        })
    }
}

/// A fault to plant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CanaryKind {
    Flip,
    LostFrame,
    Stale,
}

impl CanaryKind {
    pub(crate) const ALL: [Self; 3] = [Self::Flip, Self::LostFrame, Self::Stale];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Flip => "flip",
            Self::LostFrame => "lost-frame",
            Self::Stale => "stale",
        }
    }

    pub(crate) fn fault(self) -> Fault {
        match self {
            Self::Flip => Fault::FlippedBit,
            Self::LostFrame => Fault::LostFrame,
            Self::Stale => Fault::StaleAccepted,
        }
    }
}
