//! A confidence interval of a ratio; [`tally`](super::tally) says how it is computed.

use serde::Serialize;

/// A ratio's interval with 95 % confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Interval {
    pub low: f64,
    /// `None` where the sample does not bound it.
    pub high: Option<f64>,
}
