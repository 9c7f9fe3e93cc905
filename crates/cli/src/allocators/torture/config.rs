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

/// What `pagefold torture` does.
#[derive(Debug)]
pub(crate) struct TortureConfig {
    /// One after another; at least one.
    pub pools: Vec<PoolUnderTest>,
    pub threads: NonZeroUsize,
    pub length: Length,
    pub seed: Seed,
    /// The limit of each pool in bytes; `None` leaves it to a trace.
    pub limit: Option<usize>,
    pub mix: Mix,
    /// `None` leaves them to a trace.
    pub faults: Option<Faults>,
    /// The bugs to inject, one run each; empty for sound pools.
    pub injected_bugs: Vec<BugKind>,
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

/// The pool that is tortured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PoolUnderTest {
    Allocator(Allocator),
    /// The reference pool, sound or one of its mutants.
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

/// A bug to inject, by the name that the command gives it.
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
