//! The report as one HTML page: the verdict, charts, tables, and how it was measured.
//!
//! A content policy forbids scripts and all foreign content. The page follows the reader's theme, fits a phone, and
//! prints. Every chart has a description and a table of the same figures.
//!
//! ```text
//! Report, Settings --page--> Markup --> one string --destination--> file
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

use crate::estimate::result::report::Report;

pub(crate) fn render(report: &Report, settings: &Settings) -> String {
    page::page(report, settings).into_document()
}

#[cfg(test)]
#[path = "html/html_tests.rs"]
mod tests;
