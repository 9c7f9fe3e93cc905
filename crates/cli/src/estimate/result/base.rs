//! What a base would save.

use serde::Serialize;

/// The pages of the sample against their base pages, as a store keeps them. Bytes are those of objects.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct BaseSummary {
    /// The file or process.
    pub name: String,
    /// The codec of plain pages.
    pub codec: &'static str,
    pub pages: u64,
    /// Need neither memory nor a base.
    pub same_filled: u64,
    /// Equal to their base pages.
    pub equal: u64,
    /// Kept as what differs.
    pub deltas: u64,
    pub delta_bytes: u64,
    /// Of these pages, by the plain codec.
    pub delta_plain_bytes: u64,
    /// Kept without a base page.
    pub plain: u64,
    pub plain_bytes: u64,
    /// Of these, without a page in the base.
    pub not_in_base: u64,
    /// Of equal pages, by the plain codec.
    pub equal_plain_bytes: u64,
    /// Mean microseconds of a delta.
    pub delta_encode_us: f64,
    pub delta_decode_us: f64,
    /// Of the same pages, by the plain codec.
    pub plain_encode_us: f64,
    pub plain_decode_us: f64,
}

impl BaseSummary {
    pub(crate) fn bytes(&self) -> u64 {
        self.delta_bytes + self.plain_bytes
    }

    pub(crate) fn plain_bytes_of_all(&self) -> u64 {
        self.equal_plain_bytes + self.delta_plain_bytes + self.plain_bytes
    }
}
