//! A cache, as the workload uses it.

/// A cache under comparison.
pub trait Peer: Sync {
    /// What a get gives.
    type Value: AsRef<[u8]>;

    /// The value of a key.
    fn get(&self, key: u64) -> Option<Self::Value>;

    /// Takes a value.
    fn insert(&self, key: u64, value: Vec<u8>);
}
