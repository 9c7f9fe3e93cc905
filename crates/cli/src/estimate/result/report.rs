//! The whole result of a measurement.

use crate::estimate::{
    error::EstimateError,
    result::{base::BaseSummary, input::InputSummary, row::Row},
};

#[derive(Debug)]
pub(crate) struct EstimateReport {
    pub input: InputSummary,
    /// One per run and phase, in order.
    pub rows: Vec<Row>,
    /// With `--base`.
    pub base: Option<BaseSummary>,
    /// The first page loaded with wrong content.
    pub mismatch: Option<String>,
    /// The error that ended the runs early; earlier rows are valid.
    pub failure: Option<EstimateError>,
    pub interrupted: bool,
}
