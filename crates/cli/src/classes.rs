//! `pagefold classes`: the table of size classes, and what it would come to for given object lengths.
//!
//! The table is the pure function that zsmalloc packs by. Nothing is stored here: density is what full zspages of the
//! given lengths would have.

mod documented;
mod report;
mod sizes;

pub(crate) use self::sizes::SizesError;
use pagefold_pool::classes::{ClassConfig, ClassTable, Expectation};

use crate::{
    args::{ClassesConfig, Lengths},
    exit::{Exit, Failure},
};

/// What is printed.
#[derive(Debug)]
struct Report {
    table: ClassTable,
    /// The lengths, in words.
    lengths: String,
    expected: Expectation,
}

/// Computes the table and prints it.
///
/// # Errors
/// [`Failure`] when the lengths cannot be read, or the report cannot be written.
pub(crate) fn run(config: &ClassesConfig) -> Result<Exit, Failure> {
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
    report::print(&Report { table, lengths, expected }, config.json)
}
