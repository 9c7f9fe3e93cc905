//! `pagefold estimate`: what would compressed memory save on this input?
//!
//! ```text
//! inputs --read--> sample --measure--> rows --report--> JSON, tables, a page
//! ```
//!
//! The command reads the input once. Each combination of codec and allocator gets a fresh pool on the same bytes. The
//! run stores and reads back each page, and compares it with its 128-bit hash.
//!
//! The request is in [`config`], [`codec_choice`], [`exclude`], [`like`] and [`files0`]; the errors in [`error`] and
//! [`html_error`]; the rest in [`pool`], [`mod@read`], [`mod@measure`], [`result`] and [`report`].

pub(crate) mod codec_choice;
pub(crate) mod config;
pub(crate) mod error;
pub(crate) mod exclude;
mod files0;
#[cfg(feature = "html")]
mod html_error;
pub(crate) mod like;
mod measure;
mod pool;
mod read;
pub(crate) mod report;
mod result;

use std::path::PathBuf;

#[cfg(feature = "html")]
use self::report::html::{Destination, Settings};
use crate::{
    console::Output,
    estimate::{
        config::EstimateConfig, error::EstimateError, read::base::BasePages,
        result::report::EstimateReport,
    },
    exit::Exit,
    interrupt::Interrupt,
    progress::Progress,
};

/// Measures, writes the page if requested, and prints.
///
/// # Errors
/// [`EstimateError`] when there is nothing to report.
pub(crate) fn run(
    mut config: EstimateConfig,
    output: Output,
    html: Option<PathBuf>,
) -> Result<Exit, EstimateError> {
    config.inputs = files0::expand(config.inputs)?;
    let page = Page::new(html, &config)?;
    let mut report = measure(&config, output)?;
    if let Err(error) = page.write(&report, &config) {
        report.failure.get_or_insert(error);
    }
    report::print(report, output)
}

fn measure(config: &EstimateConfig, output: Output) -> Result<EstimateReport, EstimateError> {
    measure::check_pools(config)?;
    let interrupt = Interrupt::install()?;
    let progress = Progress::new(output);
    let mut sample = read::input::read(config, &progress)?;
    let base = BasePages::read(config, &sample.spool, &progress)?;
    interrupt.set_reportable();

    let input = sample.summary(config);
    let mut report = EstimateReport {
        input,
        rows: Vec::new(),
        base: None,
        mismatch: None,
        failure: None,
        interrupted: false,
    };
    if let Some(base) = base {
        report.base = Some(measure::base::measure(&base, &sample.spool)?);
    }
    report.failure =
        measure::run_all(config, &sample.spool, &interrupt, &progress, &mut report).err();
    progress.finish();
    report.interrupted = interrupt.is_requested();
    Ok(report)
}

#[cfg(feature = "html")]
struct Page(Option<Destination>);

#[cfg(feature = "html")]
impl Page {
    /// Checks the path before a long measurement.
    fn new(path: Option<PathBuf>, config: &EstimateConfig) -> Result<Self, EstimateError> {
        Ok(Self(path.map(|path| Destination::check(path, &config.inputs)).transpose()?))
    }

    fn write(self, report: &EstimateReport, config: &EstimateConfig) -> Result<(), EstimateError> {
        let Some(destination) = self.0 else { return Ok(()) };
        let page = report::html::render(report, &Settings::new(config, std::env::args_os()));
        Ok(destination.write(&page)?)
    }
}

#[cfg(not(feature = "html"))]
struct Page;

#[cfg(not(feature = "html"))]
impl Page {
    fn new(path: Option<PathBuf>, _: &EstimateConfig) -> Result<Self, EstimateError> {
        if path.is_some() { Err(EstimateError::NoHtml) } else { Ok(Self) }
    }

    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the form with the page")]
    fn write(self, _: &EstimateReport, _: &EstimateConfig) -> Result<(), EstimateError> {
        Ok(())
    }
}
