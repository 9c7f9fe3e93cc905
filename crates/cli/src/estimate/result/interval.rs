//! Where a ratio lies; [`tally`](super::tally) says how it is computed.

use serde::Serialize;

/// Where a ratio lies with 95 % confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Interval {
    pub low: f64,
    /// `None` where the sample does not bound it.
    pub high: Option<f64>,
}
