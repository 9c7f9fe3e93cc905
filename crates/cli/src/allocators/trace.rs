//! `pagefold estimate --trace FILE`: memory and time of each allocator for a `pagefold torture` trace.
//!
//! It runs only steps that every allocator does alike, verifies nothing, and stores incompressible contents, like a
//! codec's output.

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

/// Why a trace has no report.
#[derive(Debug, Error)]
pub(crate) enum MeasureTraceError {
    #[error(transparent)]
    File(#[from] TraceFileError),
    #[error(transparent)]
    Limit(#[from] BuildError),
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

/// # Errors
/// When the trace cannot be used, no pool can be built, or stdout cannot be written.
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
