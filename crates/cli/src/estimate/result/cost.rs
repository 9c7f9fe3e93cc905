//! Memory of a pool per byte of payload and per object.

#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) payload_byte: f64,
    pub(crate) object: f64,
    /// The relative error that the projection of the packing may have; 0 where the memory was measured.
    pub(crate) doubt: f64,
}

impl Cost {
    /// Spreads a dictionary, which the pool stores once, over the payload of all pages.
    pub(crate) fn with_dictionary(self, bytes: u64, payload: f64) -> Self {
        let share = if payload > 0.0 { bytes as f64 / payload } else { 0.0 };
        Self { payload_byte: self.payload_byte + share, ..self }
    }
}
