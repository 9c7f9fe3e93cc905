//! Times of one kind of operation.

use serde::Serialize;

/// Microseconds per operation; all are `null` in JSON without any such operation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    pub p50: Option<f64>,
    pub p99: Option<f64>,
    pub mean: Option<f64>,
}
