//! An input that is not in the figures, with the reason.

use serde::Serialize;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Skipped {
    /// The path, or `standard input`.
    pub what: String,
    pub why: String,
    /// Whether the user asked for this input and it could not be read.
    #[serde(skip)]
    pub failed: bool,
}
