//! What is not in the figures, and why.

use serde::Serialize;

/// Something that is not in the figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Skipped {
    /// The path, or `standard input`.
    pub what: String,
    /// The reason.
    pub why: String,
    /// Whether the user will want to know: it was asked for and could not be had.
    #[serde(skip)]
    pub failed: bool,
}
