//! Everything that a measurement found.

use crate::estimate::{
    error::EstimateError,
    result::{input::InputSummary, row::Row},
};

/// Everything that was found.
#[derive(Debug)]
pub(crate) struct Report {
    pub input: InputSummary,
    /// In the order of the runs, one for each phase.
    pub rows: Vec<Row>,
    /// The first page that did not come back as it was stored.
    pub mismatch: Option<String>,
    /// Why the runs ended early, if they did; the rows before are good.
    pub failure: Option<EstimateError>,
    /// Whether Ctrl-C cut it short.
    pub interrupted: bool,
}
