//! Operation times.

use serde::Serialize;

/// Microseconds; `null` in JSON without operations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    pub p50: Option<f64>,
    pub p99: Option<f64>,
    pub mean: Option<f64>,
}
