//! Faults injected into a run.

use std::{fmt, str::FromStr, sync::Arc};

use crate::faulty::{Chance, FaultPlan};
use thiserror::Error;

/// The faults of a run.
///
/// | text | fault |
/// |---|---|
/// | `frame=P` | a grant of memory is refused with this probability |
/// | `frame@K` | each pool's K-th grant, from 1, is refused |
/// | `isolate=P` | a descriptor is found isolated |
/// | `evict=P` | an evictor refuses |
/// | `evict-panic=P` | an evictor panics |
/// | `none` | no faults |
///
/// Faults of memory need the source of [`plan`](Self::plan).
///
/// # Examples
/// ```
/// use pagefold_testkit::torture::Faults;
///
/// let faults: Faults = "frame=0.001,frame@137,isolate=0.01,evict=0.3".parse()?;
/// assert_eq!(faults.to_string(), "frame=0.001,frame@137,isolate=0.01,evict=0.3");
/// assert!("frame=2".parse::<Faults>().is_err());
/// # Ok::<(), pagefold_testkit::torture::InvalidFaults>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    /// Refusals of memory.
    pub frame: Chance,
    /// The one refused grant, from 1.
    pub frame_at: Option<u64>,
    /// Descriptors found isolated.
    pub isolate: Chance,
    /// Refusing evictors.
    pub evict: Chance,
    /// Panicking evictors.
    pub evict_panic: Chance,
}

/// Why a text names no faults.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidFaults {
    /// Neither `NAME=P` nor `frame@K`.
    #[error(
        "`{part}` is no fault; write NAME=PROBABILITY or frame@NUMBER, as in frame=0.001,evict=0.3"
    )]
    Part {
        /// The part.
        part: String,
    },
    /// An unknown fault.
    #[error("no fault is called `{name}`; there are: frame, isolate, evict, evict-panic")]
    Unknown {
        /// The name.
        name: String,
    },
    /// A fault given twice.
    #[error("`{name}` is given twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// An invalid probability.
    #[error("`{number}` is no probability; give a number from 0 to 1")]
    Probability {
        /// The number.
        number: String,
    },
    /// An invalid grant number.
    #[error("`{number}` is no number of a grant; the first one is 1")]
    Number {
        /// The number.
        number: String,
    },
}

impl Faults {
    /// None.
    pub const NONE: Self = Self {
        frame: Chance::NEVER,
        frame_at: None,
        isolate: Chance::NEVER,
        evict: Chance::NEVER,
        evict_panic: Chance::NEVER,
    };

    /// Whether a fault needs a failing source.
    pub fn needs_source(&self) -> bool {
        self.frame != Chance::NEVER || self.isolate != Chance::NEVER || self.frame_at.is_some()
    }

    /// A paused plan for one pool's [`FaultySource`](crate::faulty::FaultySource).
    pub fn plan(&self, seed: u64) -> Arc<FaultPlan> {
        let plan = FaultPlan::new();
        plan.pause(true);
        plan.fail_by_chance(seed, self.frame, self.isolate);
        if let Some(number) = self.frame_at {
            plan.fail(number - 1, 1);
        }
        plan
    }
}

/// Evictors refuse one in 16 times and panic one in 64.
impl Default for Faults {
    fn default() -> Self {
        let chance = |probability| Chance::new(probability).unwrap_or_default();
        Self { evict: chance(1.0 / 16.0), evict_panic: chance(1.0 / 64.0), ..Self::NONE }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |name: &str, chance: Chance| {
            // A chance is exact to 63 bits; texts have fewer digits.
            let rounded = (chance.probability() * 1e12).round() / 1e12;
            (chance != Chance::NEVER).then(|| format!("{name}={rounded}"))
        };
        let parts = [
            show("frame", self.frame),
            self.frame_at.map(|number| format!("frame@{number}")),
            show("isolate", self.isolate),
            show("evict", self.evict),
            show("evict-panic", self.evict_panic),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        f.write_str(if parts.is_empty() { "none" } else { "" })?;
        f.write_str(&parts.join(","))
    }
}

impl FromStr for Faults {
    type Err = InvalidFaults;

    fn from_str(text: &str) -> Result<Self, InvalidFaults> {
        let mut faults = Self::NONE;
        if text == "none" {
            return Ok(faults);
        }
        let mut seen = Vec::new();
        for part in text.split(',').map(str::trim) {
            let name = part.split(['=', '@']).next().unwrap_or_default();
            let mark = &part[..part.len().min(name.len() + 1)];
            let value = &part[mark.len()..];
            if mark == name {
                return Err(InvalidFaults::Part { part: part.to_owned() });
            }
            if seen.contains(&mark) {
                return Err(InvalidFaults::Twice { name: name.to_owned() });
            }
            seen.push(mark);
            let chance = || {
                let parsed = value.parse().ok().and_then(Chance::new);
                parsed.ok_or_else(|| InvalidFaults::Probability { number: value.to_owned() })
            };
            match mark {
                "frame=" => faults.frame = chance()?,
                "isolate=" => faults.isolate = chance()?,
                "evict=" => faults.evict = chance()?,
                "evict-panic=" => faults.evict_panic = chance()?,
                "frame@" => {
                    let number = value.parse().ok().filter(|number| *number > 0);
                    let missing = || InvalidFaults::Number { number: value.to_owned() };
                    faults.frame_at = Some(number.ok_or_else(missing)?);
                }
                _ if mark.ends_with('@') => {
                    return Err(InvalidFaults::Part { part: part.to_owned() });
                }
                _ => return Err(InvalidFaults::Unknown { name: name.to_owned() }),
            }
        }
        Ok(faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_round_trip() {
        for text in ["none", "frame=0.001,frame@137,isolate=0.01,evict=0.3,evict-panic=1"] {
            assert_eq!(text.parse::<Faults>().expect("faults").to_string(), text);
        }
        let default = Faults::default();
        assert_eq!(default.to_string().parse(), Ok(default));
    }

    #[test]
    fn each_mistake_is_named() {
        for (text, words) in [
            ("", "no fault"),
            ("frame", "NAME=PROBABILITY"),
            ("frame=0.1,none", "NAME=PROBABILITY"),
            ("frame=", "probability"),
            ("frame=1.5", "from 0 to 1"),
            ("frame=-1", "from 0 to 1"),
            ("frame=NaN", "from 0 to 1"),
            ("frame@0", "the first one is 1"),
            ("frame@x", "the first one is 1"),
            ("isolate@3", "NAME=PROBABILITY"),
            ("evict=0.1,evict=0.2", "twice"),
            ("disk=0.1", "there are: frame"),
        ] {
            let error = text.parse::<Faults>().expect_err(text).to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
