//! What a store does with its backing.

/// Which objects leave memory for the backing while the store is above its high watermark.
///
/// By default the coldest, in the order in which an ephemeral space would drop them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub struct SpillPolicy {
    idle_only: bool,
    incompressible_first: bool,
}

impl SpillPolicy {
    /// The coldest.
    pub fn coldest() -> Self {
        Self::default()
    }

    /// Only those that no call read or put between two passes, one
    /// [`idle_interval`](crate::StoreBuilder::idle_interval) apart. What is in use stays in memory, so a full store may refuse puts
    /// while the backing has room.
    pub fn idle_only(self) -> Self {
        Self { idle_only: true, ..self }
    }

    /// Those that no codec made shorter go first: they take the most memory, and come back without a codec.
    pub fn incompressible_first(self) -> Self {
        Self { incompressible_first: true, ..self }
    }

    pub(crate) fn is_idle_only(self) -> bool {
        self.idle_only
    }

    pub(crate) fn is_incompressible_first(self) -> bool {
        self.incompressible_first
    }
}

/// Neighbours that one read brings along, at most.
pub(crate) const PREFETCH_MAX: usize = 256;

/// What the store does with its backing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SpillSettings {
    pub(crate) policy: SpillPolicy,
    pub(crate) prefetch: usize,
}
