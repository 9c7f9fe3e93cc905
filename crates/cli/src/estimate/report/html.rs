//! The report as one HTML page: the verdict, charts, tables, and how it was measured.
//!
//! The page needs nothing but itself: no script, no font, no picture from elsewhere, and a content policy in its head that
//! would keep a browser from fetching any. It follows the reader's choice of light or dark, fits a telephone, and prints.
//! Every chart has a name, a description, and a table with the same figures.
//!
//! ```text
//! Report, Settings --page--> Markup --> one string --destination--> file
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`destination`] | where the page goes: looked at early, written whole |
//! | [`markup`] | elements and escaping |
//! | [`plot`] | drawing, scales, axes |
//! | [`figure`], [`charts`] | a chart with its table; which charts there are |
//! | [`page`] | the order of it all, and the parts that are text |
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

/// The whole page.
pub(crate) fn render(report: &Report, settings: &Settings) -> String {
    page::page(report, settings).into_document()
}

#[cfg(test)]
#[path = "html/html_tests.rs"]
mod tests;
