//! The contender of a trace, as the trace uses it.

/// Holds objects.
pub trait Memory {
    /// What names one.
    type Object;

    /// Keeps a copy of these bytes.
    fn store(&mut self, bytes: &[u8]) -> Self::Object;

    /// Forgets an object.
    fn free(&mut self, object: Self::Object);

    /// Gives an object's bytes to `f`.
    fn read(&self, object: &Self::Object, f: &mut dyn FnMut(&[u8]));

    /// Returns what is free to the system, as far as that goes.
    fn give_back(&mut self);
}
