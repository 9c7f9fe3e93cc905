//! What `pagefold torture` does.

use std::{fmt, num::NonZeroUsize, path::PathBuf, str::FromStr, time::Duration};

use pagefold_pool::Allocator;
use pagefold_testkit::{
    injected_bug::InjectedBug,
    reference::Mutant,
    seed::Seed,
    torture::{Faults, Mix},
};

use crate::console::Output;

#[derive(Debug)]
pub(crate) struct TortureConfig {
    /// At least one.
    pub pools: Vec<PoolUnderTest>,
    pub threads: NonZeroUsize,
    pub length: Length,
    pub seed: Seed,
    /// Bytes of each pool; `None`: the trace's.
    pub limit: Option<usize>,
    pub mix: Mix,
    /// `None`: the trace's.
    pub faults: Option<Faults>,
    /// One run each; empty for sound pools.
    pub injected_bugs: Vec<BugKind>,
    pub record: Option<PathBuf>,
    pub replay: Option<PathBuf>,
    pub output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// Of all runs together.
    Time(Duration),
    /// Of each run.
    Ops(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PoolUnderTest {
    Allocator(Allocator),
    /// Sound, or a mutant.
    Reference(Option<Mutant>),
}

pub(crate) const ALL: &str = "all";
const REFERENCE: &str = "map";

impl fmt::Display for PoolUnderTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allocator(allocator) => allocator.fmt(f),
            Self::Reference(None) => f.write_str(REFERENCE),
            Self::Reference(Some(mutant)) => write!(f, "{REFERENCE}:{mutant:?}"),
        }
    }
}

impl FromStr for PoolUnderTest {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if name == REFERENCE {
            return Ok(Self::Reference(None));
        }
        if let Some(name) = name.strip_prefix("map:") {
            let found = Mutant::ALL.into_iter().find(|mutant| format!("{mutant:?}") == name);
            return found
                .map(|mutant| Self::Reference(Some(mutant)))
                .ok_or_else(|| format!("the reference pool has no mutant `{name}`"));
        }
        name.parse().map(Self::Allocator).map_err(|error: pagefold_pool::UnknownAllocator| {
            format!("{error}; `{ALL}` for all of them, `{REFERENCE}` for the reference pool")
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BugKind {
    Flip,
    LostFrame,
    Stale,
}

impl BugKind {
    pub(crate) const ALL: [Self; 3] = [Self::Flip, Self::LostFrame, Self::Stale];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Flip => "flip",
            Self::LostFrame => "lost-frame",
            Self::Stale => "stale",
        }
    }

    pub(crate) fn bug(self) -> InjectedBug {
        match self {
            Self::Flip => InjectedBug::FlippedBit,
            Self::LostFrame => InjectedBug::LostFrame,
            Self::Stale => InjectedBug::StaleAccepted,
        }
    }
}
