//! An input outside the figures, and why.

use serde::Serialize;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Skipped {
    /// The path, or `standard input`.
    pub what: String,
    pub why: String,
    /// Whether the user asked for it.
    #[serde(skip)]
    pub failed: bool,
}
