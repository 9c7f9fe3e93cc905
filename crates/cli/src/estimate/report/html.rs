//! The report as one HTML page: the verdict, charts, tables, and how it was measured.
//!
//! The page loads nothing: it has no script, font or picture from elsewhere, and a content policy in its head forbids
//! any. It follows the reader's light or dark theme, fits a phone, and prints. Every chart has a name, a description,
//! and a table of the same figures.
//!
//! ```text
//! Report, Settings --page--> Markup --> one string --destination--> file
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`destination`] | the page's file: checked early, written atomically |
//! | [`markup`] | elements and escaping |
//! | [`plot`] | drawing, scales, axes |
//! | [`figure`], [`charts`] | a chart with its table; the list of charts |
//! | [`page`] | the order of the page, and its text |
//! | [`processes`] | the tables of processes and their mappings |
//! | [`settings`], [`date`] | how and when it was measured |

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
