//! The outcome for a requested dictionary.

use serde::Serialize;

/// Fields are named as in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct DictionaryNote {
    pub codec: String,
    pub bytes: Option<u64>,
    pub trained_pages: u64,
    pub why_none: Option<String>,
}
