//! The outcome for a requested dictionary.

use serde::Serialize;

/// The field names are those of the JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct DictionaryNote {
    /// The name in the rows.
    pub codec: String,
    pub bytes: Option<u64>,
    pub trained_pages: u64,
    /// Why there is none.
    pub why_none: Option<String>,
}
