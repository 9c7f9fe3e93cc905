//! What became of a dictionary.

use serde::Serialize;

/// What became of a dictionary that was asked for. The field names are those of the JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct DictionaryNote {
    /// As it is called in the rows.
    pub codec: String,
    pub bytes: Option<u64>,
    pub trained_pages: u64,
    /// Why there is none.
    pub why_none: Option<String>,
}
