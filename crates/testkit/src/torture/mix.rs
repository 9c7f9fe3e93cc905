//! Weights of a run's operations.

use std::{fmt, str::FromStr};

use thiserror::Error;

macro_rules! operations {
    ($($variant:ident $name:literal $weight:literal $doc:literal;)*) => {
        /// A kind of operation.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Operation {
            $(#[doc = $doc] $variant,)*
        }

        impl Operation {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$variant),*];
            const DEFAULT: &[u32] = &[$($weight),*];

            /// The name in a mix.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

operations! {
    Alloc "alloc" 180 "An object is stored, or allocated as zeros and then written.";
    Free "free" 160 "An object is freed, now and then by several at once.";
    Write "write" 150 "An object gets other bytes.";
    Read "read" 436 "An object is read and verified, now and then held open while other operations go on.";
    Stale "stale" 40 "The handle of a freed object is used, and must be refused.";
    Compact "compact" 7 "Some compaction.";
    Migrate "migrate" 16 "The frames of an object move.";
    Reclaim "reclaim" 4 "Objects are evicted by the pool's own order.";
    AllocContiguous "alloc-contiguous" 4 "A contiguous range of frames is allocated, or freed.";
    Trim "trim" 1 "What is free goes back to the system.";
    Limit "limit" 1 "The limit is lowered, or raised again.";
    Stats "stats" 2 "The accounts are compared with the limit.";
}

/// Weights of the operations. The fixed phases of a cycle also need weights.
///
/// # Examples
/// ```
/// use pagefold_testkit::torture::{Mix, Operation};
///
/// let mix: Mix = "alloc=30,free=25,read=45".parse()?;
/// assert_eq!(mix.weight(Operation::Read), 45);
/// assert_eq!(mix.weight(Operation::Compact), 0);
/// assert!("alloc=30,fly=1".parse::<Mix>().is_err());
/// # Ok::<(), pagefold_testkit::torture::InvalidMix>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mix {
    weights: Vec<u32>,
    sum: u32,
}

const WEIGHT_MAX: u32 = 1_000_000;

/// Why a text is no mix.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidMix {
    /// A part that is not `NAME=WEIGHT`.
    #[error("`{part}` is no part of a mix; write NAME=WEIGHT, as in alloc=30,read=70")]
    Part {
        /// The part.
        part: String,
    },
    /// An unknown operation.
    #[error("no operation is called `{name}`; there are: {}", names())]
    Unknown {
        /// The name.
        name: String,
    },
    /// A repeated name.
    #[error("`{name}` has two weights")]
    Twice {
        /// The name.
        name: String,
    },
    /// An invalid weight.
    #[error("`{weight}` is no weight; give a whole number from 0 to {WEIGHT_MAX}")]
    Weight {
        /// The weight.
        weight: String,
    },
    /// Nothing would be stored.
    #[error("a mix needs a weight for `alloc`; without objects there is nothing to do")]
    NoAlloc,
}

fn names() -> String {
    Operation::ALL.iter().map(|operation| operation.name()).collect::<Vec<_>>().join(", ")
}

impl Default for Mix {
    fn default() -> Self {
        Self::new(Operation::DEFAULT.to_vec())
    }
}

impl Mix {
    fn new(weights: Vec<u32>) -> Self {
        let sum = weights.iter().sum();
        Self { weights, sum }
    }

    /// An operation's weight.
    pub fn weight(&self, operation: Operation) -> u32 {
        self.weights[operation as usize]
    }

    /// Whether an operation is done at all.
    pub fn has(&self, operation: Operation) -> bool {
        self.weight(operation) > 0
    }

    pub(crate) fn sum(&self) -> u32 {
        self.sum
    }

    pub(crate) fn pick(&self, mut ticket: u32) -> Operation {
        for (operation, weight) in Operation::ALL.iter().zip(&self.weights) {
            if ticket < *weight {
                return *operation;
            }
            ticket -= weight;
        }
        Operation::Alloc
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for operation in Operation::ALL.iter().filter(|operation| self.has(**operation)) {
            let comma = if first { "" } else { "," };
            write!(f, "{comma}{}={}", operation.name(), self.weight(*operation))?;
            first = false;
        }
        Ok(())
    }
}

impl FromStr for Mix {
    type Err = InvalidMix;

    fn from_str(text: &str) -> Result<Self, InvalidMix> {
        let mut weights: Vec<Option<u32>> = vec![None; Operation::ALL.len()];
        for part in text.split(',').map(str::trim) {
            let (name, weight) =
                part.split_once('=').ok_or_else(|| InvalidMix::Part { part: part.to_owned() })?;
            let operation = Operation::ALL.iter().find(|operation| operation.name() == name);
            let operation =
                operation.ok_or_else(|| InvalidMix::Unknown { name: name.to_owned() })?;
            let parsed = weight.parse().ok().filter(|weight| *weight <= WEIGHT_MAX);
            let parsed = parsed.ok_or_else(|| InvalidMix::Weight { weight: weight.to_owned() })?;
            if weights[*operation as usize].replace(parsed).is_some() {
                return Err(InvalidMix::Twice { name: name.to_owned() });
            }
        }
        let mix = Self::new(weights.into_iter().map(Option::unwrap_or_default).collect());
        if mix.has(Operation::Alloc) { Ok(mix) } else { Err(InvalidMix::NoAlloc) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_round_trips() {
        let default = Mix::default();
        assert_eq!(default.to_string().parse(), Ok(default));
        let few: Mix = "read=2, alloc=1,trim=0".parse().expect("a mix");
        assert_eq!(few.to_string(), "alloc=1,read=2");
    }

    #[test]
    fn tickets_are_spread_by_weight() {
        let mix: Mix = "alloc=1,read=3".parse().expect("a mix");
        let picked: Vec<_> = (0..mix.sum()).map(|ticket| mix.pick(ticket)).collect();
        assert_eq!(picked, [Operation::Alloc, Operation::Read, Operation::Read, Operation::Read]);
    }

    #[test]
    fn each_mistake_is_named() {
        for (text, words) in [
            ("", "NAME=WEIGHT"),
            ("alloc", "NAME=WEIGHT"),
            ("alloc=1,", "NAME=WEIGHT"),
            ("alloc=1,fly=2", "there are: alloc, free"),
            ("alloc=1,alloc=2", "two weights"),
            ("alloc=-1", "whole number"),
            ("alloc=1.5", "whole number"),
            ("alloc=1000001", "whole number"),
            ("alloc=0,read=0", "alloc"),
            ("read=7", "alloc"),
        ] {
            let error = text.parse::<Mix>().expect_err(text).to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
