//! What a read shows: an object's bytes, in place.

/// The bytes of one object, in place, as 1 to 8 slices in order.
#[derive(Debug, Clone, Copy)]
pub struct Slices<'a>(&'a [&'a [u8]]);

impl<'a> Slices<'a> {
    /// The most slices an object may have.
    pub const MAX: usize = 8;

    /// Wraps the parts of one object.
    ///
    /// # Panics
    /// If there are none or more than [`MAX`](Self::MAX).
    pub fn new(parts: &'a [&'a [u8]]) -> Self {
        assert!((1..=Self::MAX).contains(&parts.len()), "an object has 1 to 8 slices");
        Self(parts)
    }

    /// The parts in order.
    pub fn parts(&self) -> &'a [&'a [u8]] {
        self.0
    }

    /// The object's length in bytes.
    #[expect(clippy::len_without_is_empty, reason = "an object has at least one byte")]
    pub fn len(&self) -> usize {
        self.0.iter().map(|part| part.len()).sum()
    }

    /// The object's bytes in order.
    pub fn bytes(&self) -> impl Iterator<Item = u8> + use<'a> {
        self.0.iter().flat_map(|part| part.iter().copied())
    }

    /// A copy of the object.
    pub fn to_vec(&self) -> Vec<u8> {
        self.0.concat()
    }

    /// The whole object, if it lies in one piece.
    pub fn contiguous(&self) -> Option<&'a [u8]> {
        match self.0 {
            [whole] => Some(whole),
            _ => None,
        }
    }

    /// Copies the object to the start of `buffer`; `None`, and nothing copied, if it is too short.
    pub fn copy_to(&self, buffer: &mut [u8]) -> Option<usize> {
        let len = self.len();
        let mut rest = buffer.get_mut(..len)?;
        for part in self.0 {
            let (head, tail) = rest.split_at_mut(part.len());
            head.copy_from_slice(part);
            rest = tail;
        }
        Some(len)
    }
}
