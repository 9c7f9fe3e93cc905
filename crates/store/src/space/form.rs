//! In which form something is stored, for tests.

use super::Space;
use crate::word::{CodecId, Entry, Part};

impl Space {
    /// The form of what is under a key; `None` also when the call would have to wait. For tests, in signal handlers too.
    #[doc(hidden)]
    pub fn form_of(&self, key: u64) -> Option<&'static str> {
        let (key, _operation) = self.try_begin(key).ok()??;
        Some(match self.state().index.try_find(key)?.word.entry() {
            Entry::Empty => return None,
            Entry::Same(_) => "same-filled",
            Entry::Pattern(_) => "pattern",
            Entry::Page { codec: CodecId::FIRST, .. } => "base",
            Entry::Page { .. } => "trained",
            Entry::Raw(_) => "raw",
            Entry::Fresh(_) => "fresh",
            Entry::Member { .. } => "member",
            Entry::Equal => "equal",
            Entry::Delta { .. } => "delta",
            Entry::Spilled { part: Part::Value, .. } => "spilled value",
            Entry::Spilled { part: Part::Delta, .. } => "spilled delta",
            Entry::Spilled { .. } => "spilled",
            Entry::Value { .. } | Entry::Nil => "value",
        })
    }
}
