//! Times of one kind of operation, in short.

use serde::Serialize;

/// Microseconds an operation took; all are `null` in JSON when there was no such operation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    pub p50: Option<f64>,
    pub p99: Option<f64>,
    pub mean: Option<f64>,
}
