//! Bytes that become an object.

/// See the module.
#[derive(Debug, Clone, Copy)]
pub enum Content<'a> {
    /// Zeros.
    Zeros(usize),
    /// One slice.
    Bytes(&'a [u8]),
    /// Slices in order.
    Parts(&'a [&'a [u8]]),
}

impl Content<'_> {
    /// In bytes.
    #[expect(clippy::len_without_is_empty, reason = "an object has at least one byte")]
    pub fn len(&self) -> usize {
        match self {
            Self::Zeros(len) => *len,
            Self::Bytes(bytes) => bytes.len(),
            Self::Parts(parts) => parts.iter().map(|part| part.len()).sum(),
        }
    }

    /// Fills `target` from offset `from` on.
    ///
    /// # Panics
    /// If there are fewer bytes.
    #[inline]
    pub fn copy_to(&self, from: usize, target: &mut [u8]) {
        match self {
            Self::Zeros(_) => target.fill(0),
            Self::Bytes(bytes) => target.copy_from_slice(&bytes[from..from + target.len()]),
            Self::Parts(parts) => {
                let (mut skip, mut done) = (from, 0);
                for part in *parts {
                    let rest = part.get(skip..).unwrap_or_default();
                    skip = skip.saturating_sub(part.len());
                    let len = rest.len().min(target.len() - done);
                    target[done..done + len].copy_from_slice(&rest[..len]);
                    done += len;
                }
                assert_eq!(done, target.len(), "the content is as long as the object");
            }
        }
    }
}
