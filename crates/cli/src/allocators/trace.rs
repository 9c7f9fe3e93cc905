//! `pagefold estimate --trace FILE`: what would each allocator take for these objects, and how long?
//!
//! A trace is a sequence of `pagefold torture`. Of its steps those that any allocator does in the same way are done:
//! objects are stored, written, read and freed, and there is compaction and trimming. Nothing is verified here; that is
//! what `torture --replay` is for. Contents are incompressible, so a pool sees what a codec would have made.

mod config;
mod replay;
mod report;

use pagefold_pool::{BuildError, PoolBuilder};
use thiserror::Error;

pub(crate) use self::config::TraceConfig;

use crate::{
    allocators::{
        trace::{
            replay::Replay,
            report::{Document, VERSION},
        },
        trace_file::{self, TraceFileError},
    },
    console::OutputError,
    exit::Exit,
};

/// Why there is no report of a trace.
#[derive(Debug, Error)]
pub(crate) enum MeasureTraceError {
    /// The trace cannot be used.
    #[error(transparent)]
    File(#[from] TraceFileError),
    /// No pool can be built with the limit that was given.
    #[error(transparent)]
    Limit(#[from] BuildError),
    /// The report could not be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl From<&MeasureTraceError> for Exit {
    fn from(error: &MeasureTraceError) -> Self {
        match error {
            MeasureTraceError::File(error) => error.into(),
            MeasureTraceError::Limit(_) => Self::Usage,
            MeasureTraceError::Output(error) => error.into(),
        }
    }
}

/// Measures each allocator on a trace, and prints the report.
///
/// # Errors
/// [`MeasureTraceError`] when the trace cannot be used, no pool can be built, or stdout cannot be written.
pub(crate) fn run(config: &TraceConfig) -> Result<Exit, MeasureTraceError> {
    let trace = trace_file::read(&config.path)?;
    let limit = config.limit.unwrap_or(trace.header.limit);
    let fullest = replay::fullest(&trace.steps);
    let measure = |allocator: &_| {
        let pool = PoolBuilder::new(*allocator).limit(limit).build()?;
        Ok(Replay::new(&*pool, trace.header.seed.value()).run(&trace.steps, fullest))
    };
    let runs: Result<Vec<_>, BuildError> = config.allocators.iter().map(measure).collect();
    let document = Document {
        version: VERSION,
        trace: config.path.display().to_string(),
        steps: trace.steps.len(),
        limit_bytes: limit,
        runs: runs?,
    };
    report::print(&document, config.output)?;
    Ok(Exit::Success)
}
