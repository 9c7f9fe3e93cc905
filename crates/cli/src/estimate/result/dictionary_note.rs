//! The outcome for a dictionary: a requested one, or a store's own.

use serde::Serialize;

/// Fields are named as in JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct DictionaryNote {
    pub codec: String,
    /// `None` if the run was left out.
    pub dictionary: Option<Origin>,
    pub bytes: Option<u64>,
    pub trained_pages: u64,
    pub why_none: Option<String>,
    /// Only of a store's own.
    pub trial: Option<Trial>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Origin {
    /// Part of the codec.
    BuiltIn,
    Trained,
}

/// A trained dictionary beside the built-in one, on pages that it was not trained on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Trial {
    pub pages: u64,
    /// Parts of the built-in one's bytes and time.
    pub length: f64,
    pub time: f64,
}
