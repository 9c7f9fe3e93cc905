//! The report as one HTML page: the verdict, charts, tables, and how it was measured.
//!
//! A content policy forbids scripts and all foreign content. The page follows the reader's theme, fits a phone, and
//! prints. Every chart has a description and a table of the same figures.
//!
//! ```text
//! EstimateReport, Settings --page--> Markup --> one string --destination--> file
//! ```

mod charts;
mod date;
mod destination;
mod figure;
mod markup;
mod page;
mod plot;
mod processes;
mod settings;

pub(crate) use self::{destination::Destination, settings::Settings};

use crate::estimate::result::report::EstimateReport;

pub(crate) fn render(report: &EstimateReport, settings: &Settings) -> String {
    page::page(report, settings).into_document()
}

#[cfg(test)]
#[path = "html/html_tests.rs"]
mod tests;
