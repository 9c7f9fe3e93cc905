//! Pool memory per payload byte and per object.

#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) payload_byte: f64,
    pub(crate) object: f64,
    /// The projection's relative error; 0 where measured.
    pub(crate) doubt: f64,
}

impl Cost {
    /// Spreads the dictionary over all payload.
    pub(crate) fn with_dictionary(self, bytes: u64, payload: f64) -> Self {
        let share = if payload > 0.0 { bytes as f64 / payload } else { 0.0 };
        Self { payload_byte: self.payload_byte + share, ..self }
    }
}
