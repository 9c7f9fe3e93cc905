//! The whole result of a measurement.

use crate::estimate::{
    error::EstimateError,
    result::{input::InputSummary, row::Row},
};

#[derive(Debug)]
pub(crate) struct EstimateReport {
    pub input: InputSummary,
    /// In the order of the runs, one per phase.
    pub rows: Vec<Row>,
    /// The first page that a load returned with wrong content.
    pub mismatch: Option<String>,
    /// The error that ended the runs early; the rows before it are valid.
    pub failure: Option<EstimateError>,
    /// Whether Ctrl-C ended the runs.
    pub interrupted: bool,
}
