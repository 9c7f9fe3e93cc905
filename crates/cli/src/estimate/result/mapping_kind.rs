//! What a mapping is used for.

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MappingKind {
    Heap,
    Stack,
    ThreadStack,
    Arena,
    Named,
    Anonymous,
    File,
    Other,
}

impl MappingKind {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Heap => "heap",
            Self::Stack => "stack",
            Self::ThreadStack => "thread stack",
            Self::Arena => "arena",
            Self::Named => "named",
            Self::Anonymous => "anonymous",
            Self::File => "file",
            Self::Other => "other",
        }
    }
}
