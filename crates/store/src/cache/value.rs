//! Values of caches.

/// A value of a [`Cache`](super::Cache).
///
/// # Examples
/// Your own type:
/// ```
/// use pagefold_store::CacheValue;
///
/// struct Point { x: u32, y: u32 }
///
/// impl CacheValue for Point {
///     fn encode(&self, buffer: &mut Vec<u8>) {
///         buffer.extend(self.x.to_le_bytes());
///         buffer.extend(self.y.to_le_bytes());
///     }
///
///     fn decode(bytes: &[u8]) -> Option<Self> {
///         let (x, y) = bytes.split_first_chunk()?;
///         Some(Self { x: u32::from_le_bytes(*x), y: u32::from_le_bytes(y.try_into().ok()?) })
///     }
/// }
/// ```
pub trait CacheValue: Sized {
    /// Appends the value's bytes.
    fn encode(&self, buffer: &mut Vec<u8>);

    /// Decodes; `None` is a miss.
    fn decode(bytes: &[u8]) -> Option<Self>;
}

impl CacheValue for Vec<u8> {
    fn encode(&self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(self);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(bytes.to_vec())
    }
}

impl CacheValue for Box<[u8]> {
    fn encode(&self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(self);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(bytes.into())
    }
}

impl CacheValue for String {
    fn encode(&self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(self.as_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        str::from_utf8(bytes).ok().map(str::to_owned)
    }
}
