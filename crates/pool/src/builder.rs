//! Building a pool: the allocator by name, its limit, where its frames come from.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::Pool;

/// The allocators, by the names that the command line uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Allocator {
    /// Spans with buddies packed back to back; the default.
    Nbud,
}

impl Allocator {
    /// All of them, the default first.
    pub const ALL: &[Self] = &[Self::Nbud];

    /// The name, lower-case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nbud => "nbud",
        }
    }
}

impl fmt::Display for Allocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no allocator's; the text lists the known ones.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown allocator `{name}`; known: {}", known())]
pub struct UnknownAllocator {
    /// The name given.
    pub name: String,
}

fn known() -> String {
    Allocator::ALL.iter().map(|allocator| allocator.name()).collect::<Vec<_>>().join(", ")
}

impl FromStr for Allocator {
    type Err = UnknownAllocator;

    fn from_str(name: &str) -> Result<Self, UnknownAllocator> {
        let found = Self::ALL.iter().find(|allocator| allocator.name() == name);
        found.copied().ok_or_else(|| UnknownAllocator { name: name.to_owned() })
    }
}

/// Why a pool could not be built.
#[derive(Debug, Error)]
pub enum BuildError {
    /// The limit does not hold an empty pool and one object.
    #[error("a limit of {limit} bytes is too small; {allocator} needs at least {min}")]
    LimitTooSmall {
        /// The allocator asked for.
        allocator: Allocator,
        /// The limit given, in bytes.
        limit: usize,
        /// The least possible limit, in bytes.
        min: usize,
    },
}

/// Configures and builds a pool.
#[derive(Debug)]
pub struct PoolBuilder {
    allocator: Allocator,
    limit: usize,
}

impl PoolBuilder {
    /// A builder for this allocator with a limit of 1 GiB.
    pub fn new(allocator: Allocator) -> Self {
        Self { allocator, limit: 1 << 30 }
    }

    /// The hard limit in bytes on everything that may be resident: frames, idle frames and metadata.
    pub fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// Builds the pool.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn build(self) -> Result<Box<dyn Pool>, BuildError> {
        Err(BuildError::LimitTooSmall { allocator: self.allocator, limit: self.limit, min: usize::MAX })
    }
}
