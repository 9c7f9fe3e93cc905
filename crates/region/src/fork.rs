//! What the child of a fork sees of a region.

/// What the child of a fork sees of a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ForkPolicy {
    /// Nothing: the addresses are not mapped, and a touch is `SIGSEGV`, never zeros. Dropping the region there does nothing.
    #[default]
    Hide,
}
