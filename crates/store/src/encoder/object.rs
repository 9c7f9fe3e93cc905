//! An encoded object: its bytes and its index entry.

use crate::{
    page::{PAGE_BYTES, Page},
    word::{CodecId, Entry, Short, page_len, value_len},
};

/// Its bytes are a copy, never user memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Object<'a> {
    pub(crate) bytes: &'a [u8],
    pub(super) encoding: Encoding,
    pub(crate) original: usize,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Encoding {
    Pattern,
    Compressed(CodecId),
    Raw,
    Fresh,
    Delta,
    Value(Option<CodecId>),
}

impl Object<'_> {
    /// One repeated word that does not fit an index word.
    pub(crate) fn pattern(bytes: &[u8; 8]) -> Object<'_> {
        Object { bytes, encoding: Encoding::Pattern, original: PAGE_BYTES }
    }

    /// A page that waits raw for its codec.
    pub(crate) fn fresh(page: &Page) -> Object<'_> {
        Object { bytes: page, encoding: Encoding::Fresh, original: PAGE_BYTES }
    }

    pub(crate) fn entry(&self, at: Short) -> Entry {
        match self.encoding {
            Encoding::Pattern => Entry::Pattern(at),
            Encoding::Compressed(codec) => {
                Entry::Page { at, codec, len: page_len(self.bytes.len()) }
            }
            Encoding::Raw => Entry::Raw(at),
            Encoding::Fresh => Entry::Fresh(at),
            Encoding::Delta => Entry::Delta { at, len: page_len(self.bytes.len()) },
            Encoding::Value(codec) => Entry::Value { at, codec, len: value_len(self.bytes.len()) },
        }
    }
}
