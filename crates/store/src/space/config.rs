//! What a space is made from.

use crate::order::{EvictionOrder, SecondChance};

/// What a space promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A page that was accepted is there until it is removed. When it cannot be held, put says so.
    Persistent,
    /// A page may be dropped at any time to make room; get then says that there is none.
    Ephemeral,
}

impl Kind {
    /// The name, lower-case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Persistent => "persistent",
            Self::Ephemeral => "ephemeral",
        }
    }
}

/// Configures a space; [`Store::space`](crate::Store::space) makes it.
#[derive(Debug)]
pub struct SpaceConfig {
    pub(crate) kind: Kind,
    pub(crate) pages: u64,
    pub(crate) limit: u64,
    pub(crate) name: String,
    pub(crate) order: Box<dyn EvictionOrder>,
}

impl SpaceConfig {
    fn new(kind: Kind, pages: u64) -> Self {
        Self {
            kind,
            pages,
            limit: u64::MAX,
            name: kind.name().to_owned(),
            order: Box::new(SecondChance::new()),
        }
    }

    /// A space with keys from 0 to `pages - 1` that never drops what it accepted.
    pub fn persistent(pages: u64) -> Self {
        Self::new(Kind::Persistent, pages)
    }

    /// A space with keys from 0 to `pages - 1` that drops pages when room is needed.
    pub fn ephemeral(pages: u64) -> Self {
        Self::new(Kind::Ephemeral, pages)
    }

    /// A limit on the bytes of the space's objects: what its pages take compressed, lengths rounded up by at most a
    /// sixteenth, without the frames' holes and without metadata, which spaces share. None by default; of 0, only
    /// pages that take no memory are accepted.
    pub fn limit(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// A name for statistics; that of the kind by default.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The order in which an ephemeral space drops pages; second chance by default. A persistent space has no use for
    /// it.
    pub fn order(mut self, order: Box<dyn EvictionOrder>) -> Self {
        self.order = order;
        self
    }
}
