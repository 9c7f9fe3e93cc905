//! A confidence interval of a ratio; see [`tally`](super::tally).

use serde::Serialize;

/// The 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Interval {
    pub low: f64,
    /// `None` where the sample does not bound it.
    pub high: Option<f64>,
}
