//! `pagefold classes`: the table of size classes, and its density for given object lengths.
//!
//! The table is the pure function that zsmalloc packs by. Nothing is stored: the density is that of full zspages.

mod config;
mod documented;
mod report;
mod sizes;

use pagefold_pool::classes::ClassConfig;
use thiserror::Error;

pub(crate) use self::config::{ClassesConfig, Lengths};

use self::sizes::SizesError;
use crate::{allocators::classes::report::ClassesReport, console::OutputError, exit::Exit};

#[derive(Debug, Error)]
pub(crate) enum ClassesError {
    #[error(transparent)]
    Sizes(#[from] SizesError),
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl From<&ClassesError> for Exit {
    fn from(_: &ClassesError) -> Self {
        Self::Failed
    }
}

/// # Errors
/// When the lengths cannot be read, or the report cannot be written.
pub(crate) fn run(config: &ClassesConfig) -> Result<Exit, ClassesError> {
    let table = config.table.clone();
    let ClassConfig { smallest, frame_bytes, .. } = *table.config();
    let (lengths, expected) = match &config.lengths {
        Lengths::Uniform(range) => {
            let (from, to) = range.clone().unwrap_or(smallest..=frame_bytes).into_inner();
            let words = format!("uniform from {from} to {to} bytes");
            (words, table.expect((from..=to).map(|len| (len, 1))))
        }
        Lengths::File(path) => {
            let lengths = sizes::read(path)?;
            (format!("those of {}", path.display()), table.expect(lengths))
        }
    };
    report::print(&ClassesReport { table, lengths, expected }, config.json)?;
    Ok(Exit::Success)
}
