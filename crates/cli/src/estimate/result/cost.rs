//! What a pool takes for a byte of payload and for an object.

/// What a pool takes for a byte of payload and for an object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) payload_byte: f64,
    pub(crate) object: f64,
    /// How far off the memory may be, as a part of it, by what is not known of the packing; 0 where it was measured.
    pub(crate) doubt: f64,
}

impl Cost {
    /// Shares a dictionary, which is held once, out over the payload of all pages.
    pub(crate) fn with_dictionary(self, bytes: u64, payload: f64) -> Self {
        let share = if payload > 0.0 { bytes as f64 / payload } else { 0.0 };
        Self { payload_byte: self.payload_byte + share, ..self }
    }
}
